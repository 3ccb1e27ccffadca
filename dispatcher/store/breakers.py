"""Breakers of subscriptions and owners within a destination; opening them is a thing of each database.

Each function is one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import Connection, Update, delete, select, update

from dispatcher.domain.destinations import Breaker
from dispatcher.domain.events import utc_now
from dispatcher.store import destinations
from dispatcher.store.delivery_queries import IS_WAITING
from dispatcher.store.dialect import clock
from dispatcher.store.rows import safe
from dispatcher.store.schema import breakers, deliveries

PAGE = 1000
"""Breakers and destinations that are read at once."""

OVERLAP = timedelta(seconds=5)
"""How long a change may take from its time to the end of its transaction."""

ABANDONED = timedelta(minutes=10)
"""How long after the time of its probe a breaker is looked at by `forget`: nobody had anything to send."""

KEPT_CLOSED = timedelta(hours=1)
"""How long a closed breaker is kept, so that every process learns of it."""

_table = breakers.c


def to_watch(connection: Connection, after: str) -> list[Breaker]:
    """Those that are open, by key."""
    found = select(breakers).where(_table.open_until.is_not(None), _table.key > after).order_by(_table.key)
    return [breaker_of(row._asdict()) for row in connection.execute(found.limit(PAGE))]


def close(connection: Connection, key: str) -> None:
    """Close one."""
    connection.execute(_closed(connection).where(_table.key == safe(key)))


def close_all(connection: Connection, destination: str) -> None:
    """Close all within a destination."""
    connection.execute(_closed(connection).where(_table.destination == safe(destination)))


def not_alone(connection: Connection, destination: str) -> None:
    """Note that something arrives at a destination."""
    alone = (_table.destination == safe(destination), _table.alone)
    connection.execute(update(breakers).where(*alone).values(alone=False, changed_at=clock(connection)))


def forget(connection: Connection) -> None:
    """Close some breakers behind which nothing waits any more, and forget some that have long been closed."""
    now = utc_now()
    late = (_table.open_until < now - ABANDONED,)
    idle = destinations.nothing_waits(_table.destination)
    some = select(_table.key).where(*late, idle).order_by(_table.open_until).limit(PAGE)
    connection.execute(_closed(connection).where(_table.key.in_(some)))
    # What else waits there is of others: a subscription's own has an index, and a subscription may be gone.
    for key in (
        connection.execute(
            select(_table.key)
            .where(*late, _table.key.startswith("sub_"))
            .order_by(_table.open_until)
            .limit(PAGE)
        )
        .scalars()
        .all()
    ):
        own = select(deliveries.c.id).where(deliveries.c.subscription_id == key, IS_WAITING).limit(1)
        if connection.execute(own).scalar() is None:
            close(connection, key)
    old = select(_table.key).where(_table.open_until.is_(None), _table.changed_at < now - KEPT_CLOSED)
    connection.execute(delete(breakers).where(_table.key.in_(old.order_by(_table.changed_at).limit(PAGE))))


def _closed(connection: Connection) -> Update:
    return update(breakers).values(
        open_until=None,
        opened_at=None,
        openings=0,
        reason=None,
        asked=False,
        alone=False,
        changed_at=clock(connection),
    )


def breaker_of(row: Mapping[str, object]) -> Breaker:
    """From a row of breakers."""
    return Breaker(**{name: value for name, value in row.items() if name != "changed_at"})  # type: ignore[arg-type]
