"""Databases of measurements: asked what the service did there, and filled with many generated rows.

Rows are copied from one that the store wrote itself, so that they are what it would have written; only what has
to differ does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

import asyncpg
from sqlalchemy import Table

from benchmarks.service import SEALER
from dispatcher.domain.ids import lowest_id
from dispatcher.store import schema
from dispatcher.store.factory import open_store
from dispatcher.store.store import Store

POLL = 0.05


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    """The store, made when the database is empty."""
    store = open_store(url, SEALER)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    """A separate connection."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def until(connection: asyncpg.Connection, count: str, wanted: int, seconds: float = 300) -> None:
    """Return once the statement `count` counts as many. TimeoutError says how many there were."""
    found, deadline = -1, time.monotonic() + seconds
    while found < wanted:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{found} of {wanted} after {seconds:g} s: {count}")
        await asyncio.sleep(POLL)
        found = await connection.fetchval(count)


async def copy_rows(
    connection: asyncpg.Connection, table: Table, count: str, changes: Mapping[str, str]
) -> None:
    """Copy every row of a table `count` times (SQL).

    `changes` are columns with SQL for what is not copied, over the row `t` and the number `n` of the copy.
    """
    columns = [column.name for column in table.columns]
    values = ", ".join(changes.get(name, f"t.{name}") for name in columns)
    await connection.execute(
        f"insert into {table.name} ({', '.join(columns)}) "  # noqa: S608 - names of this schema
        f"select {values} from {table.name} t cross join generate_series(1, {count}) n",
        timeout=600,
    )


def numbered_id(number: str) -> str:
    """SQL for an id made now that holds a number, given as SQL."""
    now = lowest_id("evt", time.time())[4:16]
    return f"('{now}70008000' || lpad(to_hex({number}), 12, '0'))::uuid"


async def settle(connection: asyncpg.Connection, tables: Iterable[Table]) -> None:
    """Leave tables as they are after a while: with statistics, and nothing for autovacuum to do."""
    for table in tables:
        await connection.execute(f"vacuum (analyze) {table.name}", timeout=600)


ALL_TABLES = schema.metadata.tables.values()
