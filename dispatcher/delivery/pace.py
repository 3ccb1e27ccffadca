"""The pace of intake: while this process has no CPU left, events wait in the broker rather than in the store.

What does not fit into a lane is stored unclaimed and costs a second trip. For a destination that is slow that is right:
nobody may wait for it. But when lanes are full because this process cannot go faster, taking in more makes it slower.
"""

from __future__ import annotations

import asyncio
import time

LONGEST_WAIT = 0.25
"""Seconds that one batch of events waits at most."""

BUSY = 0.8
"""The share of a CPU from which on the event loop's thread has none left."""

SAMPLE = 0.05
"""Seconds over which the share is measured at the least."""


class Pace:
    """Holds intake back while lanes are crowded and the CPU is the reason."""

    def __init__(self) -> None:
        self._room = asyncio.Event()
        self._room.set()
        self._busy = False
        self._sampled = (time.thread_time(), time.monotonic())

    def crowded(self) -> None:
        """Something found no place in its lane."""
        self._room.clear()

    def freed(self) -> None:
        """There are places again."""
        self._room.set()

    async def keep(self) -> None:
        """Return when intake should go on: at once, unless both lanes and CPU are full."""
        if self._room.is_set() or not self._cpu_is_full():
            return
        try:
            async with asyncio.timeout(LONGEST_WAIT):
                await self._room.wait()
        except TimeoutError:
            # These lanes are not about to be freed: whatever goes to others need not wait for them again.
            self._room.set()

    def _cpu_is_full(self) -> bool:
        cpu, now = time.thread_time(), time.monotonic()
        cpu_before, before = self._sampled
        if now - before >= SAMPLE:
            self._busy = cpu - cpu_before >= BUSY * (now - before)
            self._sampled = (cpu, now)
        return self._busy
