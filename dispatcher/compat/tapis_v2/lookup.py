"""Finding what a caller names: its notifications, and what became of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TypeVar

from dispatcher.api.query_models import SubscriptionsQuery
from dispatcher.api.routing import Call, NoQuery
from dispatcher.api.subscriptions import get_subscription, list_subscriptions
from dispatcher.compat.tapis_v2.document import EVERY
from dispatcher.compat.tapis_v2.envelope import V2Request
from dispatcher.compat.tapis_v2.ids import subscription_id
from dispatcher.compat.tapis_v2.search import Term
from dispatcher.compat.tapis_v2.views import (
    ACTIVE,
    Last,
    NotificationView,
    facts,
    notification_view,
    status_of,
)
from dispatcher.domain.errors import Forbidden, InvalidInput, NotFound
from dispatcher.store.filters import DeliveryFilter, Window

B = TypeVar("B")

PAGE = 500
MAX_LOOKED_AT = 5_000
"""Subscriptions that one search looks at."""


def call(request: V2Request, body: B, path: Mapping[str, str] | None = None) -> Call[NoQuery, B]:
    """The same caller's call of the native API."""
    return Call(request.caller, request.services, path or {}, NoQuery(), body, request.headers)


async def named(request: V2Request) -> NotificationView:
    """The notification whose id stands in the path. NotFound, or Forbidden when it is somebody else's."""
    uuid = request.path["uuid"]
    missing = NotFound(f"No notification found with id {uuid[:80]!r}")
    key = subscription_id(uuid)
    if key is None:
        raise missing
    stored = await request.services.store.subscriptions.get(request.caller.tenant, key)
    if stored is None:
        raise missing
    if not request.caller.admin and stored.subscriber != request.caller.owner:
        raise Forbidden("User does not have access to this notification")
    notice = notification_view(await get_subscription(call(request, None, {"id": key})))
    if notice is None:
        raise missing
    return notice


async def last_of(request: V2Request, notice: NotificationView) -> Last | None:
    """The latest delivery of a notification."""
    store = request.services.store
    which = DeliveryFilter(tenant=request.caller.tenant, subscription_id=notice.subscription.id)
    page = await store.deliveries.page(which, Window(1))
    if not page.items:
        return None
    attempts = await store.deliveries.attempts(page.items[0].id)
    return Last(page.items[0], attempts[-1] if attempts else None)


async def found(request: V2Request, terms: Sequence[Term]) -> list[NotificationView]:
    """The caller's notifications for which every term holds: newest first, as many as it asked for.

    Without terms the active ones. InvalidInput when too many would have to be looked at.
    """
    wanted = request.offset + request.limit
    items: list[NotificationView] = []
    async for notice in _own(request, terms):
        if len(items) == wanted:
            break
        if await _fits(request, notice, terms):
            items.append(notice)
    return items[request.offset :]


async def _fits(request: V2Request, notice: NotificationView, terms: Sequence[Term]) -> bool:
    if not terms:
        return notice.status == ACTIVE
    known = facts(notice)
    if not all(term.holds(known[term.field]) for term in terms if term.field != "status"):
        return False
    by_status = [term for term in terms if term.field == "status"]
    if not by_status:
        return True
    status = status_of(notice, await last_of(request, notice))
    return all(term.holds(status) for term in by_status)


async def _own(request: V2Request, terms: Sequence[Term]) -> AsyncIterator[NotificationView]:
    jobs = [t.values[0] for t in terms if t.field == "associateduuid" and t.operator == "eq"]
    # The store knows the job as it was written; a term compares without case. An id of Tapis has lower case only.
    job_id = request.terms.get("associatedUuid") if jobs and jobs != [EVERY] else None
    cursor: str | None = None
    for _ in range(MAX_LOOKED_AT // PAGE):
        query = SubscriptionsQuery(limit=PAGE, cursor=cursor, job_id=job_id)
        page = await list_subscriptions(
            Call(request.caller, request.services, {}, query, None, request.headers)
        )
        for subscription in page.items:
            notice = notification_view(subscription)
            if notice is not None:
                yield notice
        cursor = page.next
        if cursor is None:
            return
    raise InvalidInput(
        "", f"more than {MAX_LOOKED_AT} subscriptions would have to be looked at: search by associatedUuid"
    )
