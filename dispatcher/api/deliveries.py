"""Deliveries over HTTP: where each one stands, its attempts, sending it again, cancelling it."""

from __future__ import annotations

from datetime import datetime

from msgspec import convert
from msgspec.structs import asdict

from dispatcher.api.access import delivery_for, only_owner
from dispatcher.api.query_models import DeliveriesQuery
from dispatcher.api.request_models import RetryMany
from dispatcher.api.response_lists import DeliveryList
from dispatcher.api.response_models import AttemptView, Counted, DeliveryDetail, DeliveryView
from dispatcher.api.routing import Call, NoQuery
from dispatcher.domain.deliveries import Delivery, State
from dispatcher.domain.errors import Conflict, InvalidInput
from dispatcher.domain.keys import ApiKey
from dispatcher.domain.times import parse_time
from dispatcher.store.filters import DeliveryFilter


async def list_deliveries(call: Call[DeliveriesQuery, None]) -> DeliveryList:
    """Deliveries, newest first."""
    page = await call.services.store.deliveries.page(
        _filter(call.caller, call.query, call.query.state), call.query.window
    )
    return DeliveryList([_view(delivery) for delivery in page.items], page.next)


async def get_delivery(call: Call[NoQuery, None]) -> DeliveryDetail:
    """One delivery with its attempts."""
    return await _detail(call, await delivery_for(call.caller, call.path["id"], call.services))


async def retry_delivery(call: Call[NoQuery, None]) -> DeliveryDetail:
    """Send a delivery again.

    It is due now and its retry policy starts again; its id stays the same. One that waits is sent at once.
    """
    delivery = await delivery_for(call.caller, call.path["id"], call.services)
    if await call.services.store.subscriptions.get(call.caller.tenant, delivery.subscription_id) is None:
        raise Conflict(f"{delivery.id} cannot be sent again: its subscription was removed")
    if not await call.services.store.deliveries.retry(call.caller.tenant, delivery.id):
        raise Conflict(f"{delivery.id} is being delivered at this moment")
    call.services.engine.wake()
    return await get_delivery(call)


async def cancel_delivery(call: Call[NoQuery, None]) -> DeliveryDetail:
    """Cancel a delivery that waits. It can be sent again later."""
    delivery = await delivery_for(call.caller, call.path["id"], call.services)
    if not await call.services.store.deliveries.cancel(
        call.caller.tenant, delivery.id, "cancelled by request"
    ):
        now = await delivery_for(call.caller, delivery.id, call.services)
        raise Conflict(f"{delivery.id} is {now.state}: only one that is pending can be cancelled")
    return await get_delivery(call)


async def retry_deliveries(call: Call[NoQuery, RetryMany]) -> Counted:
    """Send many deliveries again.

    Exhausted (or cancelled) ones that fit what is given, the oldest first and at most `limit` of them: repeat
    it until the count is 0. With `dry_run` they are only counted, up to 100 000.
    """
    state = call.body.state
    which = _filter(call.caller, call.body, state)
    if call.body.dry_run:
        return Counted(await call.services.store.deliveries.count(which))
    if state not in (State.EXHAUSTED, State.CANCELLED):
        raise InvalidInput(
            "state", f"expected exhausted or cancelled, got {state}; others can only be counted"
        )
    count = await call.services.store.deliveries.retry_matching(which, call.body.limit)
    call.services.engine.wake()
    return Counted(count)


def _filter(caller: ApiKey, wanted: DeliveriesQuery | RetryMany, state: State | None) -> DeliveryFilter:
    return DeliveryFilter(
        tenant=caller.tenant,
        subscriber=only_owner(caller),
        state=state,
        job_id=wanted.job_id,
        event_key=wanted.event_id,
        subscription_id=wanted.subscription_id,
        destination=wanted.destination,
        since=_utc(wanted.since),
    )


def _utc(since: datetime | None) -> datetime | None:
    return None if since is None else parse_time("since", since)


async def _detail(call: Call[NoQuery, None], delivery: Delivery) -> DeliveryDetail:
    attempts = await call.services.store.deliveries.attempts(delivery.id)
    return DeliveryDetail(
        **asdict(_view(delivery)),
        latest_attempts=convert(attempts, list[AttemptView], from_attributes=True),
    )


def _view(delivery: Delivery) -> DeliveryView:
    return DeliveryView(
        id=delivery.id,
        event_id=delivery.event_key,
        event=delivery.event,
        job_id=delivery.job_id,
        subscription_id=delivery.subscription_id,
        destination=delivery.destination,
        state=delivery.state,
        attempts=delivery.attempts,
        created_at=delivery.created_at,
        due_at=delivery.due_at,
        ended_at=delivery.ended_at,
        reason=delivery.reason,
    )
