"""What is told of each attempt: one wide log line, and the metrics."""

from __future__ import annotations

from functools import cache

import structlog
from prometheus_client import Counter, Histogram

from dispatcher.domain.deliveries import ClaimedDelivery, Outcome, State
from dispatcher.telemetry.metrics import ATTEMPT_SECONDS, DELIVERIES, DELIVERY_DELAY

log = structlog.get_logger("dispatcher.delivery")


@cache
def _counter(kind: str, outcome: str) -> Counter:
    return DELIVERIES.labels(kind, outcome)


@cache
def _seconds(kind: str) -> Histogram:
    return ATTEMPT_SECONDS.labels(kind)


def report(claimed: ClaimedDelivery, outcome: Outcome) -> None:
    """Log and count what became of a delivery."""
    count(claimed, outcome)
    tell(claimed, outcome)


def count(claimed: ClaimedDelivery, outcome: Outcome) -> None:
    """The metrics of what became of a delivery."""
    kind = claimed.subscription.kind
    _counter(kind, _result(outcome)).inc()
    if outcome.attempt is not None:
        _seconds(kind).observe(outcome.attempt.duration)
    if outcome.state is State.DELIVERED and outcome.ended_at is not None:
        DELIVERY_DELAY.observe((outcome.ended_at - claimed.event.accepted_at).total_seconds())


def count_members(claimed: ClaimedDelivery, outcome: Outcome, members: int) -> None:
    """The metrics of deliveries that were tried with this one, in the same message."""
    _counter(claimed.subscription.kind, _result(outcome)).inc(members)


def tell(claimed: ClaimedDelivery, outcome: Outcome) -> None:
    """The log line of what became of a delivery."""
    subscription, event, attempt = claimed.subscription, claimed.event, outcome.attempt
    log.info(
        "attempt" if attempt is not None else "no attempt",
        delivery=claimed.id,
        name=event.event,
        job=event.job_id,
        subscription=subscription.id,
        destination=subscription.destination,
        number=outcome.attempts,
        outcome=_result(outcome),
        status=attempt.status if attempt is not None else None,
        ms=round(attempt.duration * 1000, 1) if attempt is not None else None,
        error=outcome.reason,
        due=outcome.due_at,
    )


def _result(outcome: Outcome) -> str:
    return "failed" if outcome.state is State.PENDING else outcome.state.value
