"""Destinations in the store: breakers, pauses and rate limits, the same for every process.

Each function is one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Subquery,
    Table,
    func,
    literal,
    or_,
    select,
    text,
    update,
)

from dispatcher.domain.destinations import Destination, RateLimit, Slots, slots
from dispatcher.domain.events import utc_now
from dispatcher.store import dialect
from dispatcher.store.columns import Moment
from dispatcher.store.dialect import clock
from dispatcher.store.filters import DestinationFilter, Page, Window
from dispatcher.store.queries import MAX_LIMIT, limit_of
from dispatcher.store.rows import safe
from dispatcher.store.schema import breakers, deliveries, destinations, rates, subscriptions

WATCHED_PAGE = 1000
"""Destinations in trouble, held or limited that are read at once."""

ABANDONED = timedelta(minutes=10)
"""How long after the time of its probe a breaker is looked at by `forget_breakers`."""

WAITING_LIMIT = 10_000
"""What waits for a destination is counted up to here."""

PAID = 600.0
"""Seconds after which the state of a rate limit is forgotten that owes nothing: a new one starts the same."""

_table = destinations.c
# The condition of the index breakers_alone, as it stands there.
_IS_ALONE = text("breakers.alone and breakers.open_until is not null")
_TO_WATCH = or_(_table.open_until.is_not(None), _table.paused_at.is_not(None), _table.per_second.is_not(None))


def to_watch(connection: Connection, after: str) -> list[Destination]:
    """Those whose breaker is not closed, or that are held or limited, by name."""
    found = select(destinations).where(_TO_WATCH, _table.key > safe(after)).order_by(_table.key)
    return [_destination(row) for row in connection.execute(found.limit(WATCHED_PAGE))]


def forget_breakers(connection: Connection) -> None:
    """Close some breakers behind which nothing waits any more."""
    late = select(_table.key).where(_table.open_until < utc_now() - ABANDONED, nothing_waits(_table.key))
    for key in connection.execute(late.limit(WATCHED_PAGE)).scalars().all():
        close_breaker(connection, key)


def nothing_waits(destination: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether nothing waits for a destination for a time or a place.

    Looked up for one destination after the other: with "not exists" all that waits anywhere would be read.
    """
    there = (deliveries.c.destination == destination, deliveries.c.due_at.is_not(None))
    return select(deliveries.c.destination).where(*there).limit(1).scalar_subquery().is_(None)


def close_breaker(connection: Connection, key: str) -> None:
    """Close a breaker."""
    closed = update(destinations).where(_table.key == safe(key))
    connection.execute(
        closed.values(
            open_until=None,
            opened_at=None,
            openings=0,
            reason=None,
            asked=None,
            changed_at=clock(connection),
        )
    )


def pause(connection: Connection, key: str, reason: str) -> None:
    """Hold a destination."""
    _ensure(connection, key)
    held = update(destinations).where(_table.key == safe(key))
    paused_at = func.coalesce(_table.paused_at, _now())
    connection.execute(
        held.values(paused_at=paused_at, paused_reason=safe(reason), changed_at=clock(connection))
    )


def resume(connection: Connection, key: str) -> None:
    """Let a destination go on. Its breaker is closed too: whoever says so wants it tried."""
    resumed = update(destinations).where(_table.key == safe(key))
    connection.execute(resumed.values(paused_at=None, paused_reason=None))
    close_breaker(connection, key)


def limit(connection: Connection, key: str, rate_limit: RateLimit | None) -> None:
    """Set or lift the limit of a destination."""
    _ensure(connection, key)
    connection.execute(
        update(destinations)
        .where(_table.key == safe(key))
        .values(
            per_second=None if rate_limit is None else rate_limit.per_second,
            burst=None if rate_limit is None else rate_limit.burst,
            changed_at=clock(connection),
        )
    )


def take_slots(connection: Connection, key: str, rate_limit: RateLimit, wanted: int) -> Slots:
    """What a rate limit gives of `wanted` attempts. The database's clock counts."""
    this = select(rates.c.full_at).where(rates.c.key == safe(key)).with_for_update()
    full_at = connection.execute(this).scalar()
    if full_at is None:
        _insert_once(connection, rates, {"key": safe(key), "full_at": 0.0})
        full_at = connection.execute(this).scalar_one()
    now = clock(connection).timestamp()
    # More was granted only by a lower limit, which an admin has raised since, or before the clock was set back.
    most = now + rate_limit.tolerance + rate_limit.interval
    given, owed = slots(rate_limit, min(full_at, most), now, wanted)
    if given.granted or full_at > most:
        connection.execute(update(rates).where(rates.c.key == safe(key)).values(full_at=owed))
    return given


def destination(connection: Connection, which: DestinationFilter, key: str) -> Destination | None:
    """One that has a subscription among those asked about, or that something was noted of if all are."""
    if not which.everyone:
        used = (
            select(subscriptions.c.id).where(*_used(which), subscriptions.c.destination == safe(key)).limit(1)
        )
        if connection.execute(used).scalar() is None:
            return None
    row = connection.execute(select(destinations).where(_table.key == safe(key))).one_or_none()
    return None if row is None else _with_breakers(connection, [_destination(row)])[0]


def destination_page(connection: Connection, which: DestinationFilter, window: Window) -> Page[Destination]:
    """Destinations by their names."""
    limit = limit_of(window)
    after = safe(window.cursor) if window.cursor is not None else ""
    if which.everyone:
        wanted = select(destinations).where(_table.key > after)
    else:
        names = _names(which, after)
        wanted = select(destinations).join(names, names.c.key == _table.key)
    items = [_destination(row) for row in connection.execute(wanted.order_by(_table.key).limit(limit + 1))]
    shown = _with_breakers(connection, items[:limit])
    return Page(shown, items[limit - 1].key if len(items) > limit else None)


def _with_breakers(connection: Connection, found: Sequence[Destination]) -> list[Destination]:
    """Those with a closed breaker are shown as open while all that goes there is held back by a breaker within."""
    closed = [safe(one.key) for one in found if one.open_until is None]
    within = breakers.c
    alone = select(breakers).where(within.destination.in_(closed), _IS_ALONE)
    opened = {row.destination: row for row in connection.execute(alone.order_by(within.opened_at.desc()))}
    fields = ("open_until", "opened_at", "openings", "reason", "asked")
    return [
        replace(one, **{name: getattr(opened[one.key], name) for name in fields})
        if one.key in opened
        else one
        for one in found
    ]


def _names(which: DestinationFilter, after: str) -> Subquery:
    """MAX_LIMIT destinations that subscriptions have, in order: jumps through the index from one to the next."""
    to = subscriptions.c.destination
    lowest = select(to).where(*_used(which), to > after).order_by(to).limit(1).scalar_subquery()
    first = select(lowest.label("key")).cte("names", recursive=True)
    following = select(to).where(*_used(which), to > first.c.key).order_by(to).limit(1).scalar_subquery()
    names = first.union_all(select(following).where(first.c.key.is_not(None)))
    return select(names.c.key).where(names.c.key.is_not(None)).limit(MAX_LIMIT + 1).subquery()


def waiting(connection: Connection, keys: Sequence[str]) -> Mapping[str, int]:
    """How much waits for a time or a place, for each of these; WAITING_LIMIT at most."""
    counts: dict[str, int] = {}
    for key in keys:
        some = select(deliveries.c.id).where(
            deliveries.c.destination == safe(key), deliveries.c.due_at.is_not(None)
        )
        counted = select(func.count()).select_from(some.limit(WAITING_LIMIT).subquery())
        counts[key] = connection.execute(counted).scalar_one()
    return counts


def enter(connection: Connection, key: str) -> None:
    """Make a destination known because a subscription uses it; it stays so until the transaction ends."""
    this = select(_table.key).where(_table.key == safe(key)).with_for_update(read=True, key_share=True)
    while connection.execute(this).scalar() is None:
        _ensure(connection, key)


def _ensure(connection: Connection, key: str) -> None:
    _insert_once(connection, destinations, {"key": safe(key)})


def _insert_once(connection: Connection, table: Table, row: Mapping[str, object]) -> None:
    connection.execute(dialect.insert(connection, table).values(row).on_conflict_do_nothing())


def _used(which: DestinationFilter) -> list[ColumnElement[bool]]:
    table = subscriptions.c
    used = [table.tenant == which.tenant, table.removed_at.is_(None)]
    return used if which.subscriber is None else [*used, table.subscriber == which.subscriber]


def _now() -> ColumnElement[datetime]:
    return literal(utc_now(), Moment)


def _destination(row: Row[*tuple[object, ...]]) -> Destination:
    return of_row(row._asdict())


def of_row(values: dict[str, Any]) -> Destination:
    """From a row of destinations."""
    values = {**values, "asked": bool(values["asked"])}
    del values["changed_at"]
    per_second, burst = values.pop("per_second"), values.pop("burst")
    limited = None if per_second is None else RateLimit(per_second, burst or 1)
    return Destination(**values, rate_limit=limited)
