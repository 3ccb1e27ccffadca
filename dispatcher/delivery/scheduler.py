"""The scheduler: brings what is due from the store back into the lanes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Protocol

import structlog

from dispatcher.delivery.internal_errors import contained
from dispatcher.domain.deliveries import ClaimedDelivery, Rooms
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.events import utc_now

log = structlog.get_logger("dispatcher.delivery")

POLL = 1.0
"""Seconds: the longest wait between two looks into the store; what other processes stored is found by it."""

PAUSE = 0.02
"""Seconds between two looks at the least, so that what becomes due within them is claimed at once."""

MAX_CLAIM = 500


class ClaimStore(Protocol):
    """What claiming needs of the store; see `dispatcher.store.contract.Store`."""

    async def claim(self, process: int, limit: int, rooms: Rooms) -> list[ClaimedDelivery]: ...

    async def next_due(self, full: Collection[str]) -> datetime | None: ...


class Room(Protocol):
    """What claiming asks of the lanes; see `dispatcher.delivery.lanes.Lanes`."""

    def rooms(self, after: str) -> tuple[int, Rooms]: ...

    def full(self) -> list[str]: ...


class Scheduler:
    """Claims due deliveries whenever there is room for them and hands them over.

    Destinations take turns; `_after` is where the last claim had to end because there was no more room.
    """

    def __init__(self, store: ClaimStore, room: Room) -> None:
        self._store = store
        self._room = room
        self._due: datetime | None = None
        self._after = ""
        self._wake = asyncio.Event()

    def expect(self, due_at: datetime) -> None:
        """Look at `due_at` at the latest: something will be due then."""
        if self._due is None or due_at < self._due:
            self._due = due_at
            self._wake.set()

    def wake(self) -> None:
        """Look now: something may be due, or there is room again."""
        self.expect(utc_now())

    async def run(
        self, process: Callable[[], int], take: Callable[[int, list[ClaimedDelivery]], None]
    ) -> None:
        """Claim for `process` and hand to `take` until cancelled."""
        while True:
            await self._wait()
            limit, rooms = self._room.rooms(self._after)
            if not limit:
                continue
            number = process()
            try:
                # What raises here stays due: other deliveries and the next look are not affected.
                with contained("claim", retry_in=POLL):
                    claimed = await self._store.claim(number, min(limit, MAX_CLAIM), rooms)
                    take(number, claimed)
                    await self._go_on(claimed, min(limit, MAX_CLAIM))
            except StoreUnavailable as error:
                log.warning("cannot claim what is due", error=str(error), retry_in=POLL)

    async def _go_on(self, claimed: list[ClaimedDelivery], limit: int) -> None:
        """Look again at once after a claim that did not see everything, else when the next one is due."""
        if len(claimed) == limit:
            self._after = max(delivery.subscription.destination for delivery in claimed)
            self.wake()
        elif self._after:
            self._after = ""
            self.wake()
        elif (due_at := await self._store.next_due(self._room.full())) is not None:
            self.expect(due_at)

    async def _wait(self) -> None:
        """Until the earliest time that is expected, a wake-up, or the poll."""
        await asyncio.sleep(PAUSE)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + POLL
        while True:
            left = deadline - loop.time()
            if self._due is not None:
                left = min(left, (self._due - utc_now()).total_seconds())
            if left <= 0:
                break
            self._wake.clear()
            try:
                async with asyncio.timeout(left):
                    await self._wake.wait()
            except TimeoutError:
                break
        self._due = None
