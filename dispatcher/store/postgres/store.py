"""The store on PostgreSQL, for any number of processes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.retention import DEFAULT, Keep, Kept, Purge
from dispatcher.store.encryption import Sealer
from dispatcher.store.postgres import hot_sql as sql
from dispatcher.store.postgres import retention
from dispatcher.store.postgres.breakers import PostgresBreakers
from dispatcher.store.postgres.connection import migrate
from dispatcher.store.postgres.events import PostgresEvents, PostgresExpansions
from dispatcher.store.postgres.leases import PostgresLeases
from dispatcher.store.postgres.queue import PostgresQueue
from dispatcher.store.postgres.session import HOT, PostgresSession
from dispatcher.store.postgres.subscriptions import PostgresSubscriptions
from dispatcher.store.postgres.throttle import Throttle
from dispatcher.store.postgres.warm_up import warm_up
from dispatcher.store.store import Store
from dispatcher.store.subscription_mapping import SubscriptionRows

WARM_UP_TIMEOUT = 3.0
"""Seconds that a start waits for its connections to be warmed up."""


class PostgresStore(Store):
    """See `dispatcher.store.store.Store`. `width` is which time a new partition holds."""

    def __init__(self, url: str, sealer: Sealer, width: timedelta = DEFAULT.width) -> None:
        session, mapping = PostgresSession(url), SubscriptionRows(sealer)
        super().__init__(session, mapping, sealer)
        self.session: PostgresSession = session
        self.breakers = PostgresBreakers(session)
        self.subscriptions = PostgresSubscriptions(session, mapping)
        self.queue = PostgresQueue(session, self.subscriptions)
        self.leases = PostgresLeases(session, self.queue.forget)
        self._url = url
        self._width = width
        # What takes long has one connection together: the others are for what is short.
        bulk, throttle = asyncio.Lock(), Throttle()
        self.events = PostgresEvents(session, bulk, throttle)
        self.expansions = PostgresExpansions(session, bulk, throttle)

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

    async def warm_up(self, lease_id: int) -> None:
        try:
            async with asyncio.timeout(WARM_UP_TIMEOUT):
                await warm_up(self.session.hot, HOT, lease_id)
        except* TimeoutError:
            pass  # such as a lock on a table: readiness says so, and the first batch waits for it
        except* StoreUnavailable as group:
            raise group.exceptions[0] from group

    async def check_write(self, lease_id: int) -> None:
        async with self.session.hot() as connection, connection.transaction():
            await connection.execute(sql.LOCK_LIKE_ACCEPT)
            await connection.execute(sql.CHECK_WRITE, lease_id)

    async def retain(self, keep: Keep, purges: Sequence[Purge] = ()) -> Kept:
        return await retention.retain(self._url, keep, [self.quotas.purge, *purges])
