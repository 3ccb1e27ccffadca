"""Lanes: what waits in memory for one destination, and how much of it is tried at once.

A destination has a lane of its own, so that a slow or failing one takes nothing from the others. A lane is bounded:
what does not fit stays in the store, unclaimed.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from dispatcher.domain.deliveries import ClaimedDelivery, Rooms


class Work(NamedTuple):
    """A delivery to try, and the process number under which it was claimed."""

    process: int
    claimed: ClaimedDelivery


class Lane:
    """One destination's queue, its running attempts and its promised places.

    `behind`: the store has deliveries that found no place here.
    """

    __slots__ = ("behind", "destination", "limit", "queue", "reserved", "running")

    def __init__(self, destination: str, limit: int) -> None:
        self.destination = destination
        self.limit = limit
        self.queue: deque[Work] = deque()
        self.reserved = 0
        self.running = 0
        self.behind = False

    @property
    def load(self) -> int:
        """How many places are taken: running, waiting and promised."""
        return self.running + len(self.queue) + self.reserved


class Lanes:
    """All lanes of a process, bounded each and together.

    `limit` is how many attempts of one destination run at once, `capacity` how many deliveries a lane may hold,
    `total` how many all lanes together.
    """

    def __init__(self, limit: int, capacity: int, total: int) -> None:
        self._limit = limit
        self._capacity = capacity
        self._total = total
        self._lanes: dict[str, Lane] = {}
        self._load = 0
        self._behind = False

    def __getitem__(self, destination: str) -> Lane:
        lane = self._lanes.get(destination)
        if lane is None:
            lane = self._lanes[destination] = Lane(destination, self._limit)
        return lane

    @property
    def load(self) -> int:
        """How many deliveries are in memory: running, waiting and promised."""
        return self._load

    def reserve(self, destination: str, *, fresh: bool) -> Lane | None:
        """Promise a place in a lane; None when it has none.

        Fresh deliveries leave a quarter to those that come back from the store, so that these are not starved.
        """
        bound = self._bound()
        share = bound - bound // 4 if fresh else bound
        lane = self[destination]
        if self._load >= self._total:
            self._behind = True
            return None
        if lane.load >= share:
            lane.behind = True
            return None
        lane.reserved += 1
        self._load += 1
        return lane

    def rooms(self, after: str) -> tuple[int, Rooms]:
        """How many deliveries may be claimed, and how many of each destination.

        What fills a lane may have left others behind; the lane remembers that.
        """
        places: dict[str, int] = {}
        for lane in self._lanes.values():
            places[lane.destination] = max(0, self._bound() - lane.load)
            lane.behind = lane.behind or not places[lane.destination]
        self._behind = self._load >= self._total
        return max(0, self._total - self._load), Rooms(each=self._bound(), of=places, after=after)

    def full(self) -> list[str]:
        """The destinations that have no place now; each is told when it has."""
        full = [lane for lane in self._lanes.values() if lane.load >= self._bound()]
        for lane in full:
            lane.behind = True
        return [lane.destination for lane in full]

    def enter(self, lane: Lane, work: Work) -> None:
        """Turn a promised place into waiting work."""
        lane.reserved -= 1
        lane.queue.append(work)

    def release(self, lane: Lane) -> None:
        """Give a promised place back."""
        lane.reserved -= 1
        self._load -= 1
        self._retire(lane)

    def done(self, lane: Lane) -> bool:
        """One piece of work that was taken from a queue has ended.

        True when there is room again for what was left behind in the store.
        """
        self._load -= 1
        if lane.behind and lane.load <= max(1, self._bound() // 2):
            lane.behind = False
            return True
        if self._behind and self._load <= max(1, self._total // 2):
            self._behind = False
            return True
        return False

    def rest(self, lane: Lane) -> None:
        """One of a lane's workers has nothing more to do."""
        lane.running -= 1
        self._retire(lane)

    def drop_queued(self) -> None:
        """Forget everything that waits and has not begun."""
        for lane in list(self._lanes.values()):
            self._load -= len(lane.queue)
            lane.queue.clear()
            self._retire(lane)

    def _bound(self) -> int:
        """How much a lane may hold now: a quarter of what is left, so that full ones leave room for the next."""
        return min(self._capacity, max(1, (self._total - self._load) // 4))

    def _retire(self, lane: Lane) -> None:
        if lane.load == 0:
            self._lanes.pop(lane.destination, None)
