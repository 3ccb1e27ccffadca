"""Accepting events and carrying out orders on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext

import asyncpg

from dispatcher.domain.deliveries import OpenDelivery
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.events import Event
from dispatcher.domain.expansions import Expansion, NewExpansion
from dispatcher.store.batches import Batch
from dispatcher.store.events import EventRepository
from dispatcher.store.expansions import ExpansionRepository
from dispatcher.store.postgres import expansions as postgres_expansions
from dispatcher.store.postgres import hot_sql as sql
from dispatcher.store.postgres.accept import PART, accept, add, count_parts, count_parts_of, is_large
from dispatcher.store.postgres.session import PostgresSession
from dispatcher.store.postgres.throttle import (
    EXPANSION,
    LARGE_BATCH,
    LARGE_BATCH_WITH_ORDERS,
    Pauses,
    Throttle,
)

TRIES = 10
"""How often a batch is written again because others stored some of its events in the meantime."""


class PostgresEvents(EventRepository):
    """See `dispatcher.store.events.EventRepository`. What is large is stored one after the other, under `bulk`."""

    def __init__(self, session: PostgresSession, bulk: asyncio.Lock, throttle: Throttle) -> None:
        super().__init__(session)
        self._session = session
        self._bulk = bulk
        self._throttle = throttle

    async def accept(
        self,
        lease_id: int,
        events: Sequence[Event],
        deliveries: Sequence[OpenDelivery],
        expansions: Sequence[NewExpansion] = (),
    ) -> Mapping[str, str]:
        batch = Batch(events, deliveries, expansions)
        large = is_large(batch)
        if not large:
            self._throttle.note_others()
        factor = LARGE_BATCH_WITH_ORDERS if batch.expansions else LARGE_BATCH
        for _ in range(TRIES):
            if not batch.digests:
                return batch.duplicates
            pauses = Pauses(self._throttle, factor, count_parts(batch))
            try:
                async with self._bulk if large else nullcontext(), self._session.hot() as connection:
                    await accept(connection, lease_id, batch, pauses)
                await pauses.finish()
                return batch.duplicates
            except asyncpg.UniqueViolationError:
                stored = await self._identities(batch.digests)
                if not stored:
                    raise
                batch.leave_out(stored)
        raise StoreUnavailable(f"others stored events of the same batch {TRIES} times while it was written")

    async def _identities(self, digests: Collection[bytes]) -> dict[bytes, str]:
        async with self._session.hot() as connection:
            rows = await connection.fetch(sql.IDENTITIES, [digest.hex() for digest in digests])
        return {digest.bytes: f"evt_{key.hex}" for digest, key in rows}

    async def add_deliveries(self, lease_id: int, deliveries: Sequence[OpenDelivery]) -> None:
        large = len(deliveries) > PART
        async with self._bulk if large else nullcontext(), self._session.hot() as connection:
            await add(connection, lease_id, deliveries)


class PostgresExpansions(ExpansionRepository):
    """See `dispatcher.store.expansions.ExpansionRepository`."""

    def __init__(self, session: PostgresSession, bulk: asyncio.Lock, throttle: Throttle) -> None:
        super().__init__(session)
        self._session = session
        self._bulk = bulk
        self._throttle = throttle

    async def expand(
        self, lease_id: int, orders: Sequence[Expansion], deliveries: Sequence[OpenDelivery]
    ) -> bool:
        pauses = Pauses(self._throttle, EXPANSION, count_parts_of(deliveries))
        async with self._bulk, self._session.hot() as connection, connection.transaction():
            if not await postgres_expansions.take(connection, [one.seq for one in orders]):
                return False
            await add(connection, lease_id, deliveries, pauses)
        return True

    async def claim(self, after: bytes) -> list[Expansion]:
        async with self._session.hot() as connection:
            # Mostly there is none, and to see that is cheap.
            if not await connection.fetchval(postgres_expansions.ANY):
                return []
        return await super().claim(after)
