"""Accepting on PostgreSQL: a batch in one statement, a large one in parts, none of which takes long."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import nullcontext
from typing import TypeAlias, TypeVar

import asyncpg
from msgspec import Struct

from dispatcher.domain.deliveries import OpenDelivery
from dispatcher.domain.digests import Group
from dispatcher.domain.events import Event, utc_now
from dispatcher.store import batches, column_arrays, digests, expansions, ordering
from dispatcher.store.batches import DELIVERY, EVENT, GRANT, JOB, Batch
from dispatcher.store.column_arrays import Encoding
from dispatcher.store.column_types import finite
from dispatcher.store.digests import Wanted
from dispatcher.store.expansions import Placed
from dispatcher.store.job_changes import JobKey, job_changes
from dispatcher.store.lists import chunks
from dispatcher.store.mapping import hex_digits, safe
from dispatcher.store.postgres import expansions as postgres_expansions
from dispatcher.store.postgres import hot_sql as sql
from dispatcher.store.postgres.throttle import Pauses

WHOLE = 1000
"""Events, deliveries and orders that are stored with one statement; more are stored in parts."""

PART = 20
"""Large enough that a statement does more than to begin, small enough to be made in a millisecond or two."""

ORDERS = 100
"""The same of orders, which are small."""

T = TypeVar("T")
Proxy: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
TO = Encoding(
    lambda digests: [digest.hex() for digest in digests],
    lambda ids: [one[4:] for one in ids],  # as `hex_digits`
    lambda moments: [
        moment if moment is None or 1 < moment.year < 9999 else finite(moment) for moment in moments
    ],
)


class Parts(Struct, frozen=True):
    """How much is written with one statement, and how long it pauses between two."""

    size: int
    pauses: Pauses | None = None

    async def of(self, rows: Sequence[T]) -> AsyncIterator[Sequence[T]]:
        """The parts of these rows, with a pause after each."""
        for some in chunks(rows, self.size):
            began = time.perf_counter()
            yield some
            if self.pauses is not None and len(some) == self.size:
                await self.pauses.after(time.perf_counter() - began)


async def accept(connection: Proxy, lease_id: int, batch: Batch, pauses: Pauses) -> None:
    """Store what is new of a batch. UniqueViolationError when others have stored some of it.

    Every batch locks the rows of its jobs first, in order, and then its identities: so no two wait for each other.
    """
    deliveries, looked_up = batch.deliveries, batch.jobs_to_look_up
    held, ordered, gathered = _held(deliveries), batches.ordered(deliveries), digests.wanted(deliveries)
    large = is_large(batch)
    several = large or held or ordered or gathered or batch.expansions or looked_up
    async with connection.transaction() if several else nullcontext():
        resumed = await resumed_of(connection, sql.RESUMED, "sub", held)
        await _lock_turns(connection, ordered)
        parts = Parts(PART, pauses) if large else Parts(WHOLE)
        orders = Parts(ORDERS, pauses) if large else Parts(WHOLE)
        rows = _Rows(connection, lease_id, resumed, parts)
        owners = await _owners(connection, looked_up)
        jobs = expansions.jobs_of(batch, deliveries)
        placed = Placed(deliveries, [])
        if large or jobs:
            await rows.write_events(batch, owners)
            if jobs:
                placed = await postgres_expansions.place(connection, batch, deliveries, jobs)
            await rows.write_deliveries(placed.deliveries)
        else:
            await rows.write(batch.identified, deliveries, owners)
        await _take_turns(connection, batches.ordered(placed.deliveries), parts)
        await postgres_expansions.enter(connection, placed.candidates)
        async for some in orders.of(placed.orders):
            await postgres_expansions.enter_orders(connection, some)
        # Last, without a pause after it: a digest is locked for all who add to it.
        await _gather(connection, gathered)


def count_parts(batch: Batch) -> int:
    """In how many parts a large batch is stored."""
    rows = len(batch.digests) + len(batch.deliveries) + len(batches.ordered(batch.deliveries))
    return rows // PART + len(batch.expansions) // ORDERS


def count_parts_of(deliveries: Sequence[OpenDelivery]) -> int:
    """In how many parts these deliveries are added."""
    return (len(deliveries) + len(batches.ordered(deliveries))) // PART


async def write_nothing(connection: Proxy, lease_id: int) -> None:
    """Run the statement that stores a small batch, with nothing in it."""
    await _Rows(connection, lease_id, (), Parts(WHOLE)).write((), (), {})


def is_large(batch: Batch) -> bool:
    """Whether it is stored in parts."""
    return len(batch.digests) + len(batch.deliveries) + len(batch.expansions) > WHOLE


async def add(
    connection: Proxy, lease_id: int, deliveries: Sequence[OpenDelivery], pauses: Pauses | None = None
) -> None:
    """Store further deliveries of events that are stored."""
    held, ordered, gathered = _held(deliveries), batches.ordered(deliveries), digests.wanted(deliveries)
    several = held or ordered or gathered or len(deliveries) > PART
    async with connection.transaction() if several else nullcontext():
        resumed = await resumed_of(connection, sql.RESUMED, "sub", held)
        await _lock_turns(connection, ordered)
        stored: set[str] = set()
        parts = Parts(PART, pauses)
        async for some in parts.of(deliveries):
            columns = column_arrays.parameters(DELIVERY, column_arrays.of_deliveries(some, resumed, TO))
            rows = await connection.fetch(sql.ADD_DELIVERIES, lease_id, *columns)
            stored.update(f"dlv_{row['id'].hex}" for row in rows)
        await _take_turns(connection, [one for one in ordered if one.id in stored], parts)
        await _gather(connection, [one for one in gathered if one.delivery_id in stored])


def _held(deliveries: Sequence[OpenDelivery]) -> set[str]:
    """The subscriptions of those that are to wait until theirs is resumed."""
    return {delivery.subscription.id for delivery in deliveries if batches.held(delivery)}


class _Rows(Struct, frozen=True):
    """Writes rows under this lease. `resumed` are subscriptions for which nothing is held any more."""

    connection: Proxy
    lease_id: int
    resumed: Collection[str]
    parts: Parts

    async def write_events(self, batch: Batch, owners: Mapping[JobKey, str]) -> None:
        """Write the events and jobs of a batch, in the order of the jobs.

        Until the transaction ends, who accepts other events of these jobs waits for it.
        """
        new = sorted(batch.identified, key=lambda one: (one[1].tenant, one[1].job_id))
        async for some in self.parts.of(new):
            owners = await self.write(some, (), owners)

    async def write_deliveries(self, deliveries: Sequence[OpenDelivery]) -> None:
        """Write deliveries of events that are written."""
        async for some in self.parts.of(deliveries):
            await self.write((), some, {})

    async def write(
        self,
        identified: Sequence[tuple[bytes, Event]],
        deliveries: Sequence[OpenDelivery],
        owners: Mapping[JobKey, str],
    ) -> Mapping[JobKey, str]:
        """Write a part: events with the digests of their identities, and deliveries.

        Returns the owners with those of the jobs that it claims.
        """
        events = [event for _, event in identified]
        changed = job_changes(events, owners)
        await self.connection.execute(
            sql.ACCEPT,
            self.lease_id,
            *column_arrays.of_identities(identified, TO),
            *column_arrays.parameters(EVENT, column_arrays.of_events(events, TO)),
            *column_arrays.parameters(DELIVERY, column_arrays.of_deliveries(deliveries, self.resumed, TO)),
            *column_arrays.parameters(GRANT, column_arrays.of_grants(changed.grants, TO)),
            *column_arrays.parameters(JOB, column_arrays.of_jobs(changed.jobs, TO)),
        )
        if changed.unclaimed_jobs:
            columns = column_arrays.parameters(JOB, column_arrays.of_jobs(changed.unclaimed_jobs, TO))
            await self.connection.execute(sql.ACCEPT_UNCLAIMED, *columns)
        return changed.owners


async def resumed_of(connection: Proxy, statement: str, prefix: str, ids: Collection[str]) -> set[str]:
    """Which of these ids the statement says to be resumed."""
    if not ids:
        return set()
    rows = await connection.fetch(statement, list(map(hex_digits, ids)))
    return {f"{prefix}_{row['id'].hex}" for row in rows if row["resumed"]}


async def _owners(connection: Proxy, jobs: Sequence[JobKey]) -> dict[JobKey, str]:
    """Whose these jobs are, of those that are claimed; it stays so until the transaction ends."""
    if not jobs:
        return {}
    rows = await connection.fetch(sql.LOCK_JOBS, *zip(*jobs, strict=True))
    return {(row["tenant"], row["id"]): row["owner"] for row in rows if row["owner"] is not None}


async def _lock_turns(connection: Proxy, ordered: Sequence[OpenDelivery]) -> None:
    if ordered:
        await connection.execute(sql.LOCK_TURNS, ordering.keys_of(ordered))


async def _take_turns(connection: Proxy, ordered: Sequence[OpenDelivery], parts: Parts) -> None:
    async for some in parts.of(ordered):
        ids = [hex_digits(one.id) for one in some]
        of = [hex_digits(one.subscription.id) for one in some]
        jobs, times = [safe(one.event.job_id) for one in some], list(map(batches.not_before, some))
        await connection.execute(sql.ENTER_TURNS, of, ids, jobs, times)
        await connection.execute(sql.HOLD, ids)


async def _gather(connection: Proxy, new: Sequence[Wanted]) -> None:
    if not new:
        return
    of = {one.group.hex(): hex_digits(one.subscription_id) for one in new}
    ids = sorted(of)
    rows: list[asyncpg.Record] = []
    while len(rows) < len(ids):  # again when one was purged in between
        await connection.execute(sql.ENTER_DIGESTS, ids, [of[key] for key in ids])
        rows = await connection.fetch(sql.LOCK_DIGESTS, ids)
    placed = digests.placing(new, {row["id"].bytes: _group(row) for row in rows}, utc_now())
    kept = list(placed.groups.values())
    await connection.execute(
        sql.KEEP_DIGESTS,
        [key.hex() for key in placed.groups],
        [None if group.leader is None else hex_digits(group.leader) for group in kept],
        [group.due_at for group in kept],
        [group.members for group in kept],
        [group.bytes for group in kept],
    )
    columns = list(zip(*placed.members, strict=True)) or [(), (), ()]
    await connection.execute(sql.JOIN_DIGESTS, *(list(map(hex_digits, column)) for column in columns))
    await connection.execute(sql.SET_DUE, list(map(hex_digits, placed.due)), list(placed.due.values()))


def _group(row: asyncpg.Record) -> Group:
    leader = None if row["leader"] is None else f"dlv_{row['leader'].hex}"
    return Group(leader, row["due_at"], row["sent_at"], row["members"], row["bytes"])
