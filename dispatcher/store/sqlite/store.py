"""The store on SQLite, for one process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import Connection

from dispatcher.domain.events import utc_now
from dispatcher.domain.retention import Keep, Kept, Purge
from dispatcher.store import expansions, leases, purge, retention
from dispatcher.store.encryption import Sealer
from dispatcher.store.leases import LeaseRepository
from dispatcher.store.migrations import upgrade
from dispatcher.store.sqlite.breakers import SqliteBreakers
from dispatcher.store.sqlite.events import SqliteEvents, SqliteExpansions
from dispatcher.store.sqlite.queue import SqliteQueue
from dispatcher.store.sqlite.session import SqliteSession
from dispatcher.store.sqlite.subscriptions import SqliteSubscriptions
from dispatcher.store.store import Store
from dispatcher.store.subscription_mapping import SubscriptionRows


class SqliteStore(Store):
    """See `dispatcher.store.store.Store`."""

    def __init__(self, path: Path, sealer: Sealer) -> None:
        session, mapping = SqliteSession(path), SubscriptionRows(sealer)
        super().__init__(session, mapping, sealer)
        self.session: SqliteSession = session
        self.breakers = SqliteBreakers(session)
        self.subscriptions = SqliteSubscriptions(session, mapping)
        self.events = SqliteEvents(session)
        self.expansions = SqliteExpansions(session)
        self.queue = SqliteQueue(session, self.subscriptions)
        self.leases = LeaseRepository(session)

    async def open(self) -> None:
        self.session.open()
        try:
            await self.session.write(upgrade)
            await self.session.write(_drop_statistics)
            await self.session.write(leases.release_all)
            await self.session.write(expansions.free_all)
            await self.subscriptions.check_encryption()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self.session.close()

    async def warm_up(self, lease_id: int) -> None:
        """A file has nothing to make ready."""

    async def check_write(self, lease_id: int) -> None:
        await self.session.write(leases.touch, lease_id)

    async def retain(self, keep: Keep, purges: Sequence[Purge] = ()) -> Kept:
        deleted = await retention.retain_rows(keep, utc_now(), self.session.write)
        deleted |= await purge.carry_out(keep, utc_now(), self.session.write)
        for one in (self.quotas.purge, *purges):
            deleted |= await one(keep)
        return Kept(deleted=deleted, oldest_event=await self.session.read(retention.oldest_event))


def _drop_statistics(connection: Connection) -> None:
    """Drop what a tool may have noted of the tables: it is old soon, and plans are right without it."""
    tables = "select name from sqlite_schema where name in ('sqlite_stat1', 'sqlite_stat4')"
    for name in connection.exec_driver_sql(tables).scalars().all():
        connection.exec_driver_sql(f"delete from {name}")
        connection.exec_driver_sql("analyze sqlite_schema")  # it reads them again
