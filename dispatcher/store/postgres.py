"""The store on PostgreSQL, for any number of processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from datetime import timedelta

import asyncpg

from dispatcher.domain.deliveries import NewDelivery
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.expansions import Expansion, NewExpansion
from dispatcher.domain.retention import DEFAULT, Keep, Kept
from dispatcher.store import (
    postgres_expansions,
    postgres_rests,
    postgres_retention,
)
from dispatcher.store import postgres_sql as sql
from dispatcher.store.base import SqlStore
from dispatcher.store.batches import Batch
from dispatcher.store.postgres_accept import accept, add, is_large
from dispatcher.store.postgres_breakers import PostgresBreakers
from dispatcher.store.postgres_leases import PostgresLeases
from dispatcher.store.postgres_queue import PostgresQueue
from dispatcher.store.postgres_rests import Rests
from dispatcher.store.postgres_server import migrate
from dispatcher.store.postgres_session import PostgresSession
from dispatcher.store.postgres_subscriptions import PostgresSubscriptions
from dispatcher.store.sealing import Sealer
from dispatcher.store.subscription_mapping import SubscriptionRows

TRIES = 10
"""How often a batch is written again because others stored some of its events in the meantime."""


class PostgresStore(SqlStore):
    """See `dispatcher.store.protocols.Store`. `width` is which time a new partition holds."""

    def __init__(self, url: str, sealer: Sealer, width: timedelta = DEFAULT.width) -> None:
        self.session = PostgresSession(url)
        mapping = SubscriptionRows(sealer)
        super().__init__(mapping)
        self.breakers = PostgresBreakers(self.session)
        self.subscriptions = PostgresSubscriptions(self.session, mapping)
        self.queue = PostgresQueue(self.session, self.subscriptions)
        self.leases = PostgresLeases(self.session, self.queue.forget)
        self._url = url
        self._width = width
        # What takes long has one connection together: the others are for what is short.
        self._bulk = asyncio.Lock()
        self._rests = Rests()

    async def open(self) -> None:
        # In a thread, because Alembic keeps its state in modules: it cannot take turns with another store's.
        await asyncio.to_thread(migrate, self._url, self._width)
        await self.session.open()
        try:
            await self.subscriptions.check_encryption()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self.session.close()

    async def check_write(self, process: int) -> None:
        async with self.session.hot() as connection, connection.transaction():
            await connection.execute(sql.LOCK_LIKE_ACCEPT)
            await connection.execute(sql.CHECK_WRITE, process)

    async def accept(
        self,
        process: int,
        events: Sequence[Event],
        deliveries: Sequence[NewDelivery],
        expansions: Sequence[NewExpansion] = (),
    ) -> Mapping[str, str]:
        batch = Batch(events, deliveries, expansions)
        large = is_large(batch)
        if not large:
            self._rests.note_others()
        for _ in range(TRIES):
            if not batch.digests:
                return batch.duplicates
            began = time.monotonic()
            # A batch with orders holds locks that the jobs of others share: it rests when it has committed.
            rest = postgres_rests.none if batch.expansions else self._rests.after
            try:
                async with self._bulk if large else nullcontext(), self.session.hot() as connection:
                    await accept(connection, process, batch, rest)
                if large and batch.expansions:
                    await self._rests.after(time.monotonic() - began)
                return batch.duplicates
            except asyncpg.UniqueViolationError:
                stored = await self._identities(batch.digests)
                if not stored:
                    raise
                batch.leave_out(stored)
        raise StoreUnavailable(f"others stored events of the same batch {TRIES} times while it was written")

    async def _identities(self, digests: Collection[bytes]) -> dict[bytes, str]:
        async with self.session.hot() as connection:
            rows = await connection.fetch(sql.IDENTITIES, [digest.hex() for digest in digests])
        return {digest.bytes: f"evt_{key.hex}" for digest, key in rows}

    async def add_deliveries(self, process: int, deliveries: Sequence[NewDelivery]) -> None:
        async with self.session.hot() as connection:
            await add(connection, process, deliveries, self._rests.after)

    async def expand(
        self, process: int, orders: Sequence[Expansion], deliveries: Sequence[NewDelivery]
    ) -> bool:
        async with self._bulk, self.session.hot() as connection, connection.transaction():
            if not await postgres_expansions.take(connection, [one.seq for one in orders]):
                return False
            await add(connection, process, deliveries, self._rests.after)
        return True

    async def claim_expansions(self, after: bytes) -> list[Expansion]:
        async with self.session.hot() as connection:
            # Mostly there is none, and to see that is cheap.
            if not await connection.fetchval(postgres_expansions.ANY):
                return []
        return await super().claim_expansions(after)

    async def retain(self, keep: Keep) -> Kept:
        await self.quotas.forget_before(utc_now() - keep.delivered)
        await self.tapis.purge(utc_now() - keep.delivered)
        return await postgres_retention.retain(self._url, keep)
