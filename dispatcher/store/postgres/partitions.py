"""The partitions of events, deliveries and attempts on PostgreSQL: one holds what was made in some days.

Ids begin with the time of their making, so the primary keys are the partition keys. The oldest partition has no lower
bound: it takes what has to be kept longer than the others. The newest has an upper bound, and there is no partition
for the rest: an insert beyond it fails, so that nothing ends up where no query looks.

Each function is a part of a transaction. Names and bounds come from the database's own catalog.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from msgspec import Struct
from sqlalchemy import Connection, text

from dispatcher.domain.retention import DAY
from dispatcher.store.column_types import EPOCH, MICROSECOND
from dispatcher.store.mapping import bound

KEYS: Mapping[str, str] = {"deliveries": "id", "attempts": "delivery_id", "events": "key"}
"""The partitioned tables and their keys, in the order in which what is old leaves them."""

# Each delivery gets one further version, which has to find room in its page: with 80 two thirds of a batch find none,
# and the table becomes as large.
_STORAGE: Mapping[str, str] = {"deliveries": "with (fillfactor = 50)"}

AHEAD = 3
"""How many partitions stand ready whose time has not begun."""

_BOUNDS = re.compile(r"FOR VALUES FROM \((MINVALUE|'[0-9a-f-]+')\) TO \('([0-9a-f-]+)'\)")
# One that somebody drops at this moment may still be listed, without its bounds.
_LIST = """
select name, bounds from (
    select c.relname as name, pg_get_expr(c.relpartbound, c.oid) as bounds
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = cast(:name as regclass)
) as listed
where bounds is not null
"""


class Partition(Struct, frozen=True):
    """A partition and its bounds, as the hex digits of ids: from `low` (None: whatever is below) to before `high`."""

    table: str
    name: str
    low: str | None
    high: str

    def begins_after(self, moment: datetime) -> bool:
        """Whether its time has not begun."""
        return self.low is not None and self.low > bound(moment)


def time_of(digits: str) -> datetime:
    """The time of a bound."""
    return EPOCH + 1000 * MICROSECOND * int(digits[:12], 16)


def partitions(connection: Connection, table: str) -> list[Partition]:
    """The partitions of a table, the oldest first."""
    found = [
        _partition(table, name, bounds) for name, bounds in connection.execute(text(_LIST), {"name": table})
    ]
    return sorted(found, key=lambda one: one.high)


def make_ahead(connection: Connection, now: datetime, width: timedelta) -> None:
    """Make the partitions that are missing up to AHEAD times `width` (whole days, or less than one) from now.

    The caller keeps others from doing the same with `connection.MIGRATION_LOCK`.
    """
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    start = midnight if width >= DAY else midnight + (now - midnight) // width * width
    name = "{}_{:%Y%m%d}" if width >= DAY else "{}_{:%Y%m%dt%H%M}"
    for table in KEYS:
        there = partitions(connection, table)
        if not there:
            _make(connection, Partition(table, f"{table}_oldest", None, bound(start)))
        begin = time_of(there[-1].high) if there else start
        while begin <= now + AHEAD * width:
            end = max(begin, start) + width
            _make(connection, Partition(table, name.format(table, begin), bound(begin), bound(end)))
            begin = end


def promise(connection: Connection, into: Partition, high: str) -> None:
    """Let a partition hold nothing beyond a later bound, which it cannot; `check_promise` lets the server know it."""
    key = KEYS[into.table]
    low = "" if into.low is None else f"{key} >= '{into.low}' and "
    _run(
        connection,
        f"alter table {into.name} drop constraint if exists promise",
        f"alter table {into.name} add constraint promise check ({low}{key} < '{high}') not valid",
    )


def check_promise(connection: Connection, into: Partition) -> None:
    """Read a partition once, while others use it: `fold` then need not, while no one can."""
    _run(connection, f"alter table {into.name} validate constraint promise")


def fold(connection: Connection, into: Partition, old: Partition, kept: str) -> Partition:
    """Move the rows of `old` that are to be kept (a condition) into the partition below it, and drop the rest.

    The table is locked meanwhile. Returns the partition that took them, which now reaches as far as `old` did.
    """
    table, low = into.table, "MINVALUE" if into.low is None else f"'{into.low}'"
    _run(
        connection,
        f"alter table {table} detach partition {into.name}",
        f"alter table {table} detach partition {old.name}",
        f"insert into {into.name} select {old.name}.* from {old.name} where {kept}",
        f"alter table {table} attach partition {into.name} for values from ({low}) to ('{old.high}')",
        f"alter table {into.name} drop constraint promise",
        f"drop table {old.name}",
    )
    return Partition(table, into.name, into.low, old.high)


def lock_table(connection: Connection, table: str) -> None:
    """Keep everybody out of a table until the transaction ends."""
    _run(connection, f"lock table {table} in access exclusive mode")


def _make(connection: Connection, new: Partition) -> None:
    low = "MINVALUE" if new.low is None else f"'{new.low}'"
    # Made apart and attached: that locks out no one who reads or writes.
    _run(
        connection,
        f"create table {new.name} (like {new.table} including all) {_STORAGE.get(new.table, '')}",
        f"alter table {new.table} attach partition {new.name} for values from ({low}) to ('{new.high}')",
    )


def _partition(table: str, name: str, bounds: str) -> Partition:
    found = _BOUNDS.fullmatch(bounds)
    if found is None:
        raise ValueError(f"the partition {name}: expected a range of ids, got {bounds}")
    low, high = (digits.strip("'").replace("-", "") for digits in found.groups())
    return Partition(table, name, None if low == "MINVALUE" else low, high)


def _run(connection: Connection, *statements: str) -> None:
    for statement in statements:
        connection.exec_driver_sql(statement)
