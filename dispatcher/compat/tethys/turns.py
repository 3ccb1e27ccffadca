"""Whose turn it is at a job of a portal: one request at a time, and few questions to the store about it.

A portal may hang for as long as a request may take. However many deliveries of a job wait meanwhile, one of them asks
the store for all, less often the longer it takes, and they come back one after the other.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Literal

from cachetools import LRUCache

from dispatcher.domain.targets import TargetStatuses

FIRST_WAIT = 0.25
LONGEST_WAIT = 4.0
"""Seconds between two questions about a job; each that was in vain doubles them."""

APART = 0.1
"""Seconds between the times at which two deliveries of a job come back."""

LAST = 30.0
"""Seconds after which a delivery comes back, however many wait before it."""

REMEMBERED = 10_000
"""Jobs of which it is remembered that something waits."""


class Turns:
    """The turns as this process sees them."""

    def __init__(self, statuses: TargetStatuses) -> None:
        self._statuses = statuses
        self._jobs: LRUCache[bytes, _Job] = LRUCache(REMEMBERED)

    async def begin(
        self, key: bytes, event_key: str, delivery_id: str, seconds: float
    ) -> Literal["go", "superseded"] | float:
        """Whether a delivery may go now, as `TargetStatuses.begin` says; else the seconds to come back after.

        Raises StoreUnavailable.
        """
        job = self._jobs.get(key)
        if job is None:
            job = self._jobs[key] = _Job()
        async with job.asking:
            if monotonic() >= job.ask_at:
                turn = await self._statuses.begin(key, event_key, delivery_id, seconds)
                if turn == "go":
                    job.free()
                    job.busy()
                    return turn
                if turn == "superseded":
                    return turn
                job.busy()
            return job.back_in()

    async def finish(self, key: bytes, event_key: str, delivery_id: str, *, delivered: bool) -> None:
        """End the turn of a delivery, and note what arrived. Raises StoreUnavailable."""
        await self._statuses.finish(key, event_key, delivery_id, delivered=delivered)
        if (job := self._jobs.get(key)) is not None:
            job.free()


class _Job:
    """When to ask about a job again, and the last time that a delivery was given to come back."""

    __slots__ = ("_last", "_wait", "ask_at", "asking")

    def __init__(self) -> None:
        self.asking = asyncio.Lock()
        self.ask_at = 0.0
        self._wait = FIRST_WAIT
        self._last = 0.0

    def free(self) -> None:
        self.ask_at = 0.0
        self._wait = FIRST_WAIT

    def busy(self) -> None:
        self.ask_at = monotonic() + self._wait
        self._wait = min(2 * self._wait, LONGEST_WAIT)

    def back_in(self) -> float:
        now = monotonic()
        self._last = min(max(self.ask_at, self._last + APART), now + LAST)
        return self._last - now
