"""What SQLite and PostgreSQL do differently in statements that are the same otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeAlias

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Table,
    cast,
    func,
    literal,
    select,
    type_coerce,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from dispatcher.domain.events import utc_now
from dispatcher.store.column_types import Moment, microseconds

Insert: TypeAlias = sqlite.Insert | postgresql.Insert


def _is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"


def insert(connection: Connection, table: Table) -> Insert:
    """An insert that can say what happens on a conflict."""
    return sqlite.insert(table) if _is_sqlite(connection) else postgresql.insert(table)


def upsert(
    connection: Connection,
    table: Table,
    row: dict[str, Any],
    changes: dict[str, Any],
    where: ColumnElement[bool] | None = None,
) -> bool:
    """Insert a row, or change the one that is there if `where` holds of it. Whether one of the two was done."""
    keys = [column.name for column in table.primary_key]
    new = insert(connection, table).values(row)
    new = new.on_conflict_do_update(index_elements=keys, set_=changes, where=where)
    return connection.execute(new).rowcount == 1


def clock(connection: Connection) -> datetime:
    """The time now: the database's where several machines share it."""
    if _is_sqlite(connection):
        return utc_now()
    now: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return now


def advisory_lock(connection: Connection, key: str) -> None:
    """Wait for the others that lock this key; until the commit. SQLite has one writer, which needs no lock."""
    if not _is_sqlite(connection):
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(key, 0))))


def locks_rows(connection: Connection) -> bool:
    """Whether others write at the same time, so that rows are locked before they are judged."""
    return not _is_sqlite(connection)


def has_lateral(connection: Connection) -> bool:
    """Whether a subquery may refer to what stands before it in the same FROM."""
    return not _is_sqlite(connection)


def orders_by_whole_index(connection: Connection) -> bool:
    """Whether an index gives its order only to a statement that names all of its columns as the order."""
    return not _is_sqlite(connection)


def later(connection: Connection, now: datetime, seconds: ColumnElement[float]) -> ColumnElement[Any]:
    """The time so many seconds after `now`."""
    if _is_sqlite(connection):
        return type_coerce(literal(microseconds(now)) + cast(seconds * 1_000_000, BigInteger), Moment)
    return literal(now, Moment) + func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def asked_pairs(connection: Connection, pairs: Sequence[tuple[str, str]]) -> tuple[str, dict[str, object]]:
    """A FROM that has these pairs as `asked (tenant, id)`, and its parameters."""
    if _is_sqlite(connection):
        return _PAIRS_OF_SQLITE, {"pairs": msgspec.json.encode(pairs).decode()}
    return _PAIRS, {"tenants": [tenant for tenant, _ in pairs], "ids": [one for _, one in pairs]}


_PAIRS = "unnest(cast(:tenants as text[]), cast(:ids as text[])) as asked (tenant, id)"
_PAIRS_OF_SQLITE = (
    "(select json_extract(value, '$[0]') as tenant, json_extract(value, '$[1]') as id"
    " from json_each(:pairs)) as asked"
)


class IsClaimed(ColumnElement[bool]):
    """Whether a delivery stands in `claims`. These are read first: they are few, and deliveries are many."""

    # No Boolean: SQLite has none, and "= 1" behind it would hide the condition from the planner.
    inherit_cache = True


@compiles(IsClaimed)
def _in_claims(element: IsClaimed, compiler: SQLCompiler, **options: object) -> str:
    return "deliveries.id in (select delivery_id from claims)"


@compiles(IsClaimed, "postgresql")
def _in_claims_read_first(element: IsClaimed, compiler: SQLCompiler, **options: object) -> str:
    # As a subquery it is joined, and some plans go through all of a tenant's deliveries for it.
    return "deliveries.id = any(array(select delivery_id from claims))"
