"""The store on SQLite, for one process.

One thread writes and two read, each on a connection of its own: a whole transaction costs the event loop one
hand-over, and writing is in turn by itself. A lock on a file beside the database keeps other processes out.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError

from dispatcher.domain.deliveries import ClaimedDelivery, NewDelivery, Outcome, Share, Waiting
from dispatcher.domain.destinations import Breaker, HealthChanges
from dispatcher.domain.errors import SettingsError
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.expansions import Expansion, NewExpansion
from dispatcher.domain.retention import Keep, Kept
from dispatcher.store import (
    changes,
    delivery_queries,
    expansions,
    migrations,
    purge,
    retention,
    sqlite_breakers,
    sqlite_queues,
    sqlite_sql,
)
from dispatcher.store.base import Claim, Revision, SqlStore
from dispatcher.store.batches import Batch
from dispatcher.store.failures import leaves_file_usable, unavailable
from dispatcher.store.filters import Place
from dispatcher.store.migrations import upgrade
from dispatcher.store.retention import Sweep, Swept
from dispatcher.store.rows import Row
from dispatcher.store.sealing import Sealer

READERS = 2

BUSY_TIMEOUT = 5.0
"""Seconds to wait for somebody who reads or backs up the file with a tool of their own."""

_HEADER = b"SQLite format 3\0"

P = ParamSpec("P")
R = TypeVar("R")


class SqliteStore(SqlStore):
    """See `dispatcher.store.protocols.Store`."""

    def __init__(self, path: Path, sealer: Sealer) -> None:
        super().__init__(sealer)
        self._path = path
        self._claiming = asyncio.Lock()
        self._unsure: list[str] = []

    async def open(self) -> None:
        self._lock = _lock(self._path)
        self._writer = _Worker(_engine(self._path, 1, "begin immediate"), 1)
        self._readers = _Worker(_engine(self._path, READERS, "begin"), READERS)
        try:
            await self._write(upgrade)
            await self._write(_drop_statistics)
            await self._write(changes.end_all)
            await self._write(expansions.free_all)
            await self._check_seals()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await self._readers.close()
        await self._writer.close()
        os.close(self._lock)

    async def check_write(self, process: int) -> None:
        await self._write(changes.check_write, process)

    async def heartbeat(self, process: int, lease: float, oldest_claim: str) -> bool:
        return await self._write(changes.heartbeat, process, lease, oldest_claim)

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

    async def changes(self, since: datetime | None) -> HealthChanges:
        return await self._read(sqlite_breakers.changes, since)

    async def open_breakers(self, opened: Sequence[Breaker], probed: Collection[str]) -> None:
        await self._write(sqlite_breakers.open_all, opened, probed)

    async def begin_probes(self, opened: Sequence[Breaker], until: datetime) -> set[str]:
        return await self._write(sqlite_breakers.begin_probes, opened, until)

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

    async def _matching(self, match_keys: Sequence[str]) -> Sequence[Revision]:
        return await self._read(sqlite_sql.matching, match_keys)

    async def _read(
        self, operation: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        return await self._readers.run(lambda connection: operation(connection, *args, **kwargs))

    async def _write(
        self, operation: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        return await self._writer.run(lambda connection: operation(connection, *args, **kwargs))


def _drop_statistics(connection: Connection) -> None:
    """Drop what a tool may have noted of the tables: it is old soon, and plans are right without it."""
    tables = "select name from sqlite_schema where name in ('sqlite_stat1', 'sqlite_stat4')"
    for name in connection.exec_driver_sql(tables).scalars().all():
        connection.exec_driver_sql(f"delete from {name}")  # noqa: S608 - one of the two above
        connection.exec_driver_sql("analyze sqlite_schema")  # it reads them again


class _Worker:
    """Runs transactions in threads of its own."""

    def __init__(self, engine: Engine, threads: int) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="sqlite")

    async def run(self, operation: Callable[[Connection], R]) -> R:
        with unavailable():
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._transact, operation)

    def _transact(self, operation: Callable[[Connection], R]) -> R:
        with self._engine.connect() as connection:
            try:
                with connection.begin():
                    return operation(connection)
            except DBAPIError as error:
                if not leaves_file_usable(error):
                    connection.invalidate()  # the next one opens the file again
                raise

    async def close(self) -> None:
        """Finish what was begun, and let go of the connections."""
        await asyncio.to_thread(self._threads.shutdown)
        self._engine.dispose()


def migrate(path: Path) -> list[str]:
    """Bring the schema up to date and return the revisions that were applied.

    SettingsError while another process has the file.
    """
    lock = _lock(path)
    engine = _engine(path, 1, "begin immediate")
    try:
        with unavailable(), engine.begin() as connection:
            return upgrade(connection)
    finally:
        engine.dispose()
        os.close(lock)


def pending(path: Path) -> list[str]:
    """The revisions that `migrate` would apply; a file that is not there is not made."""
    if not path.exists():
        return migrations.pending(None)
    engine = _engine(path, 1, "begin")
    try:
        with unavailable(), engine.connect() as connection:
            return migrations.pending(connection)
    finally:
        engine.dispose()


def _lock(path: Path) -> int:
    """Keep other processes out until the descriptor is closed; make the files, for their owner only."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        with path.open("rb") as file:
            begin = file.read(len(_HEADER))
        lock = os.open(path.with_name(f"{path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise SettingsError(f"DISPATCHER_DATABASE_URL: cannot write {path}: {error.strerror}") from error
    if begin not in (b"", _HEADER):
        os.close(lock)
        raise SettingsError(
            f"DISPATCHER_DATABASE_URL: {path} is no SQLite database; expected one, or no file yet"
        )
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise SettingsError(
            f"DISPATCHER_DATABASE_URL: {path} is in use by another process. SQLite is for one: stop that one "
            "first, or use postgresql://… for several"
        ) from None
    return lock


def _engine(path: Path, connections: int, begin: str) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        pool_size=connections,
        max_overflow=0,
        hide_parameters=True,
        # None: the driver begins no transactions of its own.
        connect_args={"timeout": BUSY_TIMEOUT, "isolation_level": None},
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def _prepare(connection: DBAPIConnection, _: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode = wal", "synchronous = full", "temp_store = memory", "cache_size = -32000"):
        cursor.execute(f"pragma {pragma}")
    cursor.close()
