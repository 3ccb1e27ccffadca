"""The sweeper: what one process does for all of them, the one that has been there for the longest.

It ends deliveries that have become too old behind an open breaker or a pause, lets deliveries go on that waited for one
which ended in a crash, and forgets what is no longer needed.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Protocol, TypeAlias

import structlog

from dispatcher.domain.deliveries import ExpiredDelivery, State
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.telemetry.metrics import DELIVERIES

log = structlog.get_logger("dispatcher.delivery")

INTERVAL = 10.0
"""Seconds between two rounds."""

BATCH_SIZE = 500
"""Waiting deliveries that are looked at in one transaction."""

MAX_BATCHES = 40
"""How many of these one round looks at; the next round goes on there."""

BATCH_DESTINATIONS = 100
"""Blocked destinations that are looked at in one transaction."""

NEW_PER_ROUND = 500
"""Blocked destinations that a round begins with: where many are down, little waits for most of them."""

MAX_ORDERING_BATCHES = 40
"""How often a round looks at turns: at 500 each time."""

PURGE_EVERY_ROUNDS = 60
"""Rounds."""


Place: TypeAlias = tuple[datetime, str]
"""A waiting delivery among those of its destination: its due time and its id."""


class ElectionStore(Protocol):
    """Knows which process does what only one has to do."""

    async def is_oldest(self, lease_id: int) -> bool: ...


class ExpiryStore(Protocol):
    """Finds and ends what has become too old; see `dispatcher.store.queue.DeliveryQueue`."""

    async def find_expired(
        self, after: Mapping[str, Place | None], limit: int
    ) -> tuple[list[ExpiredDelivery], dict[str, Place]]: ...

    async def expire(self, expired: Sequence[ExpiredDelivery]) -> int: ...


class DigestRepair(Protocol):
    """Ends what a crash left of digests; see `dispatcher.store.digests.DigestRepository`."""

    async def repair(self, after: str | None) -> str | None: ...


class OrderingRepair(Protocol):
    """Lets those go on that a crash left behind; see `dispatcher.store.ordering.OrderingRepository`."""

    async def repair(self, after: int) -> int: ...


class SweeperStore(Protocol):
    """What the sweeper needs of the store; see `dispatcher.store.store.Store`."""

    @property
    def leases(self) -> ElectionStore: ...

    @property
    def queue(self) -> ExpiryStore: ...

    @property
    def ordering(self) -> OrderingRepair: ...

    @property
    def digests(self) -> DigestRepair: ...

    async def purge_orphans(self) -> None: ...


class Sweeper:
    """Makes the rounds. `blocked` says for which destinations nothing goes out."""

    def __init__(self, store: SweeperStore, blocked: Callable[[], Iterable[str]]) -> None:
        self._store = store
        self._blocked = blocked
        self._turns = 0
        self._reached = ""
        self._more: dict[str, Place] = {}
        self._digests: str | None = None

    async def run(self, lease_id: Callable[[], int]) -> None:
        """Make a round now and then until cancelled, if the process with this lease is the one to do it."""
        rounds = 0
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                if await self._store.leases.is_oldest(lease_id()):
                    await self.round(purge=rounds % PURGE_EVERY_ROUNDS == 0)
                    rounds += 1
            except StoreUnavailable as error:
                log.warning("maintenance waits for the database", error=str(error), retry_in=INTERVAL)

    async def round(self, *, purge: bool = False) -> None:
        """Everything once. Raises StoreUnavailable."""
        await self._expire()
        for _ in range(MAX_ORDERING_BATCHES):
            self._turns = await self._store.ordering.repair(self._turns)
            if not self._turns:
                break
        self._digests = await self._store.digests.repair(self._digests)
        if purge:
            await self._store.purge_orphans()

    async def _expire(self) -> None:
        """Look at a bounded part of what waits behind all that is blocked."""
        blocked = sorted(self._blocked())
        self._more = {name: at for name, at in self._more.items() if name in set(blocked)}
        new = blocked[bisect_right(blocked, self._reached) :][:NEW_PER_ROUND]
        for _ in range(MAX_BATCHES):
            after: dict[str, Place | None] = dict(islice(self._more.items(), BATCH_DESTINATIONS))
            for name in new[: BATCH_DESTINATIONS - len(after)]:
                after.setdefault(name, None)
            if not after:
                break
            expired, more = await self._store.queue.find_expired(after, max(1, BATCH_SIZE // len(after)))
            new = [name for name in new if name not in after]
            self._more = {name: at for name, at in self._more.items() if name not in after} | more
            self._reached = max([self._reached, *(name for name in after if after[name] is None)])
            if expired:
                await self._exhaust(expired)
        if not new and (not blocked or self._reached >= blocked[-1]):
            self._reached = ""

    async def _exhaust(self, expired: Sequence[ExpiredDelivery]) -> None:
        count = await self._store.queue.expire(expired)
        for one in expired:
            DELIVERIES.add(one.kind, State.EXHAUSTED.value)
        log.warning("exhausted while waiting", deliveries=count)
