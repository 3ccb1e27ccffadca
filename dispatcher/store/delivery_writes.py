"""Writes of deliveries that others than their attempts cause: ending, expiring, freeing and redirecting them.

Each function is a part of one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Update, and_, delete, literal_column, or_, select, update

from dispatcher.domain.deliveries import State
from dispatcher.domain.ids import lowest_id
from dispatcher.store import digests, ordering
from dispatcher.store.column_types import DELIVERING
from dispatcher.store.lists import chunks
from dispatcher.store.mapping import safe
from dispatcher.store.schema import claims, deliveries

CHUNK = 10_000
"""How many deliveries one statement changes at most, so that others do not wait long for their locks."""

_table = deliveries.c
# The condition of the index deliveries_waiting. A number and no parameter: the database must see that it is the same.
# It is a range because SQLite, without statistics, may take any index that begins with an equality.
IS_WAITING = _table.listed_as < literal_column(str(DELIVERING))
# What holds still when the row is locked, after others may have changed it since it was found.
IS_PENDING = _table.state == State.PENDING


def end_waiting(
    connection: Connection, subscription_id: str, state: State, reason: str, now: datetime
) -> int:
    """End some of what is pending for a subscription; CHUNK when there may be more."""
    some = (
        select(_table.id)
        .where(_table.subscription_id == subscription_id, IS_WAITING, IS_PENDING)
        .limit(CHUNK)
    )
    ordering.end_waiting(connection, subscription_id)
    digests.disband(connection, subscription_id)
    return connection.execute(ended(state, reason, now).where(_table.id.in_(some), IS_PENDING)).rowcount


def expire(connection: Connection, max_ages: Mapping[str, float], now: datetime) -> int:
    """Exhaust those of these deliveries that still wait, and what is as old and waits behind them or in a digest."""
    count, in_order = 0, list[str]()
    for max_age in set(max_ages.values()):
        ids = [key for key, its in max_ages.items() if its == max_age]
        as_old = _age_counts_from_before(now - timedelta(seconds=max_age))
        gathered = digests.members_of(connection, ids, as_old)
        behind = ordering.waiting_behind(connection, ids, as_old)
        exhausted = ended(State.EXHAUSTED, f"waited for longer than max_age ({max_age:g} s)", now)
        for some in chunks([*ids, *gathered, *behind]):
            count += connection.execute(exhausted.where(_table.id.in_(some), IS_PENDING)).rowcount
        digests.remove_members(connection, [*gathered, *ids])
        in_order += behind
    ordering.advance(connection, [*max_ages, *in_order])
    return count


def _age_counts_from_before(moment: datetime) -> ColumnElement[bool]:
    made_before = and_(_table.since.is_(None), _table.id < lowest_id("dlv", moment.timestamp()))
    return or_(_table.since < moment, made_before)


def redirect_waiting(connection: Connection, subscription_id: str, destination: str) -> None:
    """Let what is pending for a subscription wait for its new destination."""
    waiting = (_table.subscription_id == subscription_id, IS_WAITING)
    connection.execute(update(deliveries).values(destination=destination).where(*waiting))


def free_claims(connection: Connection, lease_id: int, oldest_claim: str, now: datetime) -> int:
    """Make what a process has claimed pending and due now."""
    freed = (
        update(deliveries)
        .values(state=State.PENDING, claimed_by=None)
        .where(_table.state == State.DELIVERING, _table.claimed_by == lease_id)
    )
    fresh = freed.values(listed_as=State.PENDING, due_at=now)
    straight = connection.execute(fresh.where(_table.listed_as.is_(None), _table.id >= oldest_claim)).rowcount
    waited = select(claims.c.delivery_id).where(claims.c.process == lease_id)
    again = connection.execute(freed.where(_table.id.in_(waited))).rowcount
    connection.execute(delete(claims).where(claims.c.process == lease_id))
    return straight + again


def ended(state: State, reason: str, now: datetime) -> Update:
    """The update that ends deliveries."""
    values = {"state": state, "listed_as": state, "due_at": None, "ended_at": now, "reason": safe(reason)}
    return update(deliveries).values(values)
