"""The scheduler: brings what is due from the store back into the lanes.

It knows which destinations something waits for and looks only at those of which something may go now, at each as long
as there is room in its lane. Destinations take turns, within one owners and subscriptions. What is behind an open
breaker is looked at when its probe is due.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import structlog
from cachetools import LRUCache

from dispatcher.delivery.breakers import NEVER, Standing
from dispatcher.delivery.internal_errors import log_error
from dispatcher.delivery.shares import divide, few, rotated
from dispatcher.delivery.waiting import WaitingList
from dispatcher.domain.deliveries import OpenDelivery, Queue, Share, Waiting
from dispatcher.domain.destinations import Scopes, owner_key
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.events import utc_now

log = structlog.get_logger("dispatcher.delivery")

POLL_INTERVAL = 1.0
"""Seconds: the longest wait between two looks into the store; what other processes stored is found by it."""

MIN_INTERVAL = 0.02
"""Seconds between two looks at the least, so that what becomes due within them is claimed at once."""

MAX_CLAIM = 500
MAX_DESTINATIONS = 100
"""Destinations that one look is about at most."""

PARTIAL_SCAN, FULL_SCAN = 100, 1000
"""Destinations that are discovered at once: now and then, and when all of them are to be found."""

MAX_FURTHER_QUEUES = 64
"""Subscriptions of a destination that are looked at beyond those of what is due longest."""

MAX_INTERVAL = timedelta(seconds=60)
"""How long a destination is not looked at of which something else than what waits for its time may come."""


class ClaimStore(Protocol):
    """What claiming needs of the store; see `dispatcher.store.queue.DeliveryQueue`."""

    async def waiting_destinations(self, after: str, limit: int) -> list[tuple[str, datetime | None]]: ...

    async def find_queues(self, after: Mapping[str, str], first: int, more: int) -> Mapping[str, Waiting]: ...

    async def claim(self, lease_id: int, limit: int, shares: Sequence[Share]) -> list[OpenDelivery]: ...


class Room(Protocol):
    """What claiming asks of the lanes; see `dispatcher.delivery.lanes.Lanes`."""

    @property
    def free(self) -> int: ...

    def places(self, destination: str) -> int: ...

    def spare_places(self, destination: str, subscription: str) -> int: ...


class Gate(Protocol):
    """What claiming asks of the breakers; see `dispatcher.delivery.breakers.Breakers`."""

    def standing(self, scopes: Scopes) -> tuple[Standing, datetime]: ...

    def destination_open_until(self, destination: str) -> datetime | None: ...

    async def begin_probes(self, wanted: Sequence[Scopes]) -> list[Scopes]: ...


class Scheduler:
    """Claims due deliveries whenever there is room for them and hands them over."""

    def __init__(self, queue: ClaimStore, room: Room, gate: Gate) -> None:
        self._queue = queue
        self._room = room
        self._gate = gate
        self._waiting = WaitingList()
        self._probed: LRUCache[str, str] = LRUCache(10_000)
        self._after = ""
        self._whole = True
        self._unsure = False
        self._begin_again = False
        self._sliced_at = 0.0
        self._wake = asyncio.Event()

    def expect(self, destination: str, due_at: datetime) -> None:
        """Look at a destination at `due_at` at the latest: something will be due there then."""
        if self._waiting.expect(destination, due_at):
            self._wake.set()

    def wake(self) -> None:
        """Look at all destinations now: somebody made something due, or gave it back."""
        self._begin_again = True
        self._wake.set()

    async def run(self, lease_id: Callable[[], int], take: Callable[[list[OpenDelivery]], None]) -> None:
        """Claim under this lease and hand to `take` until cancelled."""
        while True:
            await self._wait()
            try:
                await self._discover()
                await self._claim(lease_id(), take)
                continue
            except StoreUnavailable as error:
                log.warning("cannot claim due deliveries", error=str(error), retry_in=POLL_INTERVAL)
            except Exception as error:  # noqa: BLE001 - logged; what is due stays so, and is looked at again
                log_error("claim", error, retry_in=POLL_INTERVAL)
            await asyncio.sleep(POLL_INTERVAL)

    async def _discover(self) -> None:
        """Find destinations that others stored something for: some of them every second, all when it is asked for."""
        now = asyncio.get_running_loop().time()
        if self._begin_again:
            self._after, self._whole, self._begin_again = "", True, False
        if not self._whole and now - self._sliced_at < POLL_INTERVAL:
            return
        self._sliced_at = now
        limit = FULL_SCAN if self._whole else PARTIAL_SCAN
        found = await self._queue.waiting_destinations(self._after, limit)
        for destination, first_due in found:
            self._waiting.found(destination, first_due, again=self._whole)
        if len(found) == limit:
            self._after = found[-1][0]
        else:
            self._after, self._whole = "", False

    async def _claim(self, lease_id: int, take: Callable[[list[OpenDelivery]], None]) -> None:
        if self._unsure:
            # The last claim may be stored although its answer was lost. This one gives it back, so that it is found.
            await self._queue.claim(lease_id, 1, [])
            self._unsure = False
        free = min(self._room.free, MAX_CLAIM)
        if not free:
            return
        names = self._waiting.take(utc_now(), MAX_DESTINATIONS)
        looked: dict[str, datetime | None] = dict.fromkeys(
            names, utc_now() + timedelta(seconds=POLL_INTERVAL)
        )
        try:
            places = self._open_ones(names, looked)
            if not places:
                return
            first = min(MAX_CLAIM, max(32, *places.values()))
            after = {name: self._waiting.after.get(name, "") for name in places}
            found = await self._queue.find_queues(after, first, MAX_FURTHER_QUEUES)
            shares: list[Share] = []
            probes: list[Scopes] = []
            for name, waiting in found.items():
                given, due, looked[name] = self._shares(name, waiting, places[name])
                shares += given
                probes += due
            if probes:
                shares += await self._begin(probes)
            if shares:
                self._unsure = True
                claimed = await self._queue.claim(lease_id, free, shares)
                self._unsure = False
                take(claimed)
        finally:
            for name, at in looked.items():
                if at is None:
                    self._waiting.forget(name)
                elif at < NEVER:
                    self._waiting.expect(name, at)

    def _open_ones(self, names: Sequence[str], looked: dict[str, datetime | None]) -> dict[str, int]:
        """Those of these destinations to which something may go, with their places."""
        now = utc_now()
        found: dict[str, int] = {}
        for name in names:
            until = self._gate.destination_open_until(name)
            if until is None or until <= now:
                found[name] = self._room.places(name)
            else:
                looked[name] = until  # when that changes earlier it is expected earlier
        return found

    def _shares(
        self, name: str, waiting: Waiting, places: int
    ) -> tuple[list[Share], list[Scopes], datetime | None]:
        """What to claim of a destination now, what to probe with, and when to look again; None when nothing waits."""
        self._waiting.after[name] = waiting.last
        now = utc_now()
        free: list[Queue] = []
        probes: list[Queue] = []
        times = [] if waiting.next_due is None else [waiting.next_due]
        closed = False
        for queue in waiting.queues:
            standing, until = self._gate.standing(_scopes(queue))
            if standing == "free":
                free.append(queue)
            elif standing == "probe":
                probes.append(queue)
            else:
                closed = True
                times.append(until)
        shares: list[Share] = []
        if free:
            shares = (
                divide(free, places, may_have_more=not waiting.complete)
                if places
                else few(free, lambda key: self._room.spare_places(name, key))
            )
            times.append(now if shares else now + timedelta(seconds=POLL_INTERVAL))
        if probes or not waiting.complete:
            times.append(now + timedelta(seconds=POLL_INTERVAL))
        elif closed and len(waiting.queues) > 1:
            times.append(now + MAX_INTERVAL)
        after = self._probed.get(name, "")
        return shares, [_scopes(queue) for queue in rotated(probes, after)], min(times, default=None)

    async def _begin(self, probes: Sequence[Scopes]) -> list[Share]:
        """One delivery of each breaker whose probe is due, of one subscription after the other."""
        begun = await self._gate.begin_probes(probes)
        self._probed.update({scopes.destination: scopes.subscription for scopes in begun})
        return [Share(scopes.subscription, 1) for scopes in begun]

    async def _wait(self) -> None:
        """Until it is time for a destination, a wake-up, or the poll."""
        await asyncio.sleep(MIN_INTERVAL)
        if self._whole:
            return
        loop = asyncio.get_running_loop()
        deadline = loop.time() + POLL_INTERVAL
        while not self._begin_again:
            left = deadline - loop.time()
            if (at := self._waiting.next) is not None:
                left = min(left, (at - utc_now()).total_seconds())
            if left <= 0:
                return
            self._wake.clear()
            try:
                async with asyncio.timeout(left):
                    await self._wake.wait()
            except TimeoutError:
                return


def _scopes(queue: Queue) -> Scopes:
    owner = owner_key(queue.destination, queue.tenant, queue.owner)
    return Scopes(queue.subscription_id, owner, queue.destination)
