"""The store on SQLite, for one process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from sqlalchemy import Connection

from dispatcher.domain.deliveries import ClaimedDelivery, NewDelivery, Outcome, Share, Waiting
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.expansions import Expansion, NewExpansion
from dispatcher.domain.retention import Keep, Kept
from dispatcher.store import (
    delivery_queries,
    expansions,
    leases,
    purge,
    retention,
    sqlite_queues,
    sqlite_sql,
)
from dispatcher.store.base import Claim, SqlStore
from dispatcher.store.batches import Batch
from dispatcher.store.filters import Place
from dispatcher.store.leases import LeaseRepository
from dispatcher.store.migrations import upgrade
from dispatcher.store.retention import Sweep, Swept
from dispatcher.store.rows import Row
from dispatcher.store.sealing import Sealer
from dispatcher.store.sqlite_breakers import SqliteBreakers
from dispatcher.store.sqlite_session import SqliteSession
from dispatcher.store.sqlite_subscriptions import SqliteSubscriptions
from dispatcher.store.subscription_mapping import SubscriptionRows
from dispatcher.store.subscriptions import Revision


class SqliteStore(SqlStore):
    """See `dispatcher.store.protocols.Store`."""

    def __init__(self, path: Path, sealer: Sealer) -> None:
        self.session = SqliteSession(path)
        mapping = SubscriptionRows(sealer)
        super().__init__(mapping)
        self.breakers = SqliteBreakers(self.session)
        self.subscriptions = SqliteSubscriptions(self.session, mapping)
        self.leases = LeaseRepository(self.session)
        self._claiming = asyncio.Lock()
        self._unsure: list[str] = []

    async def open(self) -> None:
        self.session.open()
        try:
            await self._write(upgrade)
            await self._write(_drop_statistics)
            await self._write(leases.release_all)
            await self._write(expansions.free_all)
            await self.subscriptions.check_encryption()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self.session.close()

    async def check_write(self, process: int) -> None:
        await self._write(leases.touch, process)

    async def accept(
        self,
        process: int,
        events: Sequence[Event],
        deliveries: Sequence[NewDelivery],
        expansions: Sequence[NewExpansion] = (),
    ) -> Mapping[str, str]:
        batch = Batch(events, deliveries, expansions)
        await self._write(sqlite_sql.accept, process, batch)
        return batch.duplicates

    async def add_deliveries(self, process: int, deliveries: Sequence[NewDelivery]) -> None:
        await self._write(sqlite_sql.add_to_stored, process, deliveries)

    async def expand(
        self, process: int, orders: Sequence[Expansion], deliveries: Sequence[NewDelivery]
    ) -> bool:
        return await self._write(sqlite_sql.expand, process, [one.seq for one in orders], deliveries)

    async def claim_shares(self, process: int, limit: int, shares: Sequence[Share]) -> list[ClaimedDelivery]:
        return await self._claim_by(partial(sqlite_sql.claim_shares, shares=shares), process, limit)

    async def waiting_destinations(self, after: str, limit: int) -> list[tuple[str, datetime | None]]:
        return await self._read(sqlite_queues.waiting_destinations, after, limit)

    async def look(self, after: Mapping[str, str], first: int, more: int) -> dict[str, Waiting]:
        return await self._read(sqlite_queues.look, after, first, more)

    async def _waiting(self, after: Mapping[str, Place | None], limit: int) -> Mapping[str, Sequence[Row]]:
        return await self._read(delivery_queries.waiting, after, limit)

    async def _claim_by(
        self, claim: Callable[..., tuple[list[Claim], list[Revision]]], process: int, limit: int
    ) -> list[ClaimedDelivery]:
        async with self._claiming:
            writing = asyncio.ensure_future(self._write(claim, process, limit, unsure=self._unsure))
            try:
                claims, revisions = await asyncio.shield(writing)
            finally:
                # When this is cancelled it goes on in its thread. Nobody has its claims then, nor when what follows
                # fails: the next call gives them back first.
                await asyncio.wait({writing})
                if writing.exception() is None:
                    self._unsure = [claim.id for claim in writing.result()[0]]
            wanted = await self._wanted(process, claims, revisions)
            self._unsure = []
        return wanted

    async def _finish(self, process: int, outcomes: Sequence[Outcome]) -> None:
        await self._write(sqlite_sql.finish, process, outcomes)

    async def retain(self, keep: Keep) -> Kept:
        await self.quotas.forget_before(utc_now() - keep.delivered)
        await self.tapis.purge(utc_now() - keep.delivered)
        deleted = await retention.retain_rows(keep, utc_now(), self._sweep)
        deleted |= await purge.carry_out(keep, utc_now(), self._write)
        return Kept(deleted=deleted, oldest_event=await self._read(retention.oldest_event))

    async def _sweep(self, what: Sweep, low: object) -> Swept:
        return await self._write(retention.sweep, what, low)


def _drop_statistics(connection: Connection) -> None:
    """Drop what a tool may have noted of the tables: it is old soon, and plans are right without it."""
    tables = "select name from sqlite_schema where name in ('sqlite_stat1', 'sqlite_stat4')"
    for name in connection.exec_driver_sql(tables).scalars().all():
        connection.exec_driver_sql(f"delete from {name}")  # noqa: S608 - one of the two above
        connection.exec_driver_sql("analyze sqlite_schema")  # it reads them again
