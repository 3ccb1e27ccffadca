"""Events: accepted with all that they cause, found by id, listed in the order of acceptance."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, Select, and_, func, literal, or_, select, true, tuple_

from dispatcher.domain.deliveries import OpenDelivery
from dispatcher.domain.event_names import selected_names
from dispatcher.domain.events import Event
from dispatcher.domain.expansions import NewExpansion
from dispatcher.domain.ids import is_id, lowest_id
from dispatcher.store.dialect import has_lateral
from dispatcher.store.filters import EventFilter, Page, Window
from dispatcher.store.grants import granted_to, owner_of
from dispatcher.store.lists import (
    MAX_LIMIT,
    Branch,
    Condition,
    below,
    heavy_page,
    limit_of,
    newest,
    rows_of,
    walk,
)
from dispatcher.store.mapping import EVENT, event_of, known_id, safe, safe_filter
from dispatcher.store.schema import events, grants
from dispatcher.store.session import Repository


class EventRepository(Repository, ABC):
    """Events."""

    @abstractmethod
    async def accept(
        self,
        lease_id: int,
        events: Sequence[Event],
        deliveries: Sequence[OpenDelivery],
        expansions: Sequence[NewExpansion] = (),
    ) -> Mapping[str, str]:
        """Store events, their deliveries or the orders to make them, their jobs and permissions in one transaction.

        A delivery to an ordered subscription is stored as an order while one for its job is open.

        An event that is there already (same identity; or twice in the batch) changes nothing,
        and neither do its deliveries. Returns, for each of these, its key and the key of the one that was
        there: its own when an earlier call stored it whose answer was lost. So the same call may be made
        again after StoreUnavailable. What a process without a lease was to claim is stored as due now.
        """

    @abstractmethod
    async def add_deliveries(self, lease_id: int, deliveries: Sequence[OpenDelivery]) -> None:
        """Store further deliveries of events that are stored (a replay)."""

    async def get(self, tenant: str, key: str) -> Event | None:
        """One event by its key (`evt_…`)."""
        return await self._read(_get, safe(tenant), key) if is_id("evt", key) else None

    async def page(self, which: EventFilter, window: Window) -> Page[Event]:
        """Events in the order of acceptance, newest first."""
        return await self._read(find_events, safe_filter(which), window)


def _get(connection: Connection, tenant: str, key: str) -> Event | None:
    found = rows_of(connection, select(*EVENT).where(events.c.tenant == tenant, events.c.key == key))
    return event_of(found[0]) if found else None


def find_events(connection: Connection, which: EventFilter, window: Window) -> Page[Event]:
    """See `EventRepository.page`."""
    key, limit, cursor = events.c.key, limit_of(window) + 1, below(window, "evt")
    conditions: list[Condition] = []
    if which.event is not None:
        conditions.append(events.c.event == which.event)
    if which.since is not None:
        conditions.append(key >= lowest_id("evt", which.since.timestamp()))
    if which.selected:
        names, prefixes = selected_names(which.selected)
        begins = (func.substr(events.c.event, 1, len(prefix)) == prefix for prefix in prefixes)
        conditions.append(or_(events.c.event.in_(sorted(names)), *begins))
    if which.after is not None:
        conditions.append(key > known_id("evt", "after", which.after))
    branch, granted = _visible_events(connection, which, conditions, cursor)
    if granted is None:
        sizes = walk(connection, key, branch, cursor)
    else:
        ids = newest(connection, key, limit, branch, below=cursor, among=[granted])
        sizes = select(key).where(key.in_(ids)).order_by(key.desc())
    return heavy_page(connection, EVENT, func.length(events.c.document), sizes.limit(limit), window, event_of)


def _visible_events(
    connection: Connection, which: EventFilter, conditions: Sequence[Condition], cursor: str | None
) -> tuple[Branch, Select[str] | None]:
    """The events of a branch that may be seen, and those by grants where these are not in it."""
    owner, tenant = which.visible_to, events.c.tenant == which.tenant
    if which.job_id is not None:
        seen = [] if owner is None else [_of_job_seen_by(which, which.job_id, owner)]
        return Branch([*conditions, tenant, *seen], events.c.job_id, which.job_id), None
    if owner is None:
        return Branch(conditions, events.c.tenant, which.tenant), None
    own = Branch([*conditions, tenant], events.c.job_owner, owner)
    return own, _granted_events(connection, which.tenant, owner, conditions, cursor)


def _of_job_seen_by(which: EventFilter, job_id: str, owner: str) -> Condition:
    claimed = owner_of(literal(which.tenant), literal(job_id)) == owner
    granting = granted_to(which.tenant, owner).where(grants.c.job_id == job_id)
    own = or_(events.c.owner == owner, and_(events.c.owner.is_(None), claimed))
    return or_(own, tuple_(events.c.tenant, events.c.job_id, events.c.owner).in_(granting))


def _granted_events(
    connection: Connection, tenant: str, user: str, conditions: Sequence[Condition], cursor: str | None
) -> Select[str]:
    """The events that a user may see by grants, newest first: the newest MAX_LIMIT of each job at most."""
    key, granting = events.c.key, granted_to(tenant, user)
    if not has_lateral(connection):
        columns = tuple_(events.c.tenant, events.c.job_id, events.c.owner)
        return walk(connection, key, Branch([*conditions, columns.in_(granting)]), cursor)
    by = granting.subquery()
    of_job = Branch(
        [*conditions, events.c.tenant == by.c.tenant, events.c.owner == by.c.owner],
        events.c.job_id,
        by.c.job_id,
    )
    each = walk(connection, key, of_job, cursor).limit(MAX_LIMIT + 1).lateral()
    return select(each.c.key).select_from(by.join(each, true())).order_by(each.c.key.desc())
