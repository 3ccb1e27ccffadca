"""What people ask of events, subscriptions and keys: bounded lists, newest first, through an index."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import accumulate
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    ScalarSelect,
    Select,
    and_,
    func,
    literal,
    or_,
    select,
    text,
    tuple_,
    union_all,
)

from dispatcher.domain.events import Event
from dispatcher.domain.ids import Prefix, is_id, lowest_id
from dispatcher.domain.keys import ApiKey
from dispatcher.domain.vocabulary import selected_names
from dispatcher.store.contract import EventFilter, Page, SubscriptionFilter, Window
from dispatcher.store.rows import EVENT, Row, api_key_of, event_of, known_id
from dispatcher.store.schema import api_keys, deliveries, events, grants, jobs, subscriptions

MAX_LIMIT = 500
MAX_VALUES = 500
"""How many values a statement names at most; more are asked for in several."""

# The condition of the index subscriptions_to_match, as it stands there: with parameters it would not be used.
_IN_USE = text("subscriptions.removed_at is null and subscriptions.status in ('active', 'paused')")

MAX_BYTES = 8 * 1024 * 1024
"""How much the documents of a page have at most, unless the first one alone has more. A page then ends early."""

T = TypeVar("T")
Condition = ColumnElement[bool]


def rows_of(connection: Connection, statement: Select[*tuple[Any, ...]]) -> list[Row]:
    """All rows of a statement that is bounded by itself."""
    return [*connection.execute(statement).mappings()]


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """The values in parts of MAX_VALUES."""
    return (values[start : start + MAX_VALUES] for start in range(0, len(values), MAX_VALUES))


def page(rows: Sequence[Row], window: Window, cursor: str, make: Callable[[Row], T]) -> Page[T]:
    """A page of rows of which one more than its limit was asked for; `cursor` is the column that goes on."""
    limit = limit_of(window)
    more = rows[limit - 1][cursor] if len(rows) > limit else None
    return Page([make(row) for row in rows[:limit]], more)


def heavy_page(
    connection: Connection,
    columns: Sequence[ColumnElement[Any]],
    size: ColumnElement[int],
    these: Sequence[Condition],
    window: Window,
    make: Callable[[Row], T],
) -> Page[T]:
    """A page, newest first by the first of these columns, that ends before `size` adds up to more than MAX_BYTES."""
    key = columns[0]
    sizes = select(key, size).where(*these).order_by(key.desc()).limit(limit_of(window) + 1)
    found = connection.execute(sizes).all()
    fitting = _fitting([length for _, length in found[: limit_of(window)]])
    keys = [one for one, _ in found[:fitting]]
    rows = rows_of(connection, select(*columns).where(key.in_(keys)).order_by(key.desc()))
    return Page([make(row) for row in rows], keys[-1] if len(found) > fitting else None)


def _fitting(sizes: Sequence[int]) -> int:
    """How many of the first of these have MAX_BYTES together at most; one at least, when there is one."""
    beyond = (count for count, total in enumerate(accumulate(sizes)) if total > MAX_BYTES)
    return max(next(beyond, len(sizes)), min(len(sizes), 1))


def limit_of(window: Window) -> int:
    """How many items a page has at most."""
    return min(max(window.limit, 1), MAX_LIMIT)


def after(column: ColumnElement[str], window: Window, prefix: Prefix) -> list[Condition]:
    """The condition that a page begins after its cursor. InvalidInput when that is none."""
    return [] if window.cursor is None else [column < known_id(prefix, "cursor", window.cursor)]


def newest(column: ColumnElement[str], limit: int, *branches: Sequence[Condition]) -> Select[str]:
    """The highest ids that fulfil all conditions of one branch; each branch can use an index of its own."""
    found = [
        select(column.label("id")).where(*branch).order_by(column.desc()).limit(limit) for branch in branches
    ]
    if len(found) == 1:
        return found[0]
    both = union_all(*(select(branch.subquery().c.id) for branch in found)).subquery()
    return select(both.c.id).distinct().order_by(both.c.id.desc()).limit(limit)


# Events


def event(connection: Connection, tenant: str, key: str) -> Event | None:
    """One event."""
    if not is_id("evt", key):
        return None
    found = rows_of(connection, select(*EVENT).where(events.c.tenant == tenant, events.c.key == key))
    return event_of(found[0]) if found else None


def event_page(connection: Connection, which: EventFilter, window: Window) -> Page[Event]:
    """A page of events."""
    key, limit = events.c.key, limit_of(window) + 1
    conditions = after(key, window, "evt")
    if which.event is not None:
        conditions.append(events.c.event == which.event)
    if which.since is not None:
        conditions.append(key >= lowest_id("evt", which.since.timestamp()))
    if which.job_id is not None:
        conditions.append(events.c.job_id == which.job_id)
    if which.selected:
        names, prefixes = selected_names(which.selected)
        begins = (func.substr(events.c.event, 1, len(prefix)) == prefix for prefix in prefixes)
        conditions.append(or_(events.c.event.in_(sorted(names)), *begins))
    if which.after is not None:
        conditions.append(key > known_id("evt", "after", which.after))
    branches = [[*conditions, *seen] for seen in _visible_events(which)]
    these = branches[0] if len(branches) == 1 else [key.in_(newest(key, limit, *branches))]
    return heavy_page(connection, EVENT, func.length(events.c.document), these, window, event_of)


def _visible_events(which: EventFilter) -> list[list[Condition]]:
    owner = which.visible_to
    if owner is None:
        return [[events.c.tenant == which.tenant]]
    columns = (events.c.tenant, events.c.job_id, events.c.owner)
    if which.job_id is None:
        granted = tuple_(*columns).in_(granted_to(which.tenant, owner))
        return [[events.c.tenant == which.tenant, events.c.job_owner == owner], [granted]]
    claimed = owner_of(literal(which.tenant), literal(which.job_id)) == owner
    granting = granted_to(which.tenant, owner).where(grants.c.job_id == which.job_id)
    own = or_(events.c.owner == owner, and_(events.c.owner.is_(None), claimed))
    return [[events.c.tenant == which.tenant, or_(own, tuple_(*columns).in_(granting))]]


def owner_of(tenant: ColumnElement[str], job_id: ColumnElement[str]) -> ScalarSelect[str | None]:
    """The owner of a claimed job, null of any other.

    Only the primary key gives the order by id, so no other index of the tenant is taken, whatever the statistics say.
    """
    this = (jobs.c.tenant == tenant, jobs.c.id >= job_id, jobs.c.id <= job_id)
    found = select(jobs.c.owner).where(*this).order_by(jobs.c.id).limit(1)
    return found.correlate_except(jobs).scalar_subquery()


def granted_to(tenant: str, user: str) -> Select[str, str, str]:
    """Tenant, job and owner of what was granted to a user and holds.

    What an owner's own key granted ends when a trusted publisher names the job's owner.
    """
    # With the tenant, which stands nowhere else then: SQLite would rather go through all events of the tenant.
    return select(grants.c.tenant, grants.c.job_id, grants.c.owner).where(
        grants.c.tenant == tenant,
        grants.c.username == user,
        grants.c.granted,
        or_(grants.c.trusted, owner_of(grants.c.tenant, grants.c.job_id).is_(None)),
    )


def delivery_counts(connection: Connection, event_keys: Sequence[str]) -> dict[str, int]:
    """How many deliveries each of at most MAX_VALUES events has."""
    column = deliveries.c.event_key
    counted = select(column, func.count()).where(column.in_(event_keys)).group_by(column)
    return dict(connection.execute(counted).all())


# Subscriptions and keys


def subscription_row(connection: Connection, tenant: str, subscription_id: str) -> Row | None:
    """One subscription that was not removed."""
    if not is_id("sub", subscription_id):
        return None
    found = subscription_rows(connection, [subscription_id])
    return found[0] if found and found[0]["tenant"] == tenant else None


def subscription_rows(connection: Connection, ids: Sequence[str]) -> list[Row]:
    """Those of at most MAX_VALUES subscriptions that were not removed."""
    table = subscriptions
    return rows_of(connection, select(table).where(table.c.id.in_(ids), table.c.removed_at.is_(None)))


def revisions(connection: Connection, ids: Collection[str]) -> list[tuple[str, int]]:
    """Ids and revisions of those of these subscriptions that were not removed."""
    table = subscriptions.c
    found: list[tuple[str, int]] = []
    for some in chunks(list(ids)):
        kept = select(table.id, table.revision).where(table.id.in_(some), table.removed_at.is_(None))
        found += [(key, revision) for key, revision in connection.execute(kept)]
    return found


def outermost_subscriptions(connection: Connection) -> list[Row]:
    """The first and the last subscription of all that were not removed."""
    kept = select(subscriptions).where(subscriptions.c.removed_at.is_(None)).limit(1)
    ends = (kept.order_by(subscriptions.c.id), kept.order_by(subscriptions.c.id.desc()))
    return [row for end in ends for row in rows_of(connection, end)]


def subscription_page(connection: Connection, which: SubscriptionFilter, window: Window) -> Page[Row]:
    """A page of subscriptions, as rows."""
    table = subscriptions.c
    conditions = [table.tenant == which.tenant, table.removed_at.is_(None), *after(table.id, window, "sub")]
    if which.subscriber is not None:
        conditions.append(table.subscriber == which.subscriber)
    if which.job_id is not None:
        conditions.append(table.job_id == which.job_id)
    if which.status is not None:
        conditions.append(table.status == which.status)
    size = func.length(table.details) + func.length(table.sealed)
    return heavy_page(connection, [*table], size, conditions, window, lambda row: row)


def api_key(connection: Connection, digest: str) -> ApiKey | None:
    """The key with this hash."""
    found = rows_of(connection, select(api_keys).where(api_keys.c.digest == digest))
    return api_key_of(found[0]) if found else None


def api_key_by_id(connection: Connection, key_id: str) -> ApiKey | None:
    """The key with this id."""
    if not is_id("key", key_id):
        return None
    found = rows_of(connection, select(api_keys).where(api_keys.c.id == key_id))
    return api_key_of(found[0]) if found else None


MAX_NAMED_KEYS = 20
"""How many keys are named when somebody is told about them; the statement finds one more."""

OWNER_BOUND_KEYS = """
select id, owner, tenant from api_keys
where ' ' || scopes || ' ' like '% publish %' and ' ' || scopes || ' ' like '% subscribe %'
    and ' ' || scopes || ' ' not like '% publish:any %' and ' ' || scopes || ' ' not like '% admin %'
order by id limit 21
"""
"""Keys that publish for their owner only and subscribe as well: before, they could name any owner."""


def owner_bound_keys(connection: Connection) -> list[str]:
    """Ids of keys that publish for their owner only and subscribe as well; one more than MAX_NAMED_KEYS at most."""
    found = connection.execute(text(OWNER_BOUND_KEYS).columns(api_keys.c.id))
    return list(found.scalars())


def api_key_page(connection: Connection, tenant: str | None, window: Window) -> Page[ApiKey]:
    """A page of keys, of every tenant when that is None."""
    conditions = after(api_keys.c.id, window, "key")
    if tenant is not None:
        conditions.append(api_keys.c.tenant == tenant)
    statement = select(api_keys).where(*conditions).order_by(api_keys.c.id.desc()).limit(limit_of(window) + 1)
    return page(rows_of(connection, statement), window, "id", api_key_of)
