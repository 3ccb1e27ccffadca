"""What waits for which destination and subscription, on SQLite: see `postgres.queue_sql`.

Each statement names its index: without statistics SQLite may take any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, or_, select
from sqlalchemy import Row as Found

from dispatcher.domain.deliveries import Queue, Share, Waiting
from dispatcher.domain.events import utc_now
from dispatcher.store.column_types import DELIVERING, EPOCH, MICROSECOND, PENDING, microseconds
from dispatcher.store.delivery_writes import IS_PENDING
from dispatcher.store.lists import rows_of
from dispatcher.store.mapping import Row, hex_digits, safe
from dispatcher.store.queue import COUNTED
from dispatcher.store.schema import deliveries

_NEXT_DESTINATION = """
select min(destination) from deliveries indexed by deliveries_due where due_at is not null and destination > ?
"""
_FIRST_DUE = f"""
select due_at from deliveries indexed by deliveries_due
where destination = ? and due_at is not null and state = {PENDING} order by due_at limit 1
"""
_QUEUES = f"""
select subscription_id, min(tenant) as tenant, min(subscriber) as subscriber, count(*) as due from (
    select subscription_id, tenant, subscriber from deliveries indexed by deliveries_due
    where destination = ? and due_at <= ? and state = {PENDING} order by due_at limit ?
) group by subscription_id
"""
_NEXT_DUE = f"""
select due_at from deliveries indexed by deliveries_due
where destination = ? and due_at > ? and state = {PENDING} order by due_at limit 1
"""
_NEXT_SUBSCRIPTION = """
select min(subscription_id) from deliveries indexed by deliveries_queued
where destination = ? and due_at is not null and subscription_id > ?
"""
_DUE_OF = f"""
select min(subscription_id) as subscription_id, min(tenant) as tenant, min(subscriber) as subscriber, count(*) as due
from (
    select subscription_id, tenant, subscriber from deliveries indexed by deliveries_waiting
    where subscription_id = ? and listed_as < {DELIVERING} and due_at <= ? and state = {PENDING}
    order by due_at limit {COUNTED}
)
"""
_DUE = f"""
select id, event_key, subscription_id, attempts, restarted_after, since from deliveries indexed by deliveries_waiting
where subscription_id = ? and listed_as < {DELIVERING} and due_at <= ? and state = {PENDING} order by due_at limit ?
"""


def waiting_destinations(connection: Connection, after: str, limit: int) -> list[tuple[str, datetime | None]]:
    """See `DeliveryQueue.waiting_destinations`."""
    found: list[tuple[str, datetime | None]] = []
    for _ in range(limit):
        name = connection.exec_driver_sql(_NEXT_DESTINATION, (after,)).scalar()
        if name is None:
            break
        after = name
        first = connection.exec_driver_sql(_FIRST_DUE, (name,)).scalar()
        found.append((name, None if first is None else _moment(first)))
    return found


def find_queues(
    connection: Connection, after: Mapping[str, str], first: int, more: int
) -> dict[str, Waiting]:
    """See `DeliveryQueue.find_queues`."""
    now = microseconds(utc_now())
    return {key: _look(connection, key, last, now, first, more) for key, last in after.items()}


def _look(connection: Connection, destination: str, after: str, now: int, first: int, more: int) -> Waiting:
    rows = connection.exec_driver_sql(_QUEUES, (destination, now, first)).all()
    queues = {row.subscription_id: _queue(destination, row) for row in rows}
    complete, last = True, ""
    if sum(row.due for row in rows) >= first:
        looked = list(_more(connection, destination, after, more))
        for key in looked:
            row = connection.exec_driver_sql(_DUE_OF, (key, now)).one()
            if row.due:
                queues.setdefault(key, _queue(destination, row))
        complete = len(looked) < more and not after
        last = f"sub_{looked[-1].hex()}" if len(looked) == more else ""
    next_due = connection.exec_driver_sql(_NEXT_DUE, (destination, now)).scalar()
    return Waiting(
        queues=tuple(queues.values()),
        complete=complete,
        last=last,
        next_due=None if next_due is None else _moment(next_due),
    )


def _more(connection: Connection, destination: str, after: str, limit: int) -> Iterator[bytes]:
    last = bytes.fromhex(hex_digits(after)) if after else b""
    for _ in range(limit):
        following = connection.exec_driver_sql(_NEXT_SUBSCRIPTION, (destination, last)).scalar()
        if following is None:
            return
        last = following
        yield last


def due(connection: Connection, limit: int, shares: Sequence[Share]) -> list[Found[Any]]:
    """What is due of these subscriptions, `limit` at most."""
    now, found = microseconds(utc_now()), list[Found[Any]]()
    for share in shares:
        places = min(share.places, limit - len(found))
        if places > 0:
            key = bytes.fromhex(hex_digits(share.subscription_id))
            found += connection.exec_driver_sql(_DUE, (key, now, places)).all()
    return found


def _queue(destination: str, row: Found[Any]) -> Queue:
    return Queue(
        destination=destination,
        subscription_id=f"sub_{row.subscription_id.hex()}",
        tenant=row.tenant,
        owner=row.subscriber,
        due=row.due,
    )


def _moment(value: int) -> datetime:
    return EPOCH + MICROSECOND * value


def waiting(
    connection: Connection, after: Mapping[str, tuple[datetime, str] | None], limit: int
) -> dict[str, list[Row]]:
    """The next `limit` that wait for each destination: id, subscription, from when on their age counts, due time."""
    return {name: _waiting(connection, name, place, limit) for name, place in after.items()}


def _waiting(
    connection: Connection, destination: str, after: tuple[datetime, str] | None, limit: int
) -> list[Row]:
    table = deliveries.c
    waits = [table.destination == safe(destination), table.due_at.is_not(None), IS_PENDING]
    if after is not None:
        # Not as a tuple: SQLite would not use the index for it.
        due_at, delivery_id = after
        waits += [table.due_at >= due_at, or_(table.due_at > due_at, table.id > delivery_id)]
    columns = (table.id, table.subscription_id, table.due_at, table.since)
    return rows_of(connection, select(*columns).where(*waits).order_by(table.due_at, table.id).limit(limit))
