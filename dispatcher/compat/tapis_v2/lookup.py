"""Finding what a caller names: its notifications, and what became of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TypeVar

from dispatcher.api.requests import SubscriptionsQuery
from dispatcher.api.routing import Call, NoQuery
from dispatcher.api.subscriptions import get_subscription, list_subscriptions
from dispatcher.compat.tapis_v2.document import EVERY
from dispatcher.compat.tapis_v2.envelope import Asked
from dispatcher.compat.tapis_v2.ids import subscription_id
from dispatcher.compat.tapis_v2.search import Term
from dispatcher.compat.tapis_v2.views import ACTIVE, Last, Notice, facts, notice_of, status_of
from dispatcher.domain.errors import Forbidden, InvalidInput, NotFound
from dispatcher.store.filters import DeliveryFilter, Window

B = TypeVar("B")

PAGE = 500
MAX_LOOKED_AT = 5_000
"""Subscriptions that one search looks at."""


def call(asked: Asked, body: B, path: Mapping[str, str] | None = None) -> Call[NoQuery, B]:
    """The same caller's call of the native API."""
    return Call(asked.caller, asked.services, path or {}, NoQuery(), body, asked.headers)


async def named(asked: Asked) -> Notice:
    """The notification whose id stands in the path. NotFound, or Forbidden when it is somebody else's."""
    uuid = asked.path["uuid"]
    missing = NotFound(f"No notification found with id {uuid[:80]!r}")
    key = subscription_id(uuid)
    if key is None:
        raise missing
    stored = await asked.services.store.subscriptions.get(asked.caller.tenant, key)
    if stored is None:
        raise missing
    if not asked.caller.admin and stored.subscriber != asked.caller.owner:
        raise Forbidden("User does not have access to this notification")
    notice = notice_of(await get_subscription(call(asked, None, {"id": key})))
    if notice is None:
        raise missing
    return notice


async def last_of(asked: Asked, notice: Notice) -> Last | None:
    """The latest delivery of a notification."""
    store = asked.services.store
    which = DeliveryFilter(tenant=asked.caller.tenant, subscription_id=notice.subscription.id)
    page = await store.deliveries.page(which, Window(1))
    if not page.items:
        return None
    attempts = await store.deliveries.attempts(page.items[0].id)
    return Last(page.items[0], attempts[-1] if attempts else None)


async def found(asked: Asked, terms: Sequence[Term]) -> list[Notice]:
    """The caller's notifications for which every term holds: newest first, as many as it asked for.

    Without terms the active ones. InvalidInput when too many would have to be looked at.
    """
    wanted = asked.offset + asked.limit
    items: list[Notice] = []
    async for notice in _own(asked, terms):
        if len(items) == wanted:
            break
        if await _fits(asked, notice, terms):
            items.append(notice)
    return items[asked.offset :]


async def _fits(asked: Asked, notice: Notice, terms: Sequence[Term]) -> bool:
    if not terms:
        return notice.status == ACTIVE
    known = facts(notice)
    if not all(term.holds(known[term.field]) for term in terms if term.field != "status"):
        return False
    by_status = [term for term in terms if term.field == "status"]
    if not by_status:
        return True
    status = status_of(notice, await last_of(asked, notice))
    return all(term.holds(status) for term in by_status)


async def _own(asked: Asked, terms: Sequence[Term]) -> AsyncIterator[Notice]:
    jobs = [t.values[0] for t in terms if t.field == "associateduuid" and t.operator == "eq"]
    # The store knows the job as it was written; a term compares without case. An id of Tapis has lower case only.
    job_id = asked.terms.get("associatedUuid") if jobs and jobs != [EVERY] else None
    cursor: str | None = None
    for _ in range(MAX_LOOKED_AT // PAGE):
        query = SubscriptionsQuery(limit=PAGE, cursor=cursor, job_id=job_id)
        page = await list_subscriptions(Call(asked.caller, asked.services, {}, query, None, asked.headers))
        for subscription in page.items:
            notice = notice_of(subscription)
            if notice is not None:
                yield notice
        cursor = page.next
        if cursor is None:
            return
    raise InvalidInput(
        "", f"more than {MAX_LOOKED_AT} subscriptions would have to be looked at: search by associatedUuid"
    )
