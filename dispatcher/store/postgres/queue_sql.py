"""What waits for which destination and subscription, on PostgreSQL: the statements with which claims take turns.

Each looks at a bounded number of rows, whatever waits, and has one index that serves it: deliveries_due (destination,
due time), deliveries_queued (destination, subscription) or deliveries_waiting (subscription, due time).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import asyncpg

from dispatcher.domain.deliveries import Queue, Waiting
from dispatcher.domain.events import Event
from dispatcher.store.claims import Claim
from dispatcher.store.column_types import DELIVERING, EPOCH, PENDING
from dispatcher.store.mapping import Row, hex_digits, safe
from dispatcher.store.postgres.hot_sql import ME
from dispatcher.store.queue import COUNTED

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy

LOWEST = "0" * 32
"""Below every id."""

WAITING = f"""
with recursive destinations (destination, number) as (
    (select destination, 1 from deliveries where due_at is not null and destination > $1 order by destination limit 1)
    union all
    select (
        select d.destination from deliveries d
        where d.due_at is not null and d.destination > w.destination order by d.destination limit 1
    ), number + 1
    from destinations w where w.destination is not null and number < $2
)
select w.destination, first.due_at
from destinations w left join lateral (
    select due_at from deliveries
    where destination = w.destination and due_at is not null and state = {PENDING} order by due_at limit 1
) as first on true
where w.destination is not null
"""
"""The destinations after this one, so many, for which something waits, and when the first of it is due.

Jumps through the index from one destination to the next, however much waits for each.
"""

QUEUES = f"""
select a.destination, q.subscription_id, q.tenant, q.subscriber, q.due, q.due_at
from unnest($1::text[]) as a (destination) cross join lateral (
    (
        select subscription_id, min(tenant) as tenant, min(subscriber) as subscriber, count(*) as due, null as due_at
        from (
            select subscription_id, tenant, subscriber from deliveries
            where destination = a.destination and due_at <= $2 and state = {PENDING} order by due_at limit $3
        ) as first group by subscription_id
    )
    union all
    (
        select null, null, null, 0, due_at from deliveries
        where destination = a.destination and due_at > $2 and state = {PENDING} order by due_at limit 1
    )
) as q
"""
"""Destinations, time, limit: the subscriptions of what is due longest, so many of each destination, and the next due
time as a separate row."""

MORE_QUEUES = f"""
select a.destination, q.subscription_id, first.tenant, first.subscriber, first.due
from unnest($1::text[], $2::uuid[]) as a (destination, after) cross join lateral (
    with recursive jump (subscription_id, number) as (
        (
            select d.subscription_id, 1 from deliveries d
            where d.destination = a.destination and d.due_at is not null and d.subscription_id > a.after
            order by d.subscription_id limit 1
        )
        union all
        select (
            select d.subscription_id from deliveries d
            where d.destination = a.destination and d.due_at is not null and d.subscription_id > j.subscription_id
            order by d.subscription_id limit 1
        ), number + 1
        from jump j where j.subscription_id is not null and number < $4
    )
    select subscription_id from jump where subscription_id is not null
) as q cross join lateral (
    select min(tenant) as tenant, min(subscriber) as subscriber, count(*) as due from (
        select tenant, subscriber from deliveries
        where subscription_id = q.subscription_id and listed_as < {DELIVERING} and due_at <= $3 and state = {PENDING}
        order by due_at limit {COUNTED}
    ) as counted
) as first
"""
"""Destinations, for each the subscription after which to go on, time, limit: the next subscriptions of which something
waits, so many of each destination; without a tenant those of which nothing is due."""

CLAIM_SHARES = f"""
with {ME},
due as materialized (
    select d.id, d.due_at
    from unnest($4::uuid[], $5::int[]) as share (subscription_id, places)
    cross join lateral (
        select id, due_at from deliveries
        where subscription_id = share.subscription_id and listed_as < {DELIVERING} and due_at <= $2
            and state = {PENDING}
        order by due_at limit least(share.places, $3::int) for update skip locked
    ) as d
    limit $3::int
),
claimed as (
    update deliveries as d set state = {DELIVERING}, claimed_by = me.id
    from due, me
    where d.id = due.id
    returning d.id, d.event_key, d.subscription_id, d.attempts, d.restarted_after, d.since, d.due_at
),
noted as (insert into claims (delivery_id, process) select id, $1 from claimed)
select * from claimed
"""
"""Lease, time, limit, subscriptions and the places of each. No indexed column changes."""


OF_DESTINATIONS = f"""
select a.destination, d.id, d.subscription_id, d.due_at, d.since
from unnest($1::text[], $2::timestamptz[], $3::uuid[]) as a (destination, due_at, id)
cross join lateral (
    select id, subscription_id, due_at, since from deliveries
    where destination = a.destination and due_at is not null and state = {PENDING}
        and due_at >= a.due_at and (due_at > a.due_at or id > a.id)
    order by due_at, id limit $4
) as d
"""
"""Destinations, for each the due time and the id after which to go on, limit: so many that wait for each."""


async def waiting(
    connection: Connection, after: Mapping[str, tuple[datetime, str] | None], limit: int
) -> dict[str, list[Row]]:
    """The next `limit` that wait for each destination after a place: the columns that `find_expired` wants."""
    keys = {safe(name): name for name in after}
    places = [after[name] or (EPOCH, f"dlv_{LOWEST}") for name in keys.values()]
    times, ids = [due_at for due_at, _ in places], [hex_digits(delivery_id) for _, delivery_id in places]
    found: dict[str, list[Row]] = {name: [] for name in after}
    for row in await connection.fetch(OF_DESTINATIONS, list(keys), times, ids, limit):
        whole = {"id": f"dlv_{row['id'].hex}", "subscription_id": f"sub_{row['subscription_id'].hex}"}
        found[keys[row["destination"]]].append({**row, **whole})
    return found


async def waiting_destinations(
    connection: Connection, after: str, limit: int
) -> list[tuple[str, datetime | None]]:
    """See `DeliveryQueue.waiting_destinations`."""
    return [(destination, due_at) for destination, due_at in await connection.fetch(WAITING, after, limit)]


async def find_queues(
    connection: Connection, after: Mapping[str, str], now: datetime, first: int, more: int
) -> dict[str, Waiting]:
    """What is due longest, `first` of each destination; if that is all of them, `more` queues."""
    rows = await connection.fetch(QUEUES, list(after), now, first)
    found: dict[str, dict[str, Queue]] = {destination: {} for destination in after}
    next_due: dict[str, datetime] = {}
    for row in rows:
        if row["subscription_id"] is None:
            next_due[row["destination"]] = row["due_at"]
        else:
            _add(found, row)
    unseen = {
        key: after[key] for key, queues in found.items() if sum(one.due for one in queues.values()) >= first
    }
    complete, last = dict.fromkeys(after, True), dict.fromkeys(after, "")
    if unseen:
        begins = [hex_digits(one) if one else LOWEST for one in unseen.values()]
        looked: dict[str, list[asyncpg.Record]] = {key: [] for key in unseen}
        for row in await connection.fetch(MORE_QUEUES, list(unseen), begins, now, more):
            looked[row["destination"]].append(row)
            if row["tenant"] is not None:
                _add(found, row)
        for key, seen in looked.items():
            # Where it began after another one it has not seen what stands before that.
            complete[key] = len(seen) < more and not unseen[key]
            if len(seen) == more:
                last[key] = f"sub_{max(row['subscription_id'] for row in seen).hex}"
    return {
        key: Waiting(
            queues=tuple(queues.values()),
            complete=complete[key],
            last=last[key],
            next_due=next_due.get(key),
        )
        for key, queues in found.items()
    }


def _add(found: Mapping[str, dict[str, Queue]], row: asyncpg.Record) -> None:
    key = f"sub_{row['subscription_id'].hex}"
    queue = Queue(
        destination=row["destination"],
        subscription_id=key,
        tenant=row["tenant"],
        owner=row["subscriber"],
        due=row["due"],
    )
    found[row["destination"]].setdefault(key, queue)


def due_at(row: asyncpg.Record) -> datetime:
    """When a claimed delivery was due, from its row."""
    due: datetime = row["due_at"]
    return due


def claim_of(row: asyncpg.Record, event: Event | None) -> Claim:
    """A claim from its row; without its event there was no room for that."""
    return Claim(
        f"dlv_{row['id'].hex}",
        event,
        f"sub_{row['subscription_id'].hex}",
        row["attempts"],
        row["restarted_after"],
        row["since"],
    )
