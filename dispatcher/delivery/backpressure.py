"""Backpressure: while this process has no CPU left, events wait in the broker rather than in the store.

What does not fit into a lane is stored unclaimed and costs a second trip. For a destination that is slow that is right:
no one may wait for it. But when lanes are full because this process cannot go faster, taking in more makes it slower.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

MAX_WAIT = 0.25
"""Seconds that one batch of events waits at most."""

POLL_INTERVAL = 0.005
"""Seconds between two looks."""

BUSY_SHARE = 0.8
"""The share of a CPU from which on the event loop's thread has none left."""

SAMPLE_SECONDS = 0.05
"""Seconds over which the share is measured at the least."""

_SCHEDSTAT = Path("/proc/thread-self/schedstat")


class Backpressure:
    """Holds intake back while lanes are crowded and the CPU is the reason."""

    def __init__(self) -> None:
        self._busy = False
        self._sampled = (cpu_demand_seconds(), time.monotonic())

    async def wait(self, crowded: Callable[[float], bool]) -> None:
        """Return when intake should go on: at once, unless this process has no CPU left.

        `crowded` says after so many seconds whether there is still something that is worth waiting for.
        """
        waited = 0.0
        while waited < MAX_WAIT and self._cpu_is_full() and crowded(waited):
            await asyncio.sleep(POLL_INTERVAL)
            waited += POLL_INTERVAL

    def _cpu_is_full(self) -> bool:
        now = time.monotonic()
        wanted_before, before = self._sampled
        if now - before >= SAMPLE_SECONDS:
            wanted = cpu_demand_seconds()
            self._busy = wanted - wanted_before >= BUSY_SHARE * (now - before)
            self._sampled = (wanted, now)
        return self._busy


def cpu_demand_seconds() -> float:
    """Seconds that this thread has had a CPU or, where the system tells it, has waited for one.

    Where others share the CPUs, one that never gets more than half of one has none left either.
    """
    try:
        ran, waited, _ = _SCHEDSTAT.read_bytes().split()
    except (OSError, ValueError):
        return time.thread_time()
    return (int(ran) + int(waited)) / 1e9
