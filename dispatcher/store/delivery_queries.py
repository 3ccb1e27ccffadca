"""What people ask of deliveries and do with them: lists, counts, sending again, cancelling, holding.

`listed_as` is the state of every delivery but of those on the way straight from acceptance to delivered; so its index
holds what waits and what failed, however many were delivered. What was claimed after it waited is still listed as
pending, because a claim changes no index; it stands in `claims`. What was claimed on acceptance is found by its id: no
process has such a one below its `oldest_claim`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace
from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    Update,
    delete,
    exists,
    func,
    literal_column,
    or_,
    select,
    true,
    update,
)

from dispatcher.domain.deliveries import Attempt, Delivery, State
from dispatcher.domain.ids import is_id, lowest_id
from dispatcher.store import digests, turns
from dispatcher.store.columns import DELIVERED, DELIVERING
from dispatcher.store.dialect import IsClaimed, has_lateral
from dispatcher.store.filters import DeliveryFilter, Page, Window
from dispatcher.store.queries import Branch, Condition, below, chunks, limit_of, newest, page, rows_of, walk
from dispatcher.store.rows import ATTEMPT, DELIVERY, Row, attempt_of, delivery_of, known_id, safe
from dispatcher.store.schema import (
    attempts,
    claims,
    deliveries,
    events,
    processes,
    subscriptions,
)

COUNT_LIMIT = 100_000
CHUNK = 10_000
"""How many deliveries one statement changes at most, so that nobody waits long for their locks."""

_table = deliveries.c
# The condition of the index deliveries_waiting. A number and no parameter: the database must see that it is the same.
# It is a range because SQLite, without statistics, may take any index that begins with an equality.
IS_WAITING = _table.listed_as < literal_column(str(DELIVERING))
# The condition of the indexes of what failed.
HAS_FAILED = _table.listed_as > literal_column(str(DELIVERED))
# What holds still when the row is locked, after others may have changed it since it was found.
_PENDING = _table.state == State.PENDING
_FAILED = (State.EXHAUSTED, State.CANCELLED)


def delivery(connection: Connection, tenant: str, delivery_id: str) -> Delivery | None:
    """One delivery."""
    if not is_id("dlv", delivery_id):
        return None
    found = rows_of(connection, _described().where(_table.tenant == tenant, _table.id == delivery_id))
    return delivery_of(found[0]) if found else None


def attempts_of(connection: Connection, delivery_id: str) -> list[Attempt]:
    """The latest hundred attempts of a delivery, the first one first."""
    if not is_id("dlv", delivery_id):
        return []
    latest = select(*ATTEMPT).where(attempts.c.delivery_id == delivery_id).order_by(attempts.c.number.desc())
    return [attempt_of(row) for row in reversed(rows_of(connection, latest.limit(100)))]


def delivery_page(connection: Connection, which: DeliveryFilter, window: Window) -> Page[Delivery]:
    """A page of deliveries."""
    ids = _ids(connection, which, limit_of(window) + 1, below(window, "dlv"))
    found = rows_of(connection, _described().where(_table.id.in_(ids)).order_by(_table.id.desc()))
    return page(found, window, "id", delivery_of)


def count(connection: Connection, which: DeliveryFilter) -> int:
    """How many there are, COUNT_LIMIT at most."""
    ids = _ids(connection, which, COUNT_LIMIT).subquery()
    return connection.execute(select(func.count()).select_from(ids)).scalar_one()


def backlog(connection: Connection) -> dict[State, int]:
    """How many deliveries of all tenants are pending, delivering and exhausted."""
    states = (State.PENDING, State.EXHAUSTED)
    listed = (
        select(_table.listed_as, func.count()).where(_table.listed_as.in_(states)).group_by(_table.listed_as)
    )
    fresh = select(func.count()).select_from(deliveries).where(*_fresh_claims())
    counts = dict.fromkeys(states, 0) | dict(connection.execute(listed).all())
    claimed = connection.execute(select(func.count()).select_from(claims)).scalar_one()
    counts[State.PENDING] -= claimed
    counts[State.DELIVERING] = claimed + connection.execute(fresh).scalar_one()
    return counts


def retry(connection: Connection, which: DeliveryFilter, limit: int, now: datetime) -> int:
    """Make the oldest exhausted and cancelled ones pending and due now."""
    states = [state for state in _FAILED if which.state in (None, state)]
    found: list[str] = []
    for state in states:
        ids = _ids(connection, replace(which, state=state), limit, oldest=True)
        found += connection.execute(ids).scalars()
    sent = 0
    for some in chunks(sorted(found)[:limit]):
        these = (_table.id.in_(some), _table.state.in_(states))
        sent += connection.execute(_sent_again(now).where(*these)).rowcount
    return sent


def retry_one(connection: Connection, tenant: str, delivery_id: str, now: datetime) -> bool:
    """Make one pending and due now unless it is being delivered or waits for its turn."""
    if not is_id("dlv", delivery_id):
        return False
    free = (_table.state != State.DELIVERING, ~turns.behind(_table.id))
    this = (_table.tenant == tenant, _table.id == delivery_id, *free)
    if connection.execute(_sent_again(now).where(*this)).rowcount != 1:
        return False
    digests.leave(connection, delivery_id)
    return True


def cancel_one(connection: Connection, tenant: str, delivery_id: str, reason: str, now: datetime) -> bool:
    """Cancel one that is pending."""
    if not is_id("dlv", delivery_id):
        return False
    this = (_table.tenant == tenant, _table.id == delivery_id, _table.state == State.PENDING)
    if connection.execute(_ended(State.CANCELLED, reason, now).where(*this)).rowcount != 1:
        return False
    turns.pass_on(connection, [delivery_id])
    digests.leave(connection, delivery_id)
    return True


def end_waiting(
    connection: Connection, subscription_id: str, state: State, reason: str, now: datetime
) -> int:
    """End some of what is pending for a subscription; CHUNK when there may be more."""
    some = (
        select(_table.id).where(_table.subscription_id == subscription_id, IS_WAITING, _PENDING).limit(CHUNK)
    )
    turns.end_waiting(connection, subscription_id)
    digests.end_all(connection, subscription_id)
    return connection.execute(_ended(state, reason, now).where(_table.id.in_(some), _PENDING)).rowcount


def waiting(
    connection: Connection, after: Mapping[str, tuple[datetime, str] | None], limit: int
) -> dict[str, list[Row]]:
    """The next `limit` that wait for each destination: id, subscription, from when on their age counts, due time."""
    return {name: _waiting(connection, name, place, limit) for name, place in after.items()}


def _waiting(
    connection: Connection, destination: str, after: tuple[datetime, str] | None, limit: int
) -> list[Row]:
    waits = [_table.destination == safe(destination), _table.due_at.is_not(None), _PENDING]
    if after is not None:
        # Not as a tuple: SQLite would not use the index for it.
        due_at, delivery_id = after
        waits += [_table.due_at >= due_at, or_(_table.due_at > due_at, _table.id > delivery_id)]
    columns = (_table.id, _table.subscription_id, _table.due_at, _table.since)
    return rows_of(connection, select(*columns).where(*waits).order_by(_table.due_at, _table.id).limit(limit))


def expire(connection: Connection, max_ages: Mapping[str, float], now: datetime) -> int:
    """Exhaust those of these deliveries that still wait, and what waits for them in digests and is as old."""
    ended = 0
    for max_age in set(max_ages.values()):
        ids = [key for key, its in max_ages.items() if its == max_age]
        gathered = digests.led_by(connection, ids, now - timedelta(seconds=max_age))
        exhausted = _ended(State.EXHAUSTED, f"waited for longer than max_age ({max_age:g} s)", now)
        for some in chunks([*ids, *gathered]):
            ended += connection.execute(exhausted.where(_table.id.in_(some), _PENDING)).rowcount
        digests.leave_all(connection, [*gathered, *ids])
    turns.pass_on(connection, list(max_ages))
    return ended


def redirect_waiting(connection: Connection, subscription_id: str, destination: str) -> None:
    """Let what is pending for a subscription wait for its new destination."""
    waiting = (_table.subscription_id == subscription_id, IS_WAITING)
    connection.execute(update(deliveries).values(destination=destination).where(*waiting))


def free_claims(connection: Connection, process: int, oldest_claim: str, now: datetime) -> int:
    """Make what a process has claimed pending and due now."""
    freed = (
        update(deliveries)
        .values(state=State.PENDING, claimed_by=None)
        .where(_table.state == State.DELIVERING, _table.claimed_by == process)
    )
    fresh = freed.values(listed_as=State.PENDING, due_at=now)
    straight = connection.execute(fresh.where(_table.listed_as.is_(None), _table.id >= oldest_claim)).rowcount
    waited = select(claims.c.delivery_id).where(claims.c.process == process)
    again = connection.execute(freed.where(_table.id.in_(waited))).rowcount
    connection.execute(delete(claims).where(claims.c.process == process))
    return straight + again


def _sent_again(now: datetime) -> Update:
    return update(deliveries).values(
        state=State.PENDING,
        listed_as=State.PENDING,
        claimed_by=None,
        due_at=now,
        since=now,
        restarted_after=_table.attempts,
        ended_at=None,
        reason=None,
    )


def _ended(state: State, reason: str, now: datetime) -> Update:
    values = {"state": state, "listed_as": state, "due_at": None, "ended_at": now, "reason": safe(reason)}
    return update(deliveries).values(values)


def _described() -> Select[*tuple[Any, ...]]:
    return select(*DELIVERY).select_from(deliveries.join(events, events.c.key == _table.event_key))


def _ids(
    connection: Connection,
    which: DeliveryFilter,
    limit: int,
    cursor: str | None = None,
    *,
    oldest: bool = False,
) -> Select[str]:
    """The ids of the newest below a cursor, or the oldest of one state."""
    if has_lateral(connection) and (which.event_key or which.job_id) is not None:
        return _of_events(which, cursor, oldest=oldest).limit(limit)
    branches = _branches(which)
    if oldest:
        [branch] = branches
        return walk(connection, _table.id, branch, cursor, rising=True).limit(limit)
    return newest(connection, _table.id, limit, *branches, below=cursor)


def _of_events(which: DeliveryFilter, cursor: str | None, *, oldest: bool) -> Select[str]:
    """The deliveries of an event, or of a job's: all of them are read, event by event, and then put into order.

    The offset keeps the conditions and the order out of what is read for each event: so no index serves but that of
    the events, and not all deliveries are read in their order to find the few of these.
    """
    some = select(events.c.key).where(*_events(which)).subquery()
    theirs = select(deliveries).where(_table.event_key == some.c.key).offset(0).lateral()
    found, key = _conditions(which, theirs), theirs.c.id
    if which.subscription_id is not None:
        found += _of_subscription(which, theirs)
    if which.state is not None:
        found.append(theirs.c.state == which.state)
    if cursor is not None:
        found.append(key < cursor)
    ids = select(key).select_from(some.join(theirs, true())).where(*found)
    return ids.order_by(key if oldest else key.desc())


def _branches(which: DeliveryFilter) -> list[Branch]:
    led = _led(which)
    if which.state is None:
        return [led]
    if which.state is State.DELIVERED:
        return [_with(led, _table.state == which.state)]
    if which.state is State.DELIVERING:
        few = Branch([*led.conditions, *([] if led.lead is None else [led.lead == led.value])])
        return [_with(few, IsClaimed()), _with(few, *_fresh_claims())]
    if which.state is State.PENDING:
        return [_with(led, _table.listed_as == which.state, _PENDING)]
    return [_with(led, _table.listed_as == which.state, HAS_FAILED)]


def _with(branch: Branch, *conditions: Condition) -> Branch:
    return branch._replace(conditions=[*branch.conditions, *conditions])


def _fresh_claims() -> list[Condition]:
    oldest: ColumnElement[str] = (
        select(processes.c.oldest_claim).order_by(processes.c.oldest_claim).limit(1).scalar_subquery()
    )
    return [_table.state == State.DELIVERING, _table.listed_as.is_(None), _table.id >= oldest]


def _led(which: DeliveryFilter) -> Branch:
    """What of the filter is most selective leads; the rest are conditions."""
    if which.event_key is not None or which.job_id is not None:
        # Their tenant is looked up: SQLite would rather go through all of the tenant's.
        of_event = _table.event_key.in_(select(events.c.key).where(*_events(which)))
        subscribed = [] if which.subscription_id is None else _of_subscription(which, deliveries)
        return Branch([*_conditions(which, deliveries), of_event, *subscribed])
    if which.subscription_id is not None:
        _, owned = _of_subscription(which, deliveries)
        found = [*_conditions(which, deliveries), owned]
        return Branch(found, _table.subscription_id, which.subscription_id)
    tenant = _table.tenant == which.tenant
    for name, value in (("subscriber", which.subscriber), ("destination", which.destination)):
        if value is not None:
            return Branch([*_conditions(which, deliveries, name), tenant], _table[name], value)
    return Branch(_conditions(which, deliveries), _table.tenant, which.tenant)


def _conditions(which: DeliveryFilter, table: FromClause, without: str = "") -> list[Condition]:
    named = {"subscriber": which.subscriber, "destination": which.destination}
    found = [table.c[name] == value for name, value in named.items() if value is not None and name != without]
    if which.since is not None:
        found.append(table.c.id >= lowest_id("dlv", which.since.timestamp()))
    return found


def _events(which: DeliveryFilter) -> list[Condition]:
    found: list[Condition] = [events.c.tenant == which.tenant]
    if which.event_key is not None:
        found.append(events.c.key == known_id("evt", "event", which.event_key))
    if which.job_id is not None:
        found.append(events.c.job_id == which.job_id)
    return found


def _of_subscription(which: DeliveryFilter, table: FromClause) -> tuple[Condition, Condition]:
    subscription_id = known_id("sub", "subscription_id", which.subscription_id or "")
    owned = (subscriptions.c.tenant == which.tenant, subscriptions.c.id == subscription_id)
    return table.c.subscription_id == subscription_id, exists().where(*owned)
