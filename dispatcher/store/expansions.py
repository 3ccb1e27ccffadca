"""Expansions in the store: orders to make deliveries, and what has to wait behind them.

The orders of one owner are carried out one after the other, in the order of acceptance; the first of each queue may go.
While one is open, later deliveries of its job to ordered subscriptions are orders too, in the same queue: so they get
their turns after it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from msgspec import Struct
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)

from dispatcher.domain.deliveries import OpenDelivery
from dispatcher.domain.events import Event
from dispatcher.domain.expansions import (
    CHUNK,
    Candidates,
    Expansion,
    NewExpansion,
    bitmap,
    queue_of,
    selected,
)
from dispatcher.store.batches import Batch
from dispatcher.store.dialect import clock
from dispatcher.store.lists import chunks, rows_of
from dispatcher.store.mapping import EVENT, event_of, hex_digits, safe
from dispatcher.store.schema import events, expansion_candidates, expansions, subscriptions
from dispatcher.store.session import Repository

JobKey = tuple[str, str]
"""Tenant and job."""

CLAIM = 30.0
"""Seconds after which others may carry out an order that a process has claimed."""

TOGETHER = 100
BYTES = 4 << 20
"""Orders that are carried out together at most, and the bytes of their events' documents: one has any size."""

_Found: TypeAlias = "Row[int, str, bytes, int, bytes]"

_order = expansions.c
_listed = expansion_candidates.c


class ExpansionRepository(Repository, ABC):
    """Orders to make deliveries later."""

    async def claim(self, after: bytes) -> list[Expansion]:
        """Claim the first orders of a queue for 30 seconds; none when other processes have all queues.

        Queues take turns: it is the next one after the queue `after` (NO_QUEUE at first). Together they stand for CHUNK
        deliveries at most.
        """
        return await self._write(_claim, after)

    @abstractmethod
    async def expand(
        self, lease_id: int, orders: Sequence[Expansion], deliveries: Sequence[OpenDelivery]
    ) -> bool:
        """Store the deliveries that claimed orders stand for, and take these out, in one transaction.

        False when another process did it. So the same call may be made again after StoreUnavailable.
        """

    async def count(self, event_key: str, subscriber: str | None) -> int:
        """How many deliveries of an event are still to be made, to all or to one owner's subscriptions."""
        return await self._read(_count, event_key, subscriber)


class Order(Struct, frozen=True):
    """A new order and its queue."""

    queue: bytes
    new: NewExpansion


class Placed(Struct, frozen=True):
    """What of a batch is stored as deliveries, and what as orders."""

    deliveries: Sequence[OpenDelivery]
    orders: Sequence[Order]

    @property
    def candidates(self) -> list[tuple[bytes, bytes]]:
        """The lists that the orders refer to: ids, and the ids of their subscriptions."""
        lists = {order.new.candidates.id: order.new.candidates for order in self.orders}
        return [
            (key, b"".join(bytes.fromhex(hex_digits(one)) for one in lists[key].subscription_ids))
            for key in sorted(lists)
        ]


def jobs_of(batch: Batch, deliveries: Sequence[OpenDelivery]) -> list[JobKey]:
    """The jobs of a batch for which it matters whether orders are open, sorted."""
    found = {_job(one.event) for one in batch.expansions}
    found.update(_job(one.event) for one in deliveries if one.subscription.ordered)
    return sorted(found)


def place(batch: Batch, deliveries: Sequence[OpenDelivery], queues: Mapping[JobKey, bytes]) -> Placed:
    """Make orders of the deliveries that have to wait behind one; `queues` are those of the jobs with open orders."""
    if not queues and not batch.expansions:
        return Placed(deliveries, [])
    of_event: dict[str, list[OpenDelivery]] = {}
    for delivery in deliveries:
        of_event.setdefault(delivery.event.key, []).append(delivery)
    ordered_later: dict[str, list[NewExpansion]] = {}
    for expansion in batch.expansions:
        ordered_later.setdefault(expansion.event.key, []).append(expansion)
    open_, straight, orders = dict(queues), list[OpenDelivery](), list[Order]()
    for event in batch.events:
        job = _job(event)
        its = of_event.get(event.key, [])
        behind = [one for one in its if one.subscription.ordered] if job in open_ else []
        straight += [one for one in its if one not in behind] if behind else its
        later = ordered_later.get(event.key, [])
        if behind or later:
            queue = open_.setdefault(job, queue_of(event))
            orders += [Order(queue, one) for one in (*_instead_of(behind), *later)]
    return Placed(straight, orders)


def _instead_of(behind: Sequence[OpenDelivery]) -> list[NewExpansion]:
    return [
        NewExpansion(
            some[0].event,
            Candidates(bytes.fromhex(hex_digits(some[0].id)), [one.subscription.id for one in some]),
            bitmap(range(len(some)), len(some)),
        )
        for some in chunks(behind)
    ]


def _job(event: Event) -> JobKey:
    return safe(event.tenant), safe(event.job_id)


def open_queues(connection: Connection, jobs: Sequence[JobKey]) -> dict[JobKey, bytes]:
    """The queues of those of these jobs that have open orders. On SQLite; PostgreSQL has a hot statement."""
    found: dict[JobKey, bytes] = {}
    for some in chunks(jobs):
        of_jobs = tuple_(_order.tenant, _order.job_id).in_(some)
        rows = connection.execute(
            select(_order.tenant, _order.job_id, _order.queue).where(of_jobs).distinct()
        )
        found |= {(tenant, job_id): queue for tenant, job_id, queue in rows}
    return found


def enter(connection: Connection, placed: Placed) -> None:
    """Store orders. On SQLite; on PostgreSQL it is part of the hot statements."""
    lists = [{"id": key, "subscriptions": ids} for key, ids in placed.candidates]
    for some in chunks(lists):
        connection.execute(insert(expansion_candidates), list(some))
    rows = [
        {
            "queue": order.queue,
            "event_key": order.new.event.key,
            "candidates": order.new.candidates.id,
            "remaining": order.new.count,
            "tenant": safe(order.new.event.tenant),
            "job_id": safe(order.new.event.job_id),
            "wanted": order.new.wanted,
        }
        for order in placed.orders
    ]
    for some_rows in chunks(rows):
        connection.execute(insert(expansions), list(some_rows))


def _claim(connection: Connection, after: bytes) -> list[Expansion]:
    """The claim of a queue is that of its first order."""
    now = clock(connection)
    for reach in ([_order.queue > after], [_order.queue <= after]):
        passed: list[ColumnElement[bool]] = []
        while (head := _head(connection, *reach, *passed)) is not None:
            if _is_free(connection, head.seq, now):
                return _first(connection, head.queue, head.seq)
            passed = [_order.queue > head.queue]
    return []


def _head(connection: Connection, *these: ColumnElement[bool]) -> Row[Any, Any] | None:
    """The first order of the first of these queues."""
    first = select(_order.seq, _order.queue).where(*these).order_by(_order.queue, _order.seq)
    return connection.execute(first.limit(1)).one_or_none()


def _is_free(connection: Connection, seq: int, now: datetime) -> bool:
    """Claim an order unless another process has it."""
    free = or_(_order.claimed_until.is_(None), _order.claimed_until < now)
    claimed = update(expansions).values(claimed_until=now + timedelta(seconds=CLAIM))
    return connection.execute(claimed.where(_order.seq == seq, free)).rowcount == 1


def free_all(connection: Connection) -> None:
    """End every claim: where there can only be one process, those who had one have died."""
    connection.execute(update(expansions).values(claimed_until=None).where(_order.claimed_until.is_not(None)))


def _first(connection: Connection, queue: bytes, seq: int) -> list[Expansion]:
    """The first orders of a queue, from this one on, as many as are carried out together."""
    columns = (_order.seq, _order.event_key, _order.candidates, _order.remaining, _order.wanted)
    of_queue = select(*columns).where(_order.queue == queue, _order.seq >= seq).order_by(_order.seq)
    orders = _that_fit(connection, connection.execute(of_queue.limit(TOGETHER)).all())
    keys, lists = {row.event_key for row in orders}, {row.candidates for row in orders}
    events_by_key = {row["key"]: event_of(row) for row in rows_of(connection, _events(keys, *EVENT))}
    listed = {key: _ids(found) for key, found in connection.execute(_lists(lists))}
    return [
        Expansion(row.seq, queue, events_by_key[row.event_key], selected(listed[row.candidates], row.wanted))
        for row in orders
    ]


def _that_fit(connection: Connection, orders: Sequence[_Found]) -> list[_Found]:
    """The first of these, up to CHUNK deliveries and BYTES of documents, and one at least."""
    lengths = _events({row.event_key for row in orders}, events.c.key, func.length(events.c.document))
    sizes: dict[str, int] = {row[0]: row[1] for row in connection.execute(lengths)}
    deliveries = size = 0
    for place, row in enumerate(orders):
        deliveries, size = deliveries + row.remaining, size + sizes[row.event_key]
        if place and (deliveries > CHUNK or size > BYTES):
            return list(orders[:place])
    return list(orders)


def _events(keys: Collection[str], *columns: ColumnElement[Any]) -> Select[Any]:
    return select(*columns).where(events.c.key.in_(keys))


def _lists(ids: Collection[bytes]) -> Select[Any]:
    return select(_listed.id, _listed.subscriptions).where(_listed.id.in_(ids))


def _ids(found: bytes) -> list[str]:
    digits = found.hex()
    return [f"sub_{digits[start : start + 32]}" for start in range(0, len(digits), 32)]


def take(connection: Connection, orders: Sequence[int]) -> bool:
    """Take orders out, because their deliveries are stored in this transaction; False when somebody else did.

    Who has the first has them all: a queue is carried out from its beginning.
    """
    gone = delete(expansions).returning(_order.candidates)
    first = connection.execute(gone.where(_order.seq == orders[0])).scalars().all()
    if not first:
        return False
    others = connection.execute(gone.where(_order.seq.in_(orders[1:]))).scalars().all()
    used = exists().where(_order.candidates == _listed.id)
    lists = {*first, *others}
    connection.execute(delete(expansion_candidates).where(_listed.id.in_(lists), ~used))
    return True


def _count(connection: Connection, event_key: str, subscriber: str | None) -> int:
    if subscriber is None:
        total = select(func.coalesce(func.sum(_order.remaining), 0)).where(_order.event_key == event_key)
        return int(connection.execute(total).scalar_one())
    joined = expansions.join(expansion_candidates, _listed.id == _order.candidates)
    of_event = select(_order.wanted, _listed.subscriptions).select_from(joined)
    count = 0
    for wanted, listed in connection.execute(of_event.where(_order.event_key == event_key)):
        ids = selected(_ids(listed), wanted)
        own = (subscriptions.c.id.in_(ids), subscriptions.c.subscriber == subscriber)
        count += connection.execute(select(func.count()).select_from(subscriptions).where(*own)).scalar_one()
    return count
