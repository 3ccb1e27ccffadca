"""Destinations: which are known, what waits for them, whether they are paused, how fast they may be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec.structs import replace
from sqlalchemy import (
    ColumnElement,
    Connection,
    Subquery,
    func,
    literal,
    select,
    text,
    update,
)

from dispatcher.domain.destinations import Destination, RateLimit
from dispatcher.domain.events import utc_now
from dispatcher.store import breakers, dialect
from dispatcher.store.column_types import Moment
from dispatcher.store.dialect import clock
from dispatcher.store.filters import DestinationFilter, Page, Window
from dispatcher.store.lists import MAX_LIMIT, limit_of
from dispatcher.store.mapping import destination_of, safe, safe_filter
from dispatcher.store.schema import breakers as breaker_table
from dispatcher.store.schema import deliveries, destinations, subscriptions
from dispatcher.store.session import Repository

WAITING_LIMIT = 10_000
"""What waits for a destination is counted up to here."""

_table = destinations.c
# The condition of the index breakers_alone, as it stands there.
_IS_ALONE = text("breakers.alone and breakers.open_until is not null")


class DestinationRepository(Repository):
    """Destinations."""

    async def get(self, which: DestinationFilter, key: str) -> Destination | None:
        """One destination."""
        return await self._read(_get, safe_filter(which), key)

    async def page(self, which: DestinationFilter, window: Window) -> Page[Destination]:
        """Destinations by their names; the cursor is the last name."""
        return await self._read(_page, safe_filter(which), window)

    async def count_waiting(self, destinations: Sequence[str]) -> Mapping[str, int]:
        """How many deliveries wait for each of these, WAITING_LIMIT at most."""
        return await self._read(_count_waiting, destinations)

    async def pause(self, key: str, reason: str) -> None:
        """Pause a destination: no deliveries are sent to it until it is resumed."""
        await self._write(_pause, key, reason)

    async def resume(self, key: str) -> None:
        """Resume a destination and close its breakers, so that its deliveries are attempted at once."""
        await self._write(_resume, key)
        await self._write(breakers.close_all, key)

    async def set_rate_limit(self, key: str, limit: RateLimit | None) -> None:
        """Set a destination's rate limit, or lift it."""
        await self._write(_set_rate_limit, key, limit)


def _pause(connection: Connection, key: str, reason: str) -> None:
    _ensure(connection, key)
    held = update(destinations).where(_table.key == safe(key))
    paused_at = func.coalesce(_table.paused_at, _now())
    connection.execute(
        held.values(paused_at=paused_at, paused_reason=safe(reason), changed_at=clock(connection))
    )


def _resume(connection: Connection, key: str) -> None:
    resumed = update(destinations).where(_table.key == safe(key))
    connection.execute(resumed.values(paused_at=None, paused_reason=None))
    breakers.close_of_destination(connection, key)


def _set_rate_limit(connection: Connection, key: str, rate_limit: RateLimit | None) -> None:
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


def _get(connection: Connection, which: DestinationFilter, key: str) -> Destination | None:
    """One that has a subscription among those asked about, or that something was noted of if all are."""
    if not which.everyone:
        used = (
            select(subscriptions.c.id).where(*_used(which), subscriptions.c.destination == safe(key)).limit(1)
        )
        if connection.execute(used).scalar() is None:
            return None
    row = connection.execute(select(destinations).where(_table.key == safe(key))).one_or_none()
    return None if row is None else _with_breakers(connection, [destination_of(row._asdict())])[0]


def _page(connection: Connection, which: DestinationFilter, window: Window) -> Page[Destination]:
    """Destinations by their names."""
    limit = limit_of(window)
    after = safe(window.cursor) if window.cursor is not None else ""
    if which.everyone:
        wanted = select(destinations).where(_table.key > after)
    else:
        names = _names(which, after)
        wanted = select(destinations).join(names, names.c.key == _table.key)
    items = [
        destination_of(row._asdict())
        for row in connection.execute(wanted.order_by(_table.key).limit(limit + 1))
    ]
    shown = _with_breakers(connection, items[:limit])
    return Page(shown, items[limit - 1].key if len(items) > limit else None)


def _with_breakers(connection: Connection, found: Sequence[Destination]) -> list[Destination]:
    """Those with a closed breaker are shown as open while all that goes there is held back by a breaker within."""
    closed = [safe(one.key) for one in found if one.open_until is None]
    within = breaker_table.c
    alone = select(breaker_table).where(within.destination.in_(closed), _IS_ALONE)
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


def _count_waiting(connection: Connection, keys: Sequence[str]) -> Mapping[str, int]:
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
    new = dialect.insert(connection, destinations).values(key=safe(key))
    connection.execute(new.on_conflict_do_nothing())


def _used(which: DestinationFilter) -> list[ColumnElement[bool]]:
    table = subscriptions.c
    used = [table.tenant == which.tenant, table.removed_at.is_(None)]
    return used if which.subscriber is None else [*used, table.subscriber == which.subscriber]


def _now() -> ColumnElement[datetime]:
    return literal(utc_now(), Moment)
