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

GRACE = 1.0
"""Seconds that the latest status may be late before an earlier one takes its turn."""

REMEMBERED = 10_000
"""Jobs of which it is remembered that something waits."""


class Turns:
    """The turns as this process sees them.

    After each request a job is left alone for `interval` seconds. Of what waits meanwhile the latest status goes first:
    the others would keep it waiting, and are superseded by it.
    """

    def __init__(self, statuses: TargetStatuses, interval: float = 0.0) -> None:
        self._statuses = statuses
        self._interval = interval
        self._jobs: LRUCache[bytes, _Job] = LRUCache(REMEMBERED)

    async def begin(
        self, key: bytes, event_key: str, delivery_id: str, seconds: float, unsure: float = 0.0
    ) -> Literal["go", "superseded"] | float:
        """Whether a delivery may go now, as `TargetStatuses.begin` says; else the seconds to come back after.

        One that has to wait anyway waits for as long as it is `unsure` what a request would do (seconds).

        Raises StoreUnavailable.
        """
        job = self._jobs.get(key)
        if job is None:
            job = self._jobs[key] = _Job(self._interval)
        async with job.asking:
            if monotonic() >= job.ask_at and not job.gives_way(event_key):
                turn = await self._statuses.begin(key, event_key, delivery_id, seconds)
                if turn == "go":
                    job.begin()
                    return turn
                if turn == "superseded":
                    return turn
                job.busy()
            return job.back_in(event_key, unsure)

    async def finish(self, key: bytes, event_key: str, delivery_id: str, *, delivered: bool) -> None:
        """End the turn of a delivery, and note what arrived. Raises StoreUnavailable."""
        await self._statuses.finish(key, event_key, delivery_id, delivered=delivered, interval=self._interval)
        if (job := self._jobs.get(key)) is not None:
            job.end()


class _Job:
    """When to ask about a job again, and the last time that a delivery was given to come back."""

    __slots__ = ("_interval", "_last", "_latest", "_latest_at", "_wait", "ask_at", "asking")

    def __init__(self, interval: float) -> None:
        self.asking = asyncio.Lock()
        self.ask_at = 0.0
        self._interval = interval
        self._wait = FIRST_WAIT
        self._last = 0.0
        self._latest, self._latest_at = "", 0.0

    def begin(self) -> None:
        self._wait = FIRST_WAIT
        self.busy()

    def end(self) -> None:
        self.ask_at = monotonic() + self._interval
        self._wait = FIRST_WAIT

    def busy(self) -> None:
        self.ask_at = monotonic() + self._wait
        self._wait = min(2 * self._wait, LONGEST_WAIT)

    def gives_way(self, event_key: str) -> bool:
        """Whether a later status is about to go."""
        return self._interval > 0 and event_key < self._latest and monotonic() < self._latest_at + GRACE

    def back_in(self, event_key: str, unsure: float) -> float:
        now = monotonic()
        earliest = max(self.ask_at, now + unsure)
        if self._interval and event_key >= self._latest:
            self._latest, self._latest_at = event_key, earliest
            return earliest - now
        if self._interval:
            earliest = max(earliest, self._latest_at + APART)
        self._last = min(max(earliest, self._last + APART), now + LAST)
        return self._last - now
