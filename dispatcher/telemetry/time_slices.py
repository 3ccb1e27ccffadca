"""Time slices: work that takes long lets the rest of the event loop go on twice a millisecond."""

from __future__ import annotations

import asyncio
import time

SLICE = 0.000_5
"""Seconds that one piece of work takes at most before others have their turn."""

LONG = 5
"""Slices after which a piece of work is long: between two it pauses while others have something to do."""

PAUSE = 0.003
"""Seconds of such a pause. What others do takes many turns of the loop, and each would wait for a slice."""

OTHERS_ACTIVE = 0.05
"""Seconds for which others count as having something to do after they did."""

_IDLE = 0.000_05
"""Seconds that one turn of the event loop takes when no other task is ready."""


class TimeSlices:
    """The slices of one piece of work, the first of which begins now: `if slices.over: await slices.others()`."""

    __slots__ = ("_ends", "_others_until", "_taken")

    def __init__(self) -> None:
        self._ends = time.perf_counter() + SLICE
        self._others_until = 0.0
        self._taken = 0

    @property
    def over(self) -> bool:
        """Whether it is others' turn."""
        return time.perf_counter() >= self._ends

    async def others(self) -> None:
        """Let others go first, for as long as they have something to do, but no longer than a slice or a turn."""
        began = time.perf_counter()
        latest = began + SLICE
        self._taken += 1
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            if now - began < _IDLE:
                break
            self._others_until = now + OTHERS_ACTIVE
            if now >= latest:
                break
            began = now
        if self._taken > LONG and now < self._others_until:
            await asyncio.sleep(PAUSE)
        self._ends = time.perf_counter() + SLICE
