"""What people ask of deliveries and do with them: lists, counts, sending again, cancelling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Connection, Select, Update, func, select, update

from dispatcher.domain.deliveries import Attempt, Delivery, State
from dispatcher.domain.events import utc_now
from dispatcher.domain.ids import is_id
from dispatcher.store import digests, ordering
from dispatcher.store.delivery_lists import fresh_claims, ids_of
from dispatcher.store.delivery_writes import ended
from dispatcher.store.filters import DeliveryFilter, Page, Window
from dispatcher.store.lists import below, chunks, limit_of, page, rows_of
from dispatcher.store.mapping import ATTEMPT, DELIVERY, attempt_of, delivery_of, safe, safe_filter
from dispatcher.store.schema import attempts, claims, deliveries, events
from dispatcher.store.session import Repository

COUNT_LIMIT = 100_000

_table = deliveries.c
_FAILED = (State.EXHAUSTED, State.CANCELLED)


class DeliveryRepository(Repository):
    """Deliveries, as people see them; what delivers them is `dispatcher.store.queue.DeliveryQueue`."""

    async def get(self, tenant: str, delivery_id: str) -> Delivery | None:
        """One delivery by its id."""
        return await self._read(_get, safe(tenant), delivery_id)

    async def attempts(self, delivery_id: str) -> list[Attempt]:
        """The attempts of one delivery, the first one first; the latest hundred at most."""
        return await self._read(_attempts, delivery_id)

    async def page(self, which: DeliveryFilter, window: Window) -> Page[Delivery]:
        """Deliveries, newest first."""
        return await self._read(_page, safe_filter(which), window)

    async def count(self, which: DeliveryFilter) -> int:
        """How many there are, COUNT_LIMIT at most."""
        return await self._read(_count, safe_filter(which))

    async def counts_by_event(self, event_keys: Sequence[str]) -> Mapping[str, int]:
        """How many deliveries each of these events has."""
        counts = dict.fromkeys(event_keys, 0)
        for some in chunks(list(counts)):
            counts |= await self._read(_counts_by_event, some)
        return counts

    async def backlog(self) -> Mapping[State, int]:
        """How many deliveries of all tenants are pending, delivering and exhausted."""
        return await self._read(_backlog)

    async def retry(self, tenant: str, delivery_id: str) -> bool:
        """Make one that has ended, or that waits, pending and due now; its retry policy begins again.

        False when it is being delivered, or waits for another one of its job.
        """
        return await self._write(_retry, safe(tenant), delivery_id, utc_now())

    async def retry_matching(self, which: DeliveryFilter, limit: int) -> int:
        """The same for the oldest `limit` exhausted and cancelled ones. How many that were."""
        return await self._write(_retry_matching, safe_filter(which), limit, utc_now())

    async def cancel(self, tenant: str, delivery_id: str, reason: str) -> bool:
        """Cancel one that is pending. False when it is not."""
        return await self._write(_cancel, safe(tenant), delivery_id, reason, utc_now())


def _get(connection: Connection, tenant: str, delivery_id: str) -> Delivery | None:
    if not is_id("dlv", delivery_id):
        return None
    found = rows_of(connection, _described().where(_table.tenant == tenant, _table.id == delivery_id))
    return delivery_of(found[0]) if found else None


def _attempts(connection: Connection, delivery_id: str) -> list[Attempt]:
    if not is_id("dlv", delivery_id):
        return []
    latest = select(*ATTEMPT).where(attempts.c.delivery_id == delivery_id).order_by(attempts.c.number.desc())
    return [attempt_of(row) for row in reversed(rows_of(connection, latest.limit(100)))]


def _page(connection: Connection, which: DeliveryFilter, window: Window) -> Page[Delivery]:
    ids = ids_of(connection, which, limit_of(window) + 1, below(window, "dlv"))
    found = rows_of(connection, _described().where(_table.id.in_(ids)).order_by(_table.id.desc()))
    return page(found, window, "id", delivery_of)


def _count(connection: Connection, which: DeliveryFilter) -> int:
    ids = ids_of(connection, which, COUNT_LIMIT).subquery()
    return connection.execute(select(func.count()).select_from(ids)).scalar_one()


def _backlog(connection: Connection) -> dict[State, int]:
    states = (State.PENDING, State.EXHAUSTED)
    listed = (
        select(_table.listed_as, func.count()).where(_table.listed_as.in_(states)).group_by(_table.listed_as)
    )
    fresh = select(func.count()).select_from(deliveries).where(*fresh_claims())
    counts = dict.fromkeys(states, 0) | dict(connection.execute(listed).all())
    claimed = connection.execute(select(func.count()).select_from(claims)).scalar_one()
    counts[State.PENDING] -= claimed
    counts[State.DELIVERING] = claimed + connection.execute(fresh).scalar_one()
    return counts


def _counts_by_event(connection: Connection, event_keys: Sequence[str]) -> dict[str, int]:
    counted = select(_table.event_key, func.count()).where(_table.event_key.in_(event_keys))
    return dict(connection.execute(counted.group_by(_table.event_key)).all())


def _retry_matching(connection: Connection, which: DeliveryFilter, limit: int, now: datetime) -> int:
    states = [state for state in _FAILED if which.state in (None, state)]
    found: list[str] = []
    for state in states:
        ids = ids_of(connection, replace(which, state=state), limit, oldest=True)
        found += connection.execute(ids).scalars()
    sent = 0
    for some in chunks(sorted(found)[:limit]):
        these = (_table.id.in_(some), _table.state.in_(states))
        sent += connection.execute(_sent_again(now).where(*these)).rowcount
    return sent


def _retry(connection: Connection, tenant: str, delivery_id: str, now: datetime) -> bool:
    if not is_id("dlv", delivery_id):
        return False
    free = (_table.state != State.DELIVERING, ~ordering.has_predecessor(_table.id))
    this = (_table.tenant == tenant, _table.id == delivery_id, *free)
    if connection.execute(_sent_again(now).where(*this)).rowcount != 1:
        return False
    digests.remove_member(connection, delivery_id)
    return True


def _cancel(connection: Connection, tenant: str, delivery_id: str, reason: str, now: datetime) -> bool:
    if not is_id("dlv", delivery_id):
        return False
    this = (_table.tenant == tenant, _table.id == delivery_id, _table.state == State.PENDING)
    if connection.execute(ended(State.CANCELLED, reason, now).where(*this)).rowcount != 1:
        return False
    ordering.advance(connection, [delivery_id])
    digests.remove_member(connection, delivery_id)
    return True


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


def _described() -> Select[*tuple[Any, ...]]:
    return select(*DELIVERY).select_from(deliveries.join(events, events.c.key == _table.event_key))
