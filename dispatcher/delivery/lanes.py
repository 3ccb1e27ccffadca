"""Lanes: what waits in memory, a lane for each destination, bounded each and together.

Each destination has its own lane, so that a slow or failing one takes nothing from the others. What does not fit
stays in the store, unclaimed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from cachetools import LRUCache

from dispatcher.delivery.lane import INITIAL_CONCURRENCY, SLOTS_PER_ATTEMPT, Lane
from dispatcher.domain.deliveries import OpenDelivery
from dispatcher.domain.subscriptions import Subscription

REMEMBERED = 10_000
"""Lanes without work that are kept for what was learned of their destination."""

MAX_BYTES = 128 * 1024 * 1024
"""Bytes of events' documents that all lanes together may hold."""

__all__ = ["MAX_BYTES", "Lane", "Lanes"]


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

    def reserve(
        self, destination: str, size: int, *, fresh: bool, subscription: str = "", owner: str = ""
    ) -> Lane | None:
        """Promise a place in a lane for a document of `size` bytes; None when it has none.

        Fresh deliveries leave a quarter to those that come back from the store, so that these are not starved. A
        subscription that has few places finds one in a lane that others have filled.
        """
        if self._full:
            return None
        lane = self._lanes.get(destination) or self[destination]
        share = self._fresh_share(lane) if fresh else self._bound(lane)
        if lane.load >= share and not self._spare(lane, share, subscription):
            lane.has_store_backlog = True
            return None
        lane.reserve(subscription, owner)
        self._load += 1
        self._bytes += size
        return lane

    def near_capacity(self, wanted: Mapping[str, int]) -> list[Lane]:
        """The lanes that cannot take so many fresh deliveries, but could when they were empty enough."""
        found: list[Lane] = []
        for destination, count in wanted.items():
            lane = self._lanes.get(destination)
            if lane is not None:
                share = self._fresh_share(lane)
                if lane.load + min(count, share - share // 4) > share:
                    found.append(lane)
        return found

    @property
    def free(self) -> int:
        """How many deliveries may be claimed in all."""
        return 0 if self._full else self._total - self._load

    def places(self, destination: str) -> int:
        """How many places there are for what comes back from the store. The lane remembers that it had none."""
        lane = self._lanes.get(destination)
        if lane is None:
            return self._unknown()
        places = max(0, self._bound(lane) - lane.load)
        lane.has_store_backlog = lane.has_store_backlog or not places
        return places

    def spare_places(self, destination: str, subscription: str) -> int:
        """How many places there are for a subscription although its lane is full."""
        lane = self._lanes.get(destination)
        if lane is None:
            return 0
        bound = self._bound(lane)
        few = bound // 8 - lane.load_of(subscription)
        return max(0, min(few, 2 * bound - lane.load))

    def release(self, lane: Lane, size: int, subscription: str = "") -> None:
        """Give a promised place back."""
        lane.release(subscription)
        self._load -= 1
        self._bytes -= size
        self._retire(lane)

    def done(self, lane: Lane, subscription: str, size: int) -> bool:
        """Something of a subscription that ran in a lane, with a document of `size` bytes, has ended.

        True when there is room again for what was left behind in the store.
        """
        lane.finished(subscription)
        self._load -= 1
        self._bytes -= size
        self._retire(lane)
        if lane.has_store_backlog and lane.load <= max(1, self._bound(lane) // 2):
            lane.has_store_backlog = False
            return True
        return False

    def take_queued(
        self, lane: Lane, keep: Callable[[Subscription], bool] | None = None
    ) -> list[OpenDelivery]:
        """What waits in a lane and has not begun, but of the subscriptions to keep; it takes no room any more."""
        taken = lane.take_queued(keep)
        self._load -= len(taken)
        self._bytes -= sum(len(one.event.document) for one in taken)
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
        return min(
            SLOTS_PER_ATTEMPT * int(lane.limit), self._capacity, max(1, (self._total - self._load) // 4)
        )

    def _spare(self, lane: Lane, share: int, subscription: str) -> bool:
        return lane.load < 2 * share and lane.load_of(subscription) < share // 8

    def _fresh_share(self, lane: Lane) -> int:
        bound = self._bound(lane)
        return bound - bound // 4

    def _unknown(self) -> int:
        """How much of a destination without a lane may be claimed."""
        return min(SLOTS_PER_ATTEMPT * min(INITIAL_CONCURRENCY, self._most), self._share)

    @property
    def _share(self) -> int:
        return min(self._capacity, max(1, (self._total - self._load) // 4))

    def _retire(self, lane: Lane) -> None:
        if lane.load == 0 and self._lanes.pop(lane.destination, None) is not None:
            self._idle[lane.destination] = lane
