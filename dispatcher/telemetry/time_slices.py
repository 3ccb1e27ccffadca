"""Time slices: work that takes long lets the rest of the event loop go on twice a millisecond."""

from __future__ import annotations

import asyncio
import time

SLICE = 0.000_5
"""Seconds that one piece of work takes at most before others have their turn."""

_IDLE = 0.000_05
"""Seconds that one turn of the event loop takes when no other task is ready."""


class TimeSlices:
    """The slices of one piece of work, the first of which begins now: `if slices.over: await slices.others()`."""

    __slots__ = ("_ends",)

    def __init__(self) -> None:
        self._ends = time.perf_counter() + SLICE

    @property
    def over(self) -> bool:
        """Whether it is others' turn."""
        return time.perf_counter() >= self._ends

    async def others(self) -> None:
        """Let others go first, for as long as they have something to do, but no longer than a slice or a turn."""
        began = time.perf_counter()
        latest = began + SLICE
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            if now - began < _IDLE or now >= latest:
                break
            began = now
        self._ends = now + SLICE
