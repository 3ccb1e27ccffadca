"""The scheduler: brings what is due from the store back into the lanes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import structlog

from dispatcher.domain.deliveries import ClaimedDelivery
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

    async def claim(self, process: int, limit: int) -> list[ClaimedDelivery]: ...

    async def next_due(self) -> datetime | None: ...


class Scheduler:
    """Claims due deliveries whenever there is room for them and hands them over, the longest due first."""

    def __init__(self, store: ClaimStore, room: Callable[[], int]) -> None:
        self._store = store
        self._room = room
        self._due: datetime | None = None
        self._more = False
        self._wake = asyncio.Event()

    def expect(self, due_at: datetime) -> None:
        """Look at `due_at` at the latest: something will be due then."""
        if self._due is None or due_at < self._due:
            self._due = due_at
            self._wake.set()

    def wake(self) -> None:
        """Look now: something may be due."""
        self.expect(utc_now())

    def room_freed(self) -> None:
        """Look now if the last claim left something behind and there is room for a good part of it."""
        if self._more and self._room() >= MAX_CLAIM // 2:
            self._more = False
            self.wake()

    async def run(self, process: Callable[[], int], take: Callable[[int, list[ClaimedDelivery]], None]) -> None:
        """Claim for `process` and hand to `take` until cancelled."""
        while True:
            await self._wait()
            limit = min(self._room(), MAX_CLAIM)
            if limit <= 0:
                self._more = True
                continue
            number = process()
            try:
                claimed = await self._store.claim(number, limit)
                if claimed:
                    take(number, claimed)
                self._more = len(claimed) == limit
                if not self._more and (due_at := await self._store.next_due()) is not None:
                    self.expect(due_at)
            except StoreUnavailable as error:
                log.warning("cannot claim what is due", error=str(error), retry_in=POLL)
            self.room_freed()

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
