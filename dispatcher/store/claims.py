"""Claims: deliveries that a process has taken, and the outcome of those whose subscription is not in use."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct

from dispatcher.domain.deliveries import OpenDelivery, Outcome, State
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.retry import INTERNAL_ERROR_DELAYS, internal_error_delay
from dispatcher.domain.subscriptions import Subscription
from dispatcher.store.subscription_writes import REMOVED

CLAIM_BYTES = 32 * 1024 * 1024
"""Bytes of documents that one claim reads; deliveries of other events are given back."""


class Claim(Struct, frozen=True):
    """A delivery that was claimed, before it is known whether its subscription still wants it.

    There is no event when all documents of the claim were more than CLAIM_BYTES.
    """

    id: str
    event: Event | None
    subscription_id: str
    attempts: int
    restarted_after: int
    since: datetime | None


def claimed(
    claim: Claim, event: Event, subscription: Subscription, lease_id: int, attempt_state: str | None
) -> OpenDelivery:
    """What the engine gets of a claim."""
    return OpenDelivery(
        id=claim.id,
        event=event,
        subscription=subscription,
        lease_id=lease_id,
        since=claim.since,
        attempts=claim.attempts,
        restarted_after=claim.restarted_after,
        attempt_state=attempt_state,
    )


def given_back(claim: Claim) -> Outcome:
    """What becomes of a delivery whose event was not read: it is due again."""
    return Outcome(
        delivery_id=claim.id,
        state=State.PENDING,
        attempts=claim.attempts,
        due_at=utc_now(),
        ended_at=None,
        reason=None,
        attempt=None,
    )


def unreadable(claim: Claim) -> Outcome:
    """What becomes of a delivery whose subscription cannot be read: tried again a few times, then exhausted."""
    number, now = claim.attempts + 1, utc_now()
    delay = internal_error_delay(number - claim.restarted_after, len(INTERNAL_ERROR_DELAYS))
    return Outcome(
        delivery_id=claim.id,
        state=State.EXHAUSTED if delay is None else State.PENDING,
        attempts=number,
        due_at=None if delay is None else now + timedelta(seconds=delay),
        ended_at=now if delay is None else None,
        reason="internal error: the subscription cannot be read",
        attempt=None,
        ordered=delay is None,
    )


def without(claim: Claim, subscription: Subscription | None) -> Outcome:
    """What becomes of a delivery whose subscription is not in use: held while it is paused, else ended."""
    state, reason = _end_of(subscription)
    return Outcome(
        delivery_id=claim.id,
        state=state,
        attempts=claim.attempts,
        due_at=None,
        ended_at=utc_now() if state.final else None,
        reason=reason,
        attempt=None,
        ordered=state.final and (subscription is None or subscription.ordered),
    )


def _end_of(subscription: Subscription | None) -> tuple[State, str | None]:
    if subscription is None:
        return State.CANCELLED, REMOVED
    if subscription.status == "paused":
        return State.PENDING, None
    state = State.SUPERSEDED if subscription.status == "completed" else State.CANCELLED
    return state, subscription.status_reason or f"the subscription is {subscription.status}"
