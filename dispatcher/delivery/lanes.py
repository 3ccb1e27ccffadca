"""Lanes: what waits in memory for one destination, and how much of it is tried at once.

A destination has a lane of its own, so that a slow or failing one takes nothing from the others. A lane is bounded:
what does not fit stays in the store, unclaimed. How many attempts run at once follows the destination: additive
increase, multiplicative decrease (Chiu and Jain 1989), with TCP's slow start (RFC 5681).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from cachetools import LRUCache

from dispatcher.domain.deliveries import ClaimedDelivery, Rooms

START = 8
"""Attempts at once for a destination that nothing is known of."""

ROOM = 16
"""Places in a lane for each attempt that may run at once: what a destination has not earned it cannot fill."""

REMEMBERED = 10_000
"""Lanes without work that are kept for what was learned of their destination."""

MAX_BYTES = 128 * 1024 * 1024
"""Bytes of events' documents that all lanes together may hold."""


class Work(NamedTuple):
    """A delivery to try, and the process number under which it was claimed."""

    process: int
    claimed: ClaimedDelivery


class Lane:
    """One destination's queue, its running attempts and its promised places.

    `limit` is how many attempts may run at once now, `most` the highest that it may become. `behind`: the store has
    deliveries that found no place here. `ended` counts what has left it.
    """

    __slots__ = (
        "_cut_at",
        "_slow_start",
        "behind",
        "destination",
        "ended",
        "limit",
        "most",
        "queue",
        "reserved",
        "running",
    )

    def __init__(self, destination: str, most: int) -> None:
        self.destination = destination
        self.most = most
        self.limit = float(min(START, most))
        self.queue: deque[Work] = deque()
        self.reserved = 0
        self.running = 0
        self.behind = False
        self.ended = 0
        self._slow_start = True
        self._cut_at = 0.0

    @property
    def load(self) -> int:
        """How many places are taken: running, waiting and promised."""
        return self.running + len(self.queue) + self.reserved

    @property
    def room(self) -> int:
        """How many places this destination has earned."""
        return ROOM * int(self.limit)

    def succeeded(self) -> None:
        """Let more attempts run at once: one more each time until the first failure, then one more a round."""
        if self.limit < self.most:
            self.limit = min(self.most, self.limit + (1.0 if self._slow_start else 1 / self.limit))

    def failed(self, began: float, now: float) -> None:
        """Halve what may run at once, once for all attempts that ran together (`began` and `now` on one clock)."""
        if began >= self._cut_at:
            self.limit = max(1.0, self.limit / 2)
            self._slow_start = False
            self._cut_at = now

    def start_anew(self) -> None:
        """Begin with one attempt at a time: the destination has just come back."""
        self.limit = 1.0
        self._slow_start = True


class Lanes:
    """All lanes of a process, bounded each and together.

    `most` is how many attempts of one destination run at once at most, `capacity` how many deliveries a lane may hold,
    `total` how many all lanes together.
    """

    def __init__(self, most: int, capacity: int, total: int) -> None:
        self._most = most
        self._capacity = capacity
        self._total = total
        self._lanes: dict[str, Lane] = {}
        self._idle: LRUCache[str, Lane] = LRUCache(REMEMBERED)
        self._load = 0
        self._bytes = 0
        self._behind = False
        self._blocked: dict[str, int] = {}

    def __getitem__(self, destination: str) -> Lane:
        lane = self._lanes.get(destination)
        if lane is None:
            lane = self._idle.pop(destination, None) or Lane(destination, self._most)
            self._lanes[destination] = lane
        return lane

    def __iter__(self) -> Iterator[Lane]:
        return iter(list(self._lanes.values()))

    @property
    def load(self) -> int:
        """How many deliveries are in memory: running, waiting and promised."""
        return self._load

    def find(self, destination: str) -> Lane | None:
        """The lane of a destination, if there is work or something is known of it."""
        return self._lanes.get(destination) or self._idle.get(destination)

    def block(self, places: dict[str, int]) -> None:
        """Let no fresh delivery in for these destinations, and claim no more than so many of each."""
        self._blocked = places

    def reserve(self, destination: str, size: int, *, fresh: bool) -> Lane | None:
        """Promise a place in a lane for a document of `size` bytes; None when it has none.

        Fresh deliveries leave a quarter to those that come back from the store, so that these are not starved.
        """
        if self._full:
            self._behind = True
            return None
        if fresh and destination in self._blocked:
            return None
        lane = self[destination]
        share = self._fresh_share(lane) if fresh else self._bound(lane)
        if lane.load >= share:
            lane.behind = True
            return None
        lane.reserved += 1
        self._load += 1
        self._bytes += size
        return lane

    def crowded(self, wanted: Mapping[str, int]) -> list[Lane]:
        """The lanes that cannot take so many fresh deliveries, but could when they were empty enough."""
        found: list[Lane] = []
        for destination, count in wanted.items():
            lane = self._lanes.get(destination)
            if lane is not None and destination not in self._blocked:
                share = self._fresh_share(lane)
                if lane.load + min(count, share - share // 4) > share:
                    found.append(lane)
        return found

    def rooms(self, after: str) -> tuple[int, Rooms]:
        """How many deliveries may be claimed, and how many of each destination.

        What fills a lane may have left others behind; the lane remembers that.
        """
        places: dict[str, int] = {}
        places.update(self._blocked)
        for lane in self._lanes.values():
            places[lane.destination] = max(0, self._most_of(lane) - lane.load)
            lane.behind = lane.behind or not places[lane.destination]
        self._behind = self._full
        free = 0 if self._full else self._total - self._load
        return free, Rooms(each=self._unknown(), of=places, after=after)

    def full(self) -> list[str]:
        """The destinations that have no place now; each is told when it has."""
        full = [lane for lane in self._lanes.values() if lane.load >= self._most_of(lane)]
        for lane in full:
            lane.behind = True
        waiting = [one for one, places in self._blocked.items() if not places]
        return [*(lane.destination for lane in full), *waiting]

    def enter(self, lane: Lane, work: Work) -> None:
        """Turn a promised place into waiting work."""
        lane.reserved -= 1
        lane.queue.append(work)

    def release(self, lane: Lane, size: int) -> None:
        """Give a promised place back."""
        lane.reserved -= 1
        self._load -= 1
        self._bytes -= size
        self._retire(lane)

    def done(self, lane: Lane, work: Work) -> bool:
        """One piece of work that was taken from a queue has ended.

        True when there is room again for what was left behind in the store.
        """
        lane.ended += 1
        self._load -= 1
        self._bytes -= len(work.claimed.event.document)
        if lane.behind and lane.load <= max(1, self._bound(lane) // 2):
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

    def take_queued(self, lane: Lane) -> list[Work]:
        """Everything that waits in a lane and has not begun; it takes no room any more."""
        taken = list(lane.queue)
        lane.queue.clear()
        self._load -= len(taken)
        self._bytes -= sum(len(work.claimed.event.document) for work in taken)
        self._retire(lane)
        return taken

    def drop_queued(self) -> None:
        """Forget everything that waits and has not begun."""
        for lane in self:
            self.take_queued(lane)

    @property
    def _full(self) -> bool:
        return self._load >= self._total or self._bytes >= MAX_BYTES

    def _bound(self, lane: Lane) -> int:
        """How much a lane may hold now: what it has earned, and a quarter of what is left for all."""
        return min(lane.room, self._share)

    def _most_of(self, lane: Lane) -> int:
        """How much a lane may hold of what comes back from the store: no more than a probe while it is blocked."""
        return self._blocked.get(lane.destination, self._bound(lane))

    def _fresh_share(self, lane: Lane) -> int:
        bound = self._bound(lane)
        return bound - bound // 4

    def _unknown(self) -> int:
        """How much of a destination without a lane may be claimed."""
        return min(ROOM * min(START, self._most), self._share)

    @property
    def _share(self) -> int:
        return min(self._capacity, max(1, (self._total - self._load) // 4))

    def _retire(self, lane: Lane) -> None:
        if lane.load == 0 and self._lanes.pop(lane.destination, None) is not None:
            self._idle[lane.destination] = lane
