"""What is told of each attempt: one wide log line, and the metrics."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from logging import DEBUG

import structlog
from prometheus_client import Counter, Histogram

from dispatcher.domain.deliveries import ClaimedDelivery, Outcome, State
from dispatcher.telemetry.log_limit import LogLimit
from dispatcher.telemetry.metrics import ATTEMPT_SECONDS, DELIVERIES, DELIVERY_DELAY

log = structlog.get_logger("dispatcher.delivery")

FAILURE_INTERVAL = 1.0
"""Seconds between two lines about deliveries to a destination that ended in the same way, other than well."""

_failures = LogLimit(FAILURE_INTERVAL)


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
    """The log line of what became of a delivery.

    At debug when it arrived: at two hundred a second these alone were gigabytes a day. What did not is told at info,
    once in FAILURE_INTERVAL for a destination; `more` is how many others there were.
    """
    if outcome.state is State.DELIVERED:
        if log.is_enabled_for(DEBUG):
            _write(log.debug, claimed, outcome, more=0)
    elif (more := _failures.allows(f"{claimed.subscription.destination} {outcome.state}")) is not None:
        _write(log.info, claimed, outcome, more=more)


def _write(write: Callable[..., object], claimed: ClaimedDelivery, outcome: Outcome, *, more: int) -> None:
    subscription, event, attempt = claimed.subscription, claimed.event, outcome.attempt
    write(
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
        more=more,
    )


def _result(outcome: Outcome) -> str:
    return "failed" if outcome.state is State.PENDING else outcome.state.value
