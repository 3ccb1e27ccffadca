"""The lease: what makes this process known to the others, and lets them take over when it dies."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable
from typing import Protocol

import structlog

from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.ids import lowest_id
from dispatcher.telemetry.metrics import LEASES_LOST

log = structlog.get_logger("dispatcher.delivery")

CLOCK_MARGIN = 60.0
"""Seconds that the clock may have been set back between the making of an id and a heartbeat."""


class LeaseStore(Protocol):
    """What a lease needs of the store; see `dispatcher.store.leases.LeaseRepository`."""

    async def register(self, host: str, pid: int, lease: float) -> int: ...

    async def renew(self, lease_id: int, lease: float, oldest_claim: str) -> bool: ...

    async def release(self, lease_id: int) -> int: ...

    async def release_expired(self) -> int: ...


class Lease:
    """One process's lease of `seconds`, renewed four times in that time.

    It also watches the others: the claims of one whose lease has ended are freed.
    """

    def __init__(self, leases: LeaseStore, seconds: float) -> None:
        self._leases = leases
        self._seconds = seconds
        self._good_until = 0.0
        self._renewed = asyncio.Event()
        self._tracked: dict[str, None] = {}
        self.id = 0
        """0 while there is none."""

    async def begin(self) -> None:
        """Enter this process. Raises StoreUnavailable."""
        asked = time.monotonic()
        self.id = await self._leases.register(socket.gethostname(), os.getpid(), self._seconds)
        self._tracked.clear()
        self._good_until = asked + self._seconds
        self._renewed.set()

    async def end(self) -> int:
        """Leave, and give back what is still claimed; how many deliveries that was. Raises StoreUnavailable."""
        return await self._leases.release(self.id)

    def is_valid_for(self, seconds: float) -> bool:
        """Whether the lease is sure to last so much longer."""
        return time.monotonic() + seconds < self._good_until

    async def wait_until_valid_for(self, seconds: float) -> None:
        """Return when the lease is sure to last so much longer, which is at once unless a heartbeat is missing."""
        while not self.is_valid_for(seconds):
            self._renewed.clear()
            await self._renewed.wait()

    def track(self, delivery_id: str) -> None:
        """Note a delivery that is being stored as claimed. Ids increase, so the first is the lowest."""
        self._tracked[delivery_id] = None

    def untrack(self, delivery_id: str) -> None:
        """Note that its outcome is stored, or that it was not stored at all."""
        self._tracked.pop(delivery_id, None)

    async def run(self, lost: Callable[[], None], freed: Callable[[], None]) -> None:
        """Renew the lease until cancelled.

        `lost` is called when others have taken this process's claims over: it gets another lease then, and what it had
        claimed is no longer its own. `freed` is called when there are claims of others to take.
        """
        while True:
            await asyncio.sleep(self._seconds / 4)
            try:
                if self.id and not await self._renew():
                    self._lose()
                    lost()
                if not self.id:
                    await self.begin()
                count = await self._leases.release_expired()
            except StoreUnavailable as error:
                log.warning("heartbeat failed", process=self.id, error=str(error))
                continue
            if count:
                log.warning("released the deliveries of an expired lease", deliveries=count)
                freed()

    def _lose(self) -> None:
        LEASES_LOST.inc()
        log.error("lease lost", process=self.id, lease=self._seconds)
        self._good_until = 0.0
        # What is reserved until there is another lease would be stored under that one, and be none of its claims here.
        self.id = 0

    async def _renew(self) -> bool:
        asked = time.monotonic()
        oldest = next(iter(self._tracked), None) or lowest_id("dlv", time.time() - CLOCK_MARGIN)
        kept = await self._leases.renew(self.id, self._seconds, oldest)
        if kept:
            self._good_until = asked + self._seconds
            self._renewed.set()
        return kept
