"""Turns: the deliveries of an ordered subscription go out one after the other for each job.

Each has a turn, numbered when its event is accepted, until it ends. Only the first of a job has a due time; the others
are held. A lock for each subscription and job keeps those who accept and those who finish from missing each other.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    case,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from dispatcher.domain.deliveries import OpenDelivery, State
from dispatcher.domain.events import utc_now
from dispatcher.store.batches import not_before
from dispatcher.store.column_types import Moment
from dispatcher.store.dialect import advisory_lock
from dispatcher.store.lists import chunks
from dispatcher.store.mapping import safe
from dispatcher.store.schema import deliveries, subscriptions, turns
from dispatcher.store.session import Repository

AT_ONCE = 500
"""Turns that one repair looks at in one transaction."""

BEHIND = 5000
"""How many deliveries that wait for their turn expire in one transaction with those they wait for."""

_turn = turns.c
_delivery = deliveries.c
_earlier = turns.alias("earlier")
_ENDED = _delivery.state.not_in((State.PENDING, State.DELIVERING))


class OrderingRepository(Repository):
    """The order of deliveries; storing deliveries and recording outcomes see to it by themselves."""

    async def repair(self, after: int) -> int:
        """Let those go on whose turn it is and that wait nevertheless, as after a crash.

        It looks at some after `after` (0 at first) and returns where to go on; 0 at the end.
        """
        return await self._write(_repair, after)


def has_predecessor(delivery_id: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether an earlier delivery of the same job has to end before this one."""
    mine = turns.alias("mine")
    return exists().where(
        mine.c.delivery_id == delivery_id,
        _earlier.c.subscription_id == mine.c.subscription_id,
        _earlier.c.job_id == mine.c.job_id,
        _earlier.c.seq < mine.c.seq,
    )


def keys_of(new: Sequence[OpenDelivery]) -> list[str]:
    """What is locked for these deliveries: texts, sorted, so that two processes cannot wait for each other."""
    return sorted({_key(one.subscription.id, safe(one.event.job_id)) for one in new})


def advance(connection: Connection, delivery_ids: Sequence[str]) -> None:
    """Take the turns of those of these deliveries that have ended, and let the next of their jobs go."""
    for some in chunks(delivery_ids):
        found = connection.execute(
            select(_turn.subscription_id, _turn.job_id).where(_turn.delivery_id.in_(some)).distinct()
        ).all()
        if found:
            lock(connection, sorted(_key(*pair) for pair in found))
            waiting = select(_delivery.id).where(_delivery.id.in_(some), ~_ENDED)
            connection.execute(
                delete(turns).where(_turn.delivery_id.in_(some), _turn.delivery_id.not_in(waiting))
            )
            for subscription_id, job_id in found:
                _let_first_go(connection, subscription_id, job_id)


def waiting_behind(
    connection: Connection, delivery_ids: Sequence[str], which: ColumnElement[bool]
) -> list[str]:
    """Those `which` wait for their turn behind these deliveries.

    BEHIND of them at most: the others wait behind the first that is left.
    """
    behind = turns.alias("behind")
    same_job = and_(behind.c.subscription_id == _turn.subscription_id, behind.c.job_id == _turn.job_id)
    later = turns.join(behind, and_(same_job, behind.c.seq > _turn.seq))
    waits = and_(_delivery.state == State.PENDING, _delivery.due_at.is_(None))
    found: dict[str, None] = {}
    for some in chunks(delivery_ids):
        old = (
            select(_delivery.id)
            .select_from(later.join(deliveries, _delivery.id == behind.c.delivery_id))
            .where(_turn.delivery_id.in_(some), waits, which)
            .limit(BEHIND - len(found))
        )
        found |= dict.fromkeys(connection.execute(old).scalars())
    return list(found)


def clear(connection: Connection, subscription_id: str) -> None:
    """Forget the turns of a subscription: the order does not count any more."""
    connection.execute(delete(turns).where(_turn.subscription_id == subscription_id))


def end_waiting(connection: Connection, subscription_id: str) -> None:
    """Forget the turns of what waits for a subscription, because it is ended.

    What is on its way keeps its turn: when the subscription is used again meanwhile, others wait for it.
    """
    running = exists().where(_delivery.id == _turn.delivery_id, _delivery.state == State.DELIVERING)
    connection.execute(delete(turns).where(_turn.subscription_id == subscription_id, ~running))


def _repair(connection: Connection, after: int) -> int:
    first = connection.execute(select(func.min(_turn.seq)).where(_turn.seq > after)).scalar()
    if first is None:
        return 0
    last: int = first + AT_ONCE - 1
    of_job = (_earlier.c.subscription_id == _turn.subscription_id, _earlier.c.job_id == _turn.job_id)
    # Not as a join, for which the whole table would be read.
    earlier = select(_earlier.c.seq).where(*of_job, _earlier.c.seq < _turn.seq).limit(1).scalar_subquery()
    heads = select(_turn.delivery_id).where(_turn.seq.between(first, last), earlier.is_(None))
    for some in chunks([row.delivery_id for row in connection.execute(heads).all()]):
        waiting = or_(_delivery.state == State.DELIVERING, _delivery.due_at.is_not(None))
        going = connection.execute(select(_delivery.id).where(_delivery.id.in_(some), ~_ENDED, waiting))
        advance(connection, sorted(set(some) - set(going.scalars())))
    return last


def lock(connection: Connection, keys: Sequence[str]) -> None:
    """Wait for others who accept or finish deliveries of the same subscription and job; until the commit."""
    for key in keys:
        advisory_lock(connection, key)


def enter(connection: Connection, new: Sequence[OpenDelivery]) -> None:
    """Give new deliveries their turns, in this order, and hold those who are not the first of their job.

    On SQLite; on PostgreSQL it is part of the hot statements.
    """
    rows = [
        {
            "subscription_id": one.subscription.id,
            "delivery_id": one.id,
            "job_id": safe(one.event.job_id),
            "not_before": not_before(one),
        }
        for one in new
    ]
    for some in chunks(rows):
        connection.execute(insert(turns).prefix_with("or ignore"), list(some))
    for ids in chunks([one.id for one in new]):
        held = update(deliveries).values(due_at=None)
        connection.execute(held.where(_delivery.id.in_(ids), has_predecessor(_delivery.id)))


def _let_first_go(connection: Connection, subscription_id: str, job_id: str) -> None:
    of_job = and_(_turn.subscription_id == subscription_id, _turn.job_id == job_id)
    first = select(_turn.delivery_id).where(of_job).order_by(_turn.seq).limit(1).scalar_subquery()
    active = exists().where(subscriptions.c.id == subscription_id, subscriptions.c.status == "active")
    now = literal(utc_now(), Moment)
    earliest = select(_turn.not_before).where(_turn.delivery_id == _delivery.id).scalar_subquery()
    connection.execute(
        update(deliveries)
        .values(due_at=case((earliest > now, earliest), else_=now))
        .where(_delivery.id == first, _delivery.state == State.PENDING, _delivery.due_at.is_(None), active)
    )


def _key(subscription_id: str, job_id: str) -> str:
    return f"{subscription_id} {job_id}"
