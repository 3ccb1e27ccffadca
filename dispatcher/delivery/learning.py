"""What the answer to an attempt teaches of its destination: how much may run at once, and whether anything may."""

from __future__ import annotations

import time

from dispatcher.delivery.breakers import Breakers
from dispatcher.delivery.lanes import Lane
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import AttemptResult

TOO_MANY = 429
"""The answer of a destination that wants fewer requests at once (RFC 6585)."""


def learn(
    breakers: Breakers, subscription: Subscription, lane: Lane, answer: AttemptResult, began: float
) -> None:
    """Adapt to how the destination answers. `began` is when the attempt did, on the clock of `time.perf_counter`."""
    key, scopes = subscription.id, subscription.scopes
    if answer.error is None and answer.status != TOO_MANY and not answer.overloaded:
        lane.succeeded(key)
        if breakers.answered(scopes):
            lane.restart(key)
        return
    idle = answer.not_attempted and answer.destination_error is None and not answer.overloaded
    if idle or answer.not_sent:
        return  # nothing was asked of the destination
    now = time.perf_counter()
    reason = answer.destination_error or answer.error or ""
    # A destination that works asks for nothing: that one delivery is tried at a certain time is the target's own idea.
    if answer.retry_after and not answer.healthy:
        lane.failed(key, began, now, all_=answer.overloaded)
        breakers.asked_to_wait(scopes, answer.retry_after, reason)
    elif answer.is_destination_failure:
        lane.failed(key, began, now, all_=answer.destination_down)
        breakers.failed(scopes, reason, down=answer.destination_down)
    else:
        if answer.status == TOO_MANY or answer.overloaded:
            lane.failed(key, began, now, all_=answer.overloaded)
        else:
            lane.succeeded(key)
        if breakers.answered(scopes):
            lane.restart(key)
