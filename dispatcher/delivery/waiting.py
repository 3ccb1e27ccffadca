"""The destinations for which something waits in the store, and when it is worth looking at each."""

from __future__ import annotations

import heapq
from datetime import datetime

from cachetools import LRUCache


class WaitingList:
    """When to look at which destination next. One that is not in it costs nothing."""

    def __init__(self) -> None:
        self._at: dict[str, datetime] = {}
        self._heap: list[tuple[datetime, str]] = []
        self._first: dict[str, datetime | None] = {}
        self.after: LRUCache[str, str] = LRUCache(10_000)
        """The subscription after which to go on at a destination of which not everything was seen."""

    def expect(self, destination: str, at: datetime) -> bool:
        """Look at it then at the latest. True when that is earlier than before."""
        known = self._at.get(destination)
        if known is not None and known <= at:
            return False
        self._at[destination] = at
        heapq.heappush(self._heap, (at, destination))
        if len(self._heap) > 2 * len(self._at) + 1000:
            self._heap = [(time, name) for name, time in self._at.items()]
            heapq.heapify(self._heap)
        return True

    def found(self, destination: str, first_due: datetime | None, *, again: bool) -> None:
        """Take what was found in the store: what was found before and is known is not looked at, but `again`."""
        known = destination in self._at and self._first.get(destination) == first_due
        if first_due is not None and (again or not known):
            self._first[destination] = first_due
            self.expect(destination, first_due)

    def forget(self, destination: str) -> None:
        """Nothing waits for it any more."""
        self._first.pop(destination, None)
        self.after.pop(destination, None)

    @property
    def next(self) -> datetime | None:
        """The earliest time at which to look at one."""
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take(self, now: datetime, limit: int) -> list[str]:
        """The destinations to look at now, those that are due longest first; each is to be expected again."""
        taken: list[str] = []
        while len(taken) < limit and (at := self.next) is not None and at <= now:
            _, destination = heapq.heappop(self._heap)
            del self._at[destination]
            taken.append(destination)
        return taken
