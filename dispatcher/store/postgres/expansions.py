"""Orders to make deliveries later, on PostgreSQL: as parts of the transactions that accept and expand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import asyncpg

from dispatcher.domain.deliveries import OpenDelivery
from dispatcher.store import expansions
from dispatcher.store.batches import Batch
from dispatcher.store.expansions import JobKey, Order, Placed
from dispatcher.store.mapping import hex_digits, safe

Proxy: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

ANY = "select exists (select from expansions)"
"""Whether there are orders at all."""

_OPEN = """
select asked.tenant, asked.job_id, open.queue
from unnest($1::text[], $2::text[]) as asked (tenant, job_id)
cross join lateral (
    select queue from expansions e where e.tenant = asked.tenant and e.job_id = asked.job_id limit 1
) as open
"""
"""Tenants, jobs: the queues of those that have open orders."""

_ENTER_CANDIDATES = """
insert into expansion_candidates (id, subscriptions) select * from unnest($1::uuid[], $2::bytea[])
"""

_ENTER = """
insert into expansions (queue, event_key, candidates, remaining, tenant, job_id, wanted)
select queue, event_key, candidates, remaining, tenant, job_id, wanted
from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::int[], $5::text[], $6::text[], $7::bytea[]) with ordinality
    as new (queue, event_key, candidates, remaining, tenant, job_id, wanted, place)
order by place
"""
"""Orders, in the order of acceptance."""

_TAKE = "delete from expansions where seq = $1 returning candidates"
_TAKE_REST = "delete from expansions where seq = any($1::bigint[]) returning candidates"
_FORGET = """
delete from expansion_candidates where id = $1
    and not exists (select from expansions where candidates = $1)
"""


async def place(
    connection: Proxy, batch: Batch, deliveries: Sequence[OpenDelivery], jobs: Sequence[JobKey]
) -> Placed:
    """Find out what has to wait behind open orders of these jobs.

    The transaction has written the rows of these jobs before: who opens an order for one of them has committed, and is
    seen now, or waits until this transaction has.
    """
    rows = await connection.fetch(_OPEN, *map(list, zip(*jobs, strict=True)))
    queues = {(row["tenant"], row["job_id"]): row["queue"].bytes for row in rows}
    return expansions.place(batch, deliveries, queues)


async def enter(connection: Proxy, lists: Sequence[tuple[bytes, bytes]]) -> None:
    """Store the lists of subscriptions that orders refer to."""
    if lists:
        keys, ids = [key.hex() for key, _ in lists], [its for _, its in lists]
        await connection.execute(_ENTER_CANDIDATES, keys, ids)


async def enter_orders(connection: Proxy, orders: Sequence[Order]) -> None:
    """Store orders, in the order of acceptance."""
    new = [order.new for order in orders]
    await connection.execute(
        _ENTER,
        [order.queue.hex() for order in orders],
        [hex_digits(one.event.key) for one in new],
        [one.candidates.id.hex() for one in new],
        [one.count for one in new],
        [safe(one.event.tenant) for one in new],
        [safe(one.event.job_id) for one in new],
        [one.wanted for one in new],
    )


async def take(connection: Proxy, orders: Sequence[int]) -> bool:
    """Take orders out, because their deliveries are stored in this transaction; False when somebody else did.

    Who has the first has them all: a queue is carried out from its beginning.
    """
    first = await connection.fetchval(_TAKE, orders[0])
    if first is None:
        return False
    others = await connection.fetch(_TAKE_REST, orders[1:]) if len(orders) > 1 else []
    for candidates in {first, *(row["candidates"] for row in others)}:
        await connection.execute(_FORGET, candidates)
    return True
