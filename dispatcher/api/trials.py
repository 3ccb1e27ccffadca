"""Trials: one event sent to a subscription's target once and now, of which nothing is stored."""

from __future__ import annotations

import time

import msgspec

from dispatcher.api.response_models import Trial
from dispatcher.api.services import Services
from dispatcher.domain.errors import Conflict
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.keys import ApiKey
from dispatcher.domain.subscriptions import EVERY_OWNER, Subscription
from dispatcher.domain.targets import AttemptResult
from dispatcher.intake.decode import Message, decode
from dispatcher.store.filters import DestinationFilter


async def try_out(subscription: Subscription, event: Event, delivery_id: str, services: Services) -> Trial:
    """Send an event to a subscription's target, once and now. Nothing of it is stored.

    Raises Conflict when there is no target of its kind here, an operator holds its destination, or a limit forbids it.
    """
    kind = services.kinds.get(subscription.kind)
    if kind is None:
        raise Conflict(
            f"{subscription.id} has a target of kind {subscription.kind}, which is not available here"
        )
    everywhere = DestinationFilter(tenant=subscription.tenant, everyone=True)
    held = await services.store.destinations.get(everywhere, subscription.destination)
    if held is not None and held.paused_at is not None:
        raise Conflict(f"{held.key} is paused: {held.paused_reason}")
    began = time.perf_counter()
    sender = kind.sender(subscription)

    async def send() -> AttemptResult:
        return await sender.send(event, delivery_id, 1, None)

    answer = await services.trials.send(subscription, send)
    return Trial(
        delivered=answer.error is None or (answer.healthy and answer.retry_at_delay is not None),
        request=answer.request_line,
        status=answer.status,
        duration=time.perf_counter() - began,
        error=answer.error,
        body=answer.body,
    )


def sample(subscription: Subscription, caller: ApiKey) -> Event:
    """An event such as the subscription may get, through the same decoding as all others."""
    owner = subscription.owner if subscription.owner != EVERY_OWNER else caller.owner
    job = {"id": subscription.job_id or "sample-job", "name": "sample", "owner": owner, "status": "FINISHED"}
    plain = {"event": "FINISHED", "message": f"A test of {subscription.id}", "job": job}
    message = Message(origin="http", body=msgspec.json.encode(plain))
    [event] = decode(message, default_tenant=subscription.tenant, tenant_fixed=True, now=utc_now())
    return event
