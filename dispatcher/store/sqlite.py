"""The store on SQLite, for one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlalchemy import Connection

from dispatcher.domain.deliveries import NewDelivery
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.expansions import Expansion, NewExpansion
from dispatcher.domain.retention import Keep, Kept
from dispatcher.store import (
    expansions,
    leases,
    purge,
    retention,
    sqlite_sql,
)
from dispatcher.store.base import SqlStore
from dispatcher.store.batches import Batch
from dispatcher.store.leases import LeaseRepository
from dispatcher.store.migrations import upgrade
from dispatcher.store.retention import Sweep, Swept
from dispatcher.store.sealing import Sealer
from dispatcher.store.sqlite_breakers import SqliteBreakers
from dispatcher.store.sqlite_queue import SqliteQueue
from dispatcher.store.sqlite_session import SqliteSession
from dispatcher.store.sqlite_subscriptions import SqliteSubscriptions
from dispatcher.store.subscription_mapping import SubscriptionRows


class SqliteStore(SqlStore):
    """See `dispatcher.store.protocols.Store`."""

    def __init__(self, path: Path, sealer: Sealer) -> None:
        self.session = SqliteSession(path)
        mapping = SubscriptionRows(sealer)
        super().__init__(mapping)
        self.breakers = SqliteBreakers(self.session)
        self.subscriptions = SqliteSubscriptions(self.session, mapping)
        self.queue = SqliteQueue(self.session, self.subscriptions)
        self.leases = LeaseRepository(self.session)

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
