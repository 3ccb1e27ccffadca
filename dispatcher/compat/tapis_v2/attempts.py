"""`/notifications/v2/{id}/attempts`: what could not be delivered, and sending something now."""

from __future__ import annotations

from collections.abc import AsyncIterator

from dispatcher.api.requests import SubscriptionChange
from dispatcher.api.subscriptions import change_subscription
from dispatcher.compat.tapis_v2.envelope import Answered, Asked
from dispatcher.compat.tapis_v2.forced import force
from dispatcher.compat.tapis_v2.ids import attempt_of
from dispatcher.compat.tapis_v2.lookup import PAGE, call, named
from dispatcher.compat.tapis_v2.search import terms_in
from dispatcher.compat.tapis_v2.views import Kept, Notice, Tried, attempt_view, metadata_of
from dispatcher.domain.deliveries import Delivery, State
from dispatcher.domain.errors import Conflict, NotFound
from dispatcher.store.filters import DeliveryFilter, Window

MAX_HIDDEN = 100
"""Attempts that can be removed one by one before all have to be."""


async def list_attempts(asked: Asked) -> Answered:
    """The last attempt of every delivery that was given up, newest first; none when the policy does not keep them."""
    terms_in(asked.terms, {})
    notice = await named(asked)
    items: list[dict[str, object]] = []
    position = 0
    async for delivery in _given_up(asked, notice):
        if len(items) == asked.limit:
            break
        position += 1
        if position > asked.offset and (tried := await _last(asked, delivery)) is not None:
            items.append(attempt_view(notice, tried, asked.base))
    return Answered(items)


async def get_attempt(asked: Asked) -> Answered:
    """One failed attempt."""
    notice = await named(asked)
    return Answered(attempt_view(notice, await _named_attempt(asked, notice), asked.base))


async def fire(asked: Asked) -> Answered:
    """Send something to the notification's address, once and now; what came of it."""
    notice = await named(asked)
    return Answered(attempt_view(notice, await force(asked, notice), asked.base))


async def clear_attempts(asked: Asked) -> Answered:
    """Show none of the attempts up to now any more."""
    notice = await named(asked)
    which = DeliveryFilter(tenant=asked.caller.tenant, subscription_id=notice.subscription.id)
    page = await asked.services.store.deliveries.page(which, Window(1))
    if page.items:
        await _keep(asked, notice, page.items[0].id, ())
    return Answered()


async def delete_attempt(asked: Asked) -> Answered:
    """Show the attempts of one delivery no more."""
    notice = await named(asked)
    tried = await _named_attempt(asked, notice)
    if len(notice.kept.hidden) >= MAX_HIDDEN:
        raise Conflict(
            f"{MAX_HIDDEN} attempts were removed one by one: remove all of them with DELETE …/attempts"
        )
    await _keep(asked, notice, notice.kept.cleared, (*notice.kept.hidden, tried.delivery_id))
    return Answered()


async def _given_up(asked: Asked, notice: Notice) -> AsyncIterator[Delivery]:
    if not notice.policy.save_on_failure:
        return
    which = DeliveryFilter(
        tenant=asked.caller.tenant, subscription_id=notice.subscription.id, state=State.EXHAUSTED
    )
    cursor: str | None = None
    while True:
        page = await asked.services.store.deliveries.page(which, Window(PAGE, cursor))
        for delivery in page.items:
            if delivery.id <= (notice.kept.cleared or ""):
                return
            if delivery.id not in notice.kept.hidden:
                yield delivery
        cursor = page.next
        if cursor is None:
            return


async def _last(asked: Asked, delivery: Delivery) -> Tried | None:
    attempts = await asked.services.store.deliveries.attempts(delivery.id)
    if not attempts:
        return None
    return Tried(delivery_id=delivery.id, event=delivery.event, job_id=delivery.job_id, attempt=attempts[-1])


async def _named_attempt(asked: Asked, notice: Notice) -> Tried:
    """The failed attempt whose id stands in the path. NotFound when there is none that is shown."""
    uuid = asked.path["attempt"]
    missing = NotFound(f"No attempt found with id {uuid[:80]!r}")
    known = attempt_of(uuid)
    if known is None or not notice.policy.save_on_failure:
        raise missing
    key, number = known
    store = asked.services.store
    delivery = await store.deliveries.get(asked.caller.tenant, key)
    if delivery is None or delivery.subscription_id != notice.subscription.id:
        raise missing
    if key <= (notice.kept.cleared or "") or key in notice.kept.hidden:
        raise missing
    for attempt in await store.deliveries.attempts(key):
        if attempt.number == number and attempt.error is not None:
            return Tried(delivery_id=key, event=delivery.event, job_id=delivery.job_id, attempt=attempt)
    raise missing


async def _keep(asked: Asked, notice: Notice, cleared: str | None, hidden: tuple[str, ...]) -> None:
    kept = Kept(owner=notice.kept.owner, policy=notice.kept.policy, cleared=cleared, hidden=hidden)
    change = SubscriptionChange(metadata=metadata_of(kept, notice.subscription.metadata))
    await change_subscription(call(asked, change, {"id": notice.subscription.id}))
