"""Breakers of subscriptions and owners within a destination, and what changed of all breakers.

Each function is one transaction.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, Update, delete, exists, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from dispatcher.domain.destinations import Breaker
from dispatcher.domain.events import utc_now
from dispatcher.store import destinations
from dispatcher.store.contract import Changes
from dispatcher.store.delivery_queries import IS_WAITING
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
    return [_breaker(row._asdict()) for row in connection.execute(found.limit(PAGE))]


def changes(connection: Connection, since: datetime | None) -> Changes:
    """See `Store.changes`."""
    now = destinations.clock(connection)
    if since is None:
        return Changes(destinations=[], breakers=[], until=now - OVERLAP)
    changed = destinations.changed(connection, since, PAGE)
    own = select(breakers).where(_table.changed_at > since).order_by(_table.changed_at).limit(PAGE)
    rows = [row._asdict() for row in connection.execute(own)]
    # A page that is full may have left out what changed after its last row.
    ends = [some[-1]["changed_at"] for some in (changed, rows) if len(some) == PAGE]
    until = min([now - OVERLAP, *ends])
    return Changes(
        destinations=[destinations.of_row(row) for row in changed],
        breakers=[_breaker(row) for row in rows],
        until=max(until, since),
        more=bool(ends) and until > since,
    )


def open_within(connection: Connection, breaker: Breaker, *, probed: bool) -> None:
    """Open one that is closed, or keep one open whose probe has failed."""
    now = destinations.clock(connection)
    row = {
        "key": safe(breaker.key),
        "destination": safe(breaker.destination),
        "open_until": breaker.open_until,
        "opened_at": breaker.opened_at or now,
        "changed_at": now,
        "openings": 1,
        "asked": breaker.asked,
        "alone": breaker.alone,
        "reason": safe((breaker.reason or "")[:1000]),
    }
    again: dict[str, object] = {
        name: row[name] for name in ("open_until", "changed_at", "asked", "alone", "reason", "destination")
    }
    again |= {
        "opened_at": func.coalesce(_table.opened_at, row["opened_at"]),
        "openings": _table.openings + (0 if breaker.asked else 1),
    }
    unless_open = None if probed or breaker.asked else _table.open_until.is_(None)
    if connection.dialect.name == "sqlite":
        lite = sqlite.insert(breakers).values(row)
        connection.execute(lite.on_conflict_do_update(index_elements=["key"], set_=again, where=unless_open))
    else:
        post = postgresql.insert(breakers).values(row)
        connection.execute(post.on_conflict_do_update(index_elements=["key"], set_=again, where=unless_open))


def begin_probe(connection: Connection, key: str, seen: datetime, until: datetime) -> bool:
    """Move the time of the next probe to `until`; True for the one process that does it first."""
    mine = update(breakers).where(_table.key == safe(key), _table.open_until == seen)
    moved = mine.values(open_until=until, changed_at=destinations.clock(connection))
    return connection.execute(moved).rowcount == 1


def close(connection: Connection, key: str) -> None:
    """Close one."""
    connection.execute(_closed(connection).where(_table.key == safe(key)))


def close_all(connection: Connection, destination: str) -> None:
    """Close all within a destination."""
    connection.execute(_closed(connection).where(_table.destination == safe(destination)))


def not_alone(connection: Connection, destination: str) -> None:
    """Note that something arrives at a destination."""
    alone = (_table.destination == safe(destination), _table.alone)
    connection.execute(
        update(breakers).where(*alone).values(alone=False, changed_at=destinations.clock(connection))
    )


def forget(connection: Connection) -> None:
    """Close some breakers behind which nothing waits any more, and forget some that have long been closed."""
    now = utc_now()
    late = (_table.open_until < now - ABANDONED,)
    waits = exists().where(deliveries.c.destination == _table.destination, deliveries.c.due_at.is_not(None))
    some = select(_table.key).where(*late, ~waits).limit(PAGE)
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
    connection.execute(delete(breakers).where(_table.key.in_(old.limit(PAGE))))


def _closed(connection: Connection) -> Update:
    return update(breakers).values(
        open_until=None,
        opened_at=None,
        openings=0,
        reason=None,
        asked=False,
        alone=False,
        changed_at=destinations.clock(connection),
    )


def _breaker(row: dict[str, object]) -> Breaker:
    return Breaker(**{name: value for name, value in row.items() if name != "changed_at"})  # type: ignore[arg-type]
