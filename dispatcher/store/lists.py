"""Bounded lists, newest first, through an index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    case,
    literal,
    select,
    text,
    tuple_,
    union_all,
)

from dispatcher.domain.ids import Prefix
from dispatcher.store.dialect import orders_by_whole_index
from dispatcher.store.filters import Page, Window
from dispatcher.store.mapping import Row, known_id
from dispatcher.store.schema import subscriptions

MAX_LIMIT = 500
MAX_VALUES = 500
"""How many values a statement names at most; more are asked for in several."""

# The condition of the index subscriptions_to_match, as it stands there: with parameters it would not be used.
_IN_USE = text("subscriptions.removed_at is null and subscriptions.status in ('active', 'paused')")

MAX_BYTES = 8 * 1024 * 1024
"""How much the documents of a page have at most, unless the first one alone has more. A page then ends early."""

T = TypeVar("T")
Condition = ColumnElement[bool]


def rows_of(connection: Connection, statement: Select[*tuple[Any, ...]]) -> list[Row]:
    """All rows of a statement that is bounded by itself."""
    return [*connection.execute(statement).mappings()]


def chunks(values: Sequence[T], size: int = MAX_VALUES) -> Iterator[Sequence[T]]:
    """The values in parts of `size`."""
    return (values[start : start + size] for start in range(0, len(values), size))


def page(rows: Sequence[Row], window: Window, cursor: str, make: Callable[[Row], T]) -> Page[T]:
    """A page of rows of which one more than its limit was asked for; `cursor` is the column that goes on."""
    limit = limit_of(window)
    more = rows[limit - 1][cursor] if len(rows) > limit else None
    return Page([make(row) for row in rows[:limit]], more)


def heavy_page(
    connection: Connection,
    columns: Sequence[ColumnElement[Any]],
    size: ColumnElement[int],
    sizes: Select[Any],
    window: Window,
    make: Callable[[Row], T],
) -> Page[T]:
    """A page that ends before the sizes of its rows add up to more than MAX_BYTES.

    `sizes` finds the newest by the first of these columns: their keys and `size`, one row more than the page has.
    """
    key = columns[0]
    found = connection.execute(sizes.add_columns(size)).all()
    fitting = _fitting([length for _, length in found[: limit_of(window)]])
    keys = [one for one, _ in found[:fitting]]
    rows = rows_of(connection, select(*columns).where(key.in_(keys)).order_by(key.desc()))
    return Page([make(row) for row in rows], keys[-1] if len(found) > fitting else None)


def _fitting(sizes: Sequence[int]) -> int:
    """How many of the first of these have MAX_BYTES together at most; one at least, when there is one."""
    beyond = (count for count, total in enumerate(accumulate(sizes)) if total > MAX_BYTES)
    return max(next(beyond, len(sizes)), min(len(sizes), 1))


def limit_of(window: Window) -> int:
    """How many items a page has at most."""
    return min(max(window.limit, 1), MAX_LIMIT)


def below(window: Window, prefix: Prefix) -> str | None:
    """The id below which a page begins. InvalidInput when its cursor is none."""
    return None if window.cursor is None else known_id(prefix, "cursor", window.cursor)


def after(column: ColumnElement[str], window: Window, prefix: Prefix) -> list[Condition]:
    """The condition that a page begins after its cursor. InvalidInput when that is none."""
    cursor = below(window, prefix)
    return [] if cursor is None else [column < cursor]


def unindexed(column: ColumnElement[str]) -> ColumnElement[str]:
    """A column as no index has it: where another condition names the row, none of the tenant's is to be taken."""
    return column.concat("")


def is_there() -> ColumnElement[bool]:
    """Whether a subscription that another condition names was not removed, as the condition of no index says it."""
    return case((subscriptions.c.removed_at.is_(None), 1), else_=0) == 1


class Branch(NamedTuple):
    """Rows with `value` in the column `lead` that fulfil all of these conditions.

    An index has them in the order of `lead` and the key that a page goes by. Without `lead` they are few.
    """

    conditions: Sequence[Condition]
    lead: ColumnElement[str] | None = None
    value: object = None


def walk(
    connection: Connection,
    key: ColumnElement[str],
    branch: Branch,
    beyond: str | ColumnElement[str] | None,
    *,
    rising: bool = False,
) -> Select[str]:
    """The keys of a branch that come after `beyond`, the highest first, or with `rising` the lowest.

    On PostgreSQL only an index that begins with `lead` gives the order, because `lead` is in it and could be a range:
    by the key alone, a plan that goes through everybody's rows looks as good where most are thought to fit.
    """
    lead, value = branch.lead, branch.value
    found, order = [*branch.conditions], [key]
    if lead is None or not orders_by_whole_index(connection):
        found += [] if lead is None else [lead == value]
        found += [] if beyond is None else [key > beyond if rising else key < beyond]
    elif beyond is None:
        order = [lead, key]
        found += [lead >= value, lead <= value]
    else:
        order = [lead, key]
        place, at = tuple_(lead, key), tuple_(_as(value, lead), _as(beyond, key))
        found += [place > at, lead <= value] if rising else [place < at, lead >= value]
    return select(key).where(*found).order_by(*(column if rising else column.desc() for column in order))


def _as(value: object, column: ColumnElement[str]) -> ColumnElement[str]:
    return value if isinstance(value, ColumnElement) else literal(value, column.type)


def newest(
    connection: Connection,
    column: ColumnElement[str],
    limit: int,
    *branches: Branch,
    below: str | None = None,
    among: Sequence[Select[str]] = (),
) -> Select[str]:
    """The highest ids of these branches, below a cursor, and `among` others; each branch has its own index."""
    found = [walk(connection, column, branch, below).limit(limit) for branch in branches]
    found += [some.limit(limit) for some in among]
    if len(found) == 1:
        return found[0]
    both = union_all(*(select(one.subquery().c[0].label("id")) for one in found)).subquery()
    return select(both.c.id).distinct().order_by(both.c.id.desc()).limit(limit)
