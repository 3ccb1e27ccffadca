"""Which deliveries a filter means, through an index whatever it asks for.

`listed_as` is the state of every delivery but of those on the way straight from acceptance to delivered; so its index
holds what waits and what failed, however many were delivered. What was claimed after it waited is still listed as
pending, because a claim changes no index; it stands in `claims`. What was claimed on acceptance is found by its id: no
process has such a one below its `oldest_claim`.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, FromClause, Select, exists, literal_column, select, true

from dispatcher.domain.deliveries import State
from dispatcher.domain.ids import lowest_id
from dispatcher.store.column_types import DELIVERED
from dispatcher.store.delivery_writes import IS_PENDING
from dispatcher.store.dialect import IsClaimed, has_lateral
from dispatcher.store.filters import DeliveryFilter
from dispatcher.store.lists import Branch, Condition, newest, walk
from dispatcher.store.mapping import known_id
from dispatcher.store.schema import deliveries, events, processes, subscriptions

_table = deliveries.c
# The condition of the indexes of what failed.
HAS_FAILED = _table.listed_as > literal_column(str(DELIVERED))


def ids_of(
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
        return [_with(few, IsClaimed()), _with(few, *fresh_claims())]
    if which.state is State.PENDING:
        return [_with(led, _table.listed_as == which.state, IS_PENDING)]
    return [_with(led, _table.listed_as == which.state, HAS_FAILED)]


def _with(branch: Branch, *conditions: Condition) -> Branch:
    return branch._replace(conditions=[*branch.conditions, *conditions])


def fresh_claims() -> list[Condition]:
    """The conditions of what was claimed on acceptance and has not ended."""
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
