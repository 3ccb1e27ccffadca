"""Purge: what tables without a time in their key hold for longer than it is needed. Retention carries it out.

`docs/operating.md` has the rule of each table.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct
from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
    tuple_,
)

from dispatcher.domain.digests import MAX_INTERVAL
from dispatcher.domain.retention import DAY, Keep
from dispatcher.store import retention
from dispatcher.store.retention import CHUNK, Sweep, Swept, sweep
from dispatcher.store.schema import (
    deliveries,
    destinations,
    digests,
    mail_consents,
    subscriptions,
)
from dispatcher.store.session import Run

UNUSED = DAY
"""How long an unused destination is kept after its last change."""

_subscription, _digest, _destination = subscriptions.c, digests.c, destinations.c
_THERE = _subscription.removed_at.is_(None)


Key = tuple[Any, ...]
"""A primary key."""


class Trim(Struct, frozen=True):
    """What is to go from a table whose key has several columns. `low` is below every key."""

    table: Table
    gone: ColumnElement[bool]
    low: Key


def sweeps(keep: Keep, now: datetime, tenants: Sequence[str]) -> list[Sweep]:
    """What goes of subscriptions, digests and destinations. `tenants` are those that have subscriptions."""
    none, of_subscription = "sub_" + "0" * 32, deliveries.c.subscription_id == _subscription.id
    ended = or_(
        _subscription.removed_at < now - keep.delivered,
        and_(_subscription.status == "completed", _subscription.updated_at < now - keep.exhausted),
        _subscription.expires_at < now - keep.exhausted,
    )
    gathers = select(_subscription.id).where(_subscription.id == _digest.subscription_id, _THERE)
    sent = or_(_digest.sent_at.is_(None), _digest.sent_at < now - timedelta(seconds=MAX_INTERVAL))
    waits = exists().where(
        deliveries.c.destination == _destination.key,
        deliveries.c.due_at.is_not(None),
    )
    used = exists().where(
        _subscription.tenant.in_(tenants), _subscription.destination == _destination.key, _THERE
    )
    free = (
        _destination.open_until.is_(None),
        _destination.paused_at.is_(None),
        _destination.per_second.is_(None),
    )
    unchanged = or_(_destination.changed_at.is_(None), _destination.changed_at < now - UNUSED)
    return [
        Sweep(subscriptions, _subscription.id, and_(ended, ~exists().where(of_subscription)), none),
        Sweep(digests, _digest.id, and_(_digest.leader.is_(None), or_(sent, ~gathers.exists())), bytes(16)),
        Sweep(destinations, _destination.key, and_(*free, unchanged, ~waits, ~used), ""),
    ]


def trims(keep: Keep, now: datetime) -> list[Trim]:
    """What goes of the tables whose key has several columns."""
    consent, before = mail_consents.c, now - keep.exhausted
    # A range in the order of the index of subscribers: by equal values, one of the tenant's looks as good to PostgreSQL
    # until the table is analyzed, and every row of the tenant is read for each consent.
    same = (_subscription.subscriber >= consent.subscriber, _subscription.subscriber <= consent.subscriber)
    of_subscriber = select(_subscription.id).where(_subscription.tenant == consent.tenant, *same, _THERE)
    first = of_subscriber.order_by(_subscription.subscriber, _subscription.id).limit(1).scalar_subquery()
    noted = (consent.asked_at, consent.asking_until, consent.confirmed_at, consent.refused_at)
    old = [or_(moment.is_(None), moment < before) for moment in noted]
    return [Trim(mail_consents, and_(*old, first.is_(None)), ("", "", ""))]


def tenants(connection: Connection) -> list[str]:
    """The tenants that have subscriptions: jumps through an index from one to the next."""
    name = _subscription.tenant
    first = select(func.min(name).label("name")).where(_THERE).cte("tenants", recursive=True)
    following = select(func.min(name)).where(_THERE, name > first.c.name).scalar_subquery()
    every = first.union_all(select(following).where(first.c.name.is_not(None)))
    return list(connection.execute(select(every.c.name).where(every.c.name.is_not(None))).scalars())


def next_chunk(
    connection: Connection, table: Table, low: Key
) -> tuple[list[ColumnElement[bool]], Key | None]:
    """The condition of the next CHUNK rows of a table from `low` on, and the key after them; None at the end.

    They are found by the primary key, so that no statement looks at more rows, however many are to stay.
    """
    columns = [*table.primary_key]
    key: ColumnElement[Any] = tuple_(*columns)
    ahead = select(*columns).where(key >= low).order_by(*columns).offset(CHUNK).limit(1)
    following = connection.execute(ahead).one_or_none()
    if following is None:
        return [key >= low], None
    return [key >= low, key < tuple(following)], tuple(following)


def trim(connection: Connection, what: Trim, low: Key) -> Swept:
    """Delete what is to go of the next CHUNK rows from `low` on."""
    these, following = next_chunk(connection, what.table, low)
    return Swept(connection.execute(delete(what.table).where(*these, what.gone)).rowcount, following)


async def carry_out(keep: Keep, now: datetime, run: Run) -> dict[str, int]:
    """Purge every table, in many transactions. How many rows of each."""
    deleted: dict[str, int] = {}
    for one in sweeps(keep, now, await run(tenants)):
        deleted[one.table.name] = await retention.carry_out(run, sweep, one, low=one.low)
    for what in trims(keep, now):
        deleted[what.table.name] = await retention.carry_out(run, trim, what, low=what.low)
    return deleted
