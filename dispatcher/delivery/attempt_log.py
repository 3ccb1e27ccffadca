"""What is logged and counted of each attempt: one wide log line, and the metrics."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from dispatcher.domain.deliveries import OpenDelivery, Outcome, State
from dispatcher.telemetry import logs
from dispatcher.telemetry.log_limit import LogLimit
from dispatcher.telemetry.metrics import ATTEMPT_SECONDS, DELIVERIES, DELIVERY_DELAY

log = structlog.get_logger("dispatcher.delivery")

FAILURE_INTERVAL = 1.0
"""Seconds between two lines about deliveries to a destination that ended in the same way, other than well."""

_failures = LogLimit(FAILURE_INTERVAL)
_RESULTS = {state: "failed" if state is State.PENDING else state.value for state in State}


def report(delivery: OpenDelivery, outcome: Outcome) -> None:
    """Log and count what became of a delivery."""
    count(delivery, outcome)
    log_outcome(delivery, outcome)


def count(delivery: OpenDelivery, outcome: Outcome) -> None:
    """The metrics of what became of a delivery."""
    kind = delivery.subscription.kind
    DELIVERIES.add(kind, _RESULTS[outcome.state])
    if outcome.attempt is not None:
        ATTEMPT_SECONDS.observe(outcome.attempt.duration, kind)
    if outcome.state is State.DELIVERED and outcome.ended_at is not None:
        DELIVERY_DELAY.observe((outcome.ended_at - delivery.event.accepted_at).total_seconds())


def count_members(delivery: OpenDelivery, outcome: Outcome, members: int) -> None:
    """The metrics of deliveries that were tried with this one, in the same message."""
    DELIVERIES.add(delivery.subscription.kind, _RESULTS[outcome.state], count=members)


def log_outcome(delivery: OpenDelivery, outcome: Outcome) -> None:
    """The log line of what became of a delivery.

    At debug when it arrived: at two hundred a second these alone were gigabytes a day. What did not is logged at info,
    once in FAILURE_INTERVAL for a destination; `more` is how many others there were.
    """
    if outcome.state is State.DELIVERED:
        if logs.debug_is_on():
            _write(log.debug, delivery, outcome, more=0)
    elif (more := _failures.allows(f"{delivery.subscription.destination} {outcome.state}")) is not None:
        _write(log.info, delivery, outcome, more=more)


def _write(write: Callable[..., object], delivery: OpenDelivery, outcome: Outcome, *, more: int) -> None:
    subscription, event, attempt = delivery.subscription, delivery.event, outcome.attempt
    write(
        "attempt" if attempt is not None else "no attempt",
        delivery=delivery.id,
        name=event.event,
        job=event.job_id,
        subscription=subscription.id,
        destination=subscription.destination,
        number=outcome.attempts,
        outcome=_RESULTS[outcome.state],
        status=attempt.status if attempt is not None else None,
        ms=round(attempt.duration * 1000, 1) if attempt is not None else None,
        error=outcome.reason,
        due=outcome.due_at,
        more=more,
    )
