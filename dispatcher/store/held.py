"""Releases deliveries that were held while their subscription was paused, within the quota of its owner.

What is held is not counted when it is accepted. It is counted when it is released, by the chunk: the statement that
makes a chunk due numbers its deliveries, and what is over the quota gets the time at which the quota reaches it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Double,
    Select,
    Text,
    case,
    cast,
    exists,
    func,
    literal,
    select,
    true,
    update,
)

from dispatcher.domain.deliveries import State
from dispatcher.domain.delivery_quota import HORIZON, Grant, Owner
from dispatcher.store import delivery_quotas, delivery_writes, ordering
from dispatcher.store.column_types import Moment
from dispatcher.store.delivery_writes import IS_WAITING
from dispatcher.store.dialect import later
from dispatcher.store.schema import deliveries, digest_members
from dispatcher.store.schema import turns as turns_table
from dispatcher.telemetry.metrics import DELIVERIES_OVER_QUOTA

_table = deliveries.c
_turn = turns_table.c
_HELD = (_table.state == State.PENDING, _table.due_at.is_(None))
_HAS_TURN = exists().where(_turn.delivery_id == _table.id)


def release(
    connection: Connection, subscription_id: str, owner: Owner | None, per_minute: int, now: datetime
) -> int:
    """Release some of what is held for a subscription, but not what waits for its turn; CHUNK when there may be more.

    `owner` may get `per_minute` deliveries a minute by default; None: they count for no quota. What waits for its turn
    gets the time before which that may not be.
    """
    if owner is None or not delivery_quotas.per_minute(connection, [owner], per_minute)[owner]:
        return _release_free(connection, subscription_id, true(), now)
    chunk, of_owner = delivery_writes.CHUNK, (owner, per_minute)
    if _count_turns(connection, subscription_id, *of_owner, now) == chunk:
        return chunk  # the turns first: the first of each job is released below
    first = _release_free(connection, subscription_id, _HAS_TURN, now)
    return max(first, _release_counted(connection, subscription_id, *of_owner, now))


def _free(subscription_id: str, condition: ColumnElement[bool]) -> Select[str]:
    """Some of what is held and waits for no other."""
    gathered = exists().where(digest_members.c.delivery_id == _table.id)
    held = (_table.subscription_id == subscription_id, IS_WAITING, *_HELD, condition)
    return (
        select(_table.id)
        .where(*held, ~ordering.has_predecessor(_table.id), ~gathered)
        .limit(delivery_writes.CHUNK)
    )


def _release_free(
    connection: Connection, subscription_id: str, condition: ColumnElement[bool], now: datetime
) -> int:
    """Make some due now, or at the time before which their turn may not be."""
    moment = literal(now, Moment)
    earliest = select(_turn.not_before).where(_turn.delivery_id == _table.id).scalar_subquery()
    due = update(deliveries).values(due_at=case((earliest > moment, earliest), else_=moment))
    return connection.execute(due.where(_table.id.in_(_free(subscription_id, condition)), *_HELD)).rowcount


def _release_counted(
    connection: Connection, subscription_id: str, owner: Owner, per_minute: int, now: datetime
) -> int:
    """Count some that have no turn, and make them due when the quota reaches them."""
    some = _free(subscription_id, ~_HAS_TURN).subquery()
    count = connection.execute(select(func.count()).select_from(some)).scalar_one()
    if not count:
        return 0
    grant = _taken(connection, owner, count, per_minute)
    number = func.row_number().over(order_by=some.c.id)
    numbered = select(some.c.id, number.label("number")).subquery()
    values: dict[Any, Any] = {"due_at": _due(connection, grant, numbered.c.number, now)}
    if count > grant.granted:
        over = f"over the quota of {grant.per_minute} deliveries a minute"
        late = numbered.c.number > grant.granted
        values["reason"] = case((late, literal(over, Text)), else_=_table.reason)
    due = update(deliveries).values(values).where(_table.id == numbered.c.id, *_HELD)
    return connection.execute(due).rowcount


def _count_turns(
    connection: Connection, subscription_id: str, owner: Owner, per_minute: int, now: datetime
) -> int:
    """Count some that have a turn and were not counted, and keep the time before which that may not be."""
    held = exists().where(_table.id == _turn.delivery_id, *_HELD)
    mine = (_turn.subscription_id == subscription_id, _turn.not_before.is_(None))
    some = select(_turn.seq).where(*mine, held).limit(delivery_writes.CHUNK).subquery()
    count: int = connection.execute(select(func.count()).select_from(some)).scalar_one()
    if not count:
        return 0
    grant = _taken(connection, owner, count, per_minute)
    number = func.row_number().over(order_by=some.c.seq)
    numbered = select(some.c.seq, number.label("number")).subquery()
    due = _due(connection, grant, numbered.c.number, now)
    connection.execute(update(turns_table).values(not_before=due).where(_turn.seq == numbered.c.seq))
    return count


def _taken(connection: Connection, owner: Owner, count: int, per_minute: int) -> Grant:
    """What the quota gives of so many deliveries."""
    grant = delivery_quotas.take(connection, {owner: count}, per_minute)[owner]
    DELIVERIES_OVER_QUOTA.inc(max(0, count - grant.granted))
    return grant


def _due(
    connection: Connection, grant: Grant, number: ColumnElement[int], now: datetime
) -> ColumnElement[Any]:
    """When the delivery `number` (1 is the first) of those that were counted is due."""
    wait = grant.wait + (number - grant.granted - 1) * grant.interval
    seconds = cast(case((number <= grant.granted, 0.0), (wait < HORIZON, wait), else_=HORIZON), Double)
    return later(connection, now, seconds)
