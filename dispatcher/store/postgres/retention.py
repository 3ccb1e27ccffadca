"""Retention on PostgreSQL: old partitions are dropped; what has to be kept of one moves into the oldest one first.

One process at a time does it, on a separate connection that holds an advisory lock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Concatenate, ParamSpec, TypeVar

import asyncpg
from sqlalchemy import Boolean, ColumnElement, Connection, Table, literal_column, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from dispatcher.domain.events import utc_now
from dispatcher.domain.retention import Keep, Kept, Purge
from dispatcher.store import purge, retention
from dispatcher.store.driver_errors import unavailable
from dispatcher.store.postgres.connection import driver_connection, lone_engine, take_migration_lock
from dispatcher.store.postgres.partitions import (
    KEYS,
    Partition,
    check_promise,
    fold,
    lock_table,
    make_ahead,
    partitions,
    promise,
)
from dispatcher.store.retention import left_over, sweeps
from dispatcher.store.schema import identities, jobs, unclaimed_jobs

LOCK = 7_215_366_640_113_905_922
"""The advisory lock of the process that does it."""

MOST: Mapping[str, int] = {"deliveries": 20_000, "attempts": 200_000, "events": 20_000}
"""How many rows move at most while a table is locked. A partition that holds more to be kept stays for now."""

PAGES = 200
"""How many pages of a table without a time in its key are looked at in one transaction."""

# Nested loops over indexes, as for the hot statements: few rows of a partition are looked for among millions. A lock
# that is not given soon is not waited for, because everybody else waits behind the one that waits.
_SETTINGS = {
    "lock_timeout": "2s",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}

_KEPT = {
    "deliveries": "listed_as is not null and listed_as <> 5",
    "attempts": "delivery_id in (select id from deliveries where id >= '{low}' and id < '{high}')",
    "events": "key in (select event_key from deliveries where event_key >= '{low}' and event_key < '{high}'"
    " union all select event_key from expansions where event_key >= '{low}' and event_key < '{high}')",
}
"""What is kept of a partition. The code 5 is SUPERSEDED; only what was delivered at once is not listed."""

P = ParamSpec("P")
R = TypeVar("R")


async def retain(url: str, keep: Keep, purges: Sequence[Purge]) -> Kept:
    """Make the partitions that will be needed, drop the old ones, delete what is left over of them; then purge.

    `purges` use other connections, while this one holds the lock. Nothing is done but looking while another process is
    at it. Raises StoreUnavailable.
    """
    with unavailable():
        async with aclosing(await lone_engine(url, "10min", **_SETTINGS).connect()) as connection:
            with unavailable(driver_connection(connection)):
                run = _Run(connection, keep, utc_now())
                if await run.is_only_one():
                    await run.make_ahead()
                    await run.clean()
                    await run.purge(purges)
                return await run.report()


class _Run:
    """One run of retention on one connection."""

    def __init__(self, connection: AsyncConnection, keep: Keep, now: datetime) -> None:
        self._connection = connection
        self._keep = keep
        self._now = now
        self._ended_before = retention.horizons(keep, now)
        self._before = self._ended_before.bound
        self._deleted: dict[str, int] = {}
        self._dropped = dict.fromkeys(KEYS, 0)

    async def is_only_one(self) -> bool:
        """Whether no other process does it. The lock goes with the connection."""
        return await self._do(_try_lock)

    async def make_ahead(self) -> None:
        """Make partitions for what is to come."""
        await self._do(_make_ahead, self._now, self._keep)

    async def clean(self) -> None:
        """Drop what is old, table by table, and sweep what was kept of it."""
        reach = self._before
        bounds: dict[str, str] = {}
        for table in KEYS:
            # What a table refers to goes after it, and not further.
            reach = bounds[table] = await self._fold_all(table, reach)
        for one in sweeps(bounds, self._ended_before):
            self._deleted[one.table.name] = await retention.carry_out(
                self._do, retention.sweep, one, low=one.low
            )
        if self._dropped["events"]:
            for table_ in (identities, jobs, unclaimed_jobs):
                self._deleted[table_.name] = await self._trim(table_, bounds["events"])
        self._deleted |= await purge.carry_out(self._keep, self._now, self._do)

    async def purge(self, purges: Sequence[Purge]) -> None:
        """Let others delete what is theirs."""
        for one in purges:
            self._deleted |= await one(self._keep)

    async def report(self) -> Kept:
        """What was done, and what is there."""
        there = {table: await self._do(partitions, table) for table in KEYS}
        return Kept(
            deleted=self._deleted,
            dropped=self._dropped,
            oldest_event=await self._do(retention.oldest_event),
            standing={
                table: sum(one.low is not None and one.high <= self._before for one in found)
                for table, found in there.items()
            },
            ahead={
                table: sum(one.begins_after(self._now) for one in found) for table, found in there.items()
            },
        )

    async def _fold_all(self, table: str, reach: str) -> str:
        """Fold the partitions of a table below `reach`; up to which bound nothing stands in the way of sweeping."""
        into, *others = await self._do(partitions, table)
        for old in others:
            if old.high > reach or not await self._do(_is_settled, old):
                break
            if await self._do(_exceeds, old):
                into = old  # it is swept row by row, and takes what is kept of the next one
                continue
            folded = await self._fold(into, old)
            if folded is None:
                break
            into = folded
            self._dropped[table] += 1
        return min(into.high, reach)

    async def _fold(self, into: Partition, old: Partition) -> Partition | None:
        """Fold one into another; None when its table is too busy to be locked."""
        try:
            await self._do(promise, into, old.high)
            await self._do(check_promise, into)
            return await self._do(_locked_fold, into, old)
        except DBAPIError as error:
            if isinstance(error.driver_exception, asyncpg.LockNotAvailableError):
                return None
            raise

    async def _trim(self, table: Table, before: str) -> int:
        """Delete what is left over of a table, in the order in which it lies on the disk."""
        pages, deleted = await self._do(_pages, table), 0
        for first in range(0, pages, PAGES):
            these = literal_column(
                f"(ctid >= '({first},0)'::tid and ctid < '({first + PAGES},0)'::tid)", Boolean
            )
            deleted += await self._do(_delete_left_over, table, before, these)
        return deleted

    async def _do(
        self, operation: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        async with self._connection.begin():
            return await self._connection.run_sync(operation, *args, **kwargs)


def _try_lock(connection: Connection) -> bool:
    locked: bool = connection.execute(text(f"select pg_try_advisory_lock({LOCK})")).scalar_one()
    return locked


def _make_ahead(connection: Connection, now: datetime, keep: Keep) -> None:
    take_migration_lock(connection)
    make_ahead(connection, now, keep.width)


def _is_settled(connection: Connection, old: Partition) -> bool:
    """Whether no process can have claimed on acceptance what is in it: such claims are not listed."""
    if old.table != "deliveries":
        return True
    claimed = text(f"select exists (select from processes where oldest_claim < '{old.high}')")
    return not connection.execute(claimed).scalar_one()


def _exceeds(connection: Connection, old: Partition) -> bool:
    """Whether more is to be kept of it than may move at once."""
    most = MOST[old.table]
    counted = f"select count(*) from (select from {old.name} where {_kept(old)} limit {most + 1}) as kept"
    return bool(connection.execute(text(counted)).scalar_one() > most)


def _locked_fold(connection: Connection, into: Partition, old: Partition) -> Partition:
    lock_table(connection, old.table)
    return fold(connection, into, old, _kept(old))


def _kept(old: Partition) -> str:
    return _KEPT[old.table].format(low=old.low, high=old.high)


def _pages(connection: Connection, table: Table) -> int:
    size = "select pg_relation_size(cast(:name as regclass)) / current_setting('block_size')::int"
    pages: int = connection.execute(text(size), {"name": table.name}).scalar_one()
    return pages


def _delete_left_over(connection: Connection, table: Table, before: str, these: ColumnElement[bool]) -> int:
    return retention.delete_rows(connection, table, left_over(table, before), these)
