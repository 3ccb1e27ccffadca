"""`/notifications/v2/{id}/attempts`: what could not be delivered, and sending something now."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dispatcher.api.request_models import SubscriptionChange
from dispatcher.api.subscriptions import change_subscription
from dispatcher.compat.envelope import CompatResponse
from dispatcher.compat.tapis_v2.envelope import V2Request
from dispatcher.compat.tapis_v2.fire_now import fire_now
from dispatcher.compat.tapis_v2.ids import attempt_of
from dispatcher.compat.tapis_v2.lookup import PAGE, call, named
from dispatcher.compat.tapis_v2.search import terms_in
from dispatcher.compat.tapis_v2.views import (
    AttemptView,
    NotificationState,
    NotificationView,
    attempt_view,
    metadata_of,
)
from dispatcher.domain.deliveries import Delivery, State
from dispatcher.domain.errors import Conflict, NotFound
from dispatcher.store.filters import DeliveryFilter, Window

MAX_HIDDEN = 100
"""Attempts that can be removed one by one before all have to be."""


async def list_attempts(request: V2Request) -> CompatResponse:
    """The last attempt of every delivery that was given up, newest first; none when the policy does not keep them."""
    terms_in(request.terms, {})
    notice = await named(request)
    items: list[dict[str, object]] = []
    position = 0
    async for delivery in _given_up(request, notice):
        if len(items) == request.limit:
            break
        position += 1
        if position > request.offset and (tried := await _last(request, delivery)) is not None:
            items.append(attempt_view(notice, tried, request.base))
    return CompatResponse(items)


async def get_attempt(request: V2Request) -> CompatResponse:
    """One failed attempt."""
    notice = await named(request)
    return CompatResponse(attempt_view(notice, await _named_attempt(request, notice), request.base))


async def fire(request: V2Request) -> CompatResponse:
    """Send something to the notification's address, once and now; what came of it."""
    notice = await named(request)
    return CompatResponse(attempt_view(notice, await fire_now(request, notice), request.base))


async def clear_attempts(request: V2Request) -> CompatResponse:
    """Show none of the attempts up to now any more."""
    notice = await named(request)
    which = DeliveryFilter(tenant=request.caller.tenant, subscription_id=notice.subscription.id)
    page = await request.services.store.deliveries.page(which, Window(1))
    if page.items:
        await _keep(request, notice, page.items[0].id, ())
    return CompatResponse({})


async def delete_attempt(request: V2Request) -> CompatResponse:
    """Show the attempts of one delivery no more."""
    notice = await named(request)
    tried = await _named_attempt(request, notice)
    if len(notice.kept.hidden) >= MAX_HIDDEN:
        raise Conflict(
            f"{MAX_HIDDEN} attempts were removed one by one: remove all of them with DELETE …/attempts"
        )
    await _keep(request, notice, notice.kept.cleared, (*notice.kept.hidden, tried.delivery_id))
    return CompatResponse({})


async def _given_up(request: V2Request, notice: NotificationView) -> AsyncIterator[Delivery]:
    if not notice.policy.save_on_failure:
        return
    which = DeliveryFilter(
        tenant=request.caller.tenant, subscription_id=notice.subscription.id, state=State.EXHAUSTED
    )
    cursor: str | None = None
    while True:
        page = await request.services.store.deliveries.page(which, Window(PAGE, cursor))
        for delivery in page.items:
            if delivery.id <= (notice.kept.cleared or ""):
                return
            if delivery.id not in notice.kept.hidden:
                yield delivery
        cursor = page.next
        if cursor is None:
            return


async def _last(request: V2Request, delivery: Delivery) -> AttemptView | None:
    attempts = await request.services.store.deliveries.attempts(delivery.id)
    if not attempts:
        return None
    return AttemptView(
        delivery_id=delivery.id, event=delivery.event, job_id=delivery.job_id, attempt=attempts[-1]
    )


async def _named_attempt(request: V2Request, notice: NotificationView) -> AttemptView:
    """The failed attempt whose id stands in the path. NotFound when there is none that is shown."""
    uuid = request.path["attempt"]
    missing = NotFound(f"No attempt found with id {uuid[:80]!r}")
    known = attempt_of(uuid)
    if known is None or not notice.policy.save_on_failure:
        raise missing
    key, number = known
    store = request.services.store
    delivery = await store.deliveries.get(request.caller.tenant, key)
    if delivery is None or delivery.subscription_id != notice.subscription.id:
        raise missing
    if key <= (notice.kept.cleared or "") or key in notice.kept.hidden:
        raise missing
    for attempt in await store.deliveries.attempts(key):
        if attempt.number == number and attempt.error is not None:
            return AttemptView(delivery_id=key, event=delivery.event, job_id=delivery.job_id, attempt=attempt)
    raise missing


async def _keep(
    request: V2Request, notice: NotificationView, cleared: str | None, hidden: tuple[str, ...]
) -> None:
    kept = NotificationState(
        owner=notice.kept.owner, policy=notice.kept.policy, cleared=cleared, hidden=hidden
    )
    change = SubscriptionChange(metadata=metadata_of(kept, notice.subscription.metadata))
    await change_subscription(call(request, change, {"id": notice.subscription.id}))
