"""What the result of an attempt teaches of its destination: how much may run at once, and whether anything may."""

from __future__ import annotations

import time

from dispatcher.delivery.breakers import Breakers
from dispatcher.delivery.lanes import Lane
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import AttemptResult

TOO_MANY = 429
"""The status of a destination that wants fewer requests at once (RFC 6585)."""


def learn(
    breakers: Breakers, subscription: Subscription, lane: Lane, result: AttemptResult, began: float
) -> None:
    """Adapt to how the destination answers. `began` is when the attempt did, on the clock of `time.perf_counter`."""
    key, scopes = subscription.id, subscription.scopes
    if result.error is None and result.status != TOO_MANY and not result.overloaded:
        lane.on_success(key)
        if breakers.answered(scopes):
            lane.reset(key)
        return
    idle = result.not_attempted and result.destination_error is None and not result.overloaded
    if idle or result.not_sent:
        return  # nothing was asked of the destination
    now = time.perf_counter()
    reason = result.destination_error or result.error or ""
    # A destination that works asks for nothing: that one delivery is tried at a certain time is the target's own idea.
    if result.retry_after and not result.healthy:
        lane.on_failure(key, began, now, all_=result.overloaded)
        breakers.asked_to_wait(scopes, result.retry_after, reason)
    elif result.is_destination_failure:
        lane.on_failure(key, began, now, all_=result.destination_down)
        breakers.failed(scopes, reason, down=result.destination_down, shared=not result.concerns_subscription)
    else:
        if result.status == TOO_MANY or result.overloaded:
            lane.on_failure(key, began, now, all_=result.overloaded)
        else:
            lane.on_success(key)
        if breakers.answered(scopes):
            lane.reset(key)
