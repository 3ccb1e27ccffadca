"""Internal errors: an exception that a delivery raises where none should ends that delivery's attempt, and no more."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

import structlog

from dispatcher.delivery.outcomes import retry_or_exhaust
from dispatcher.domain.deliveries import Attempt, OpenDelivery, Outcome
from dispatcher.domain.retry import internal_error_delay
from dispatcher.telemetry.metrics import INTERNAL_ERRORS

log = structlog.get_logger("dispatcher.delivery")

Where = Literal["reserve", "claim", "gate", "send", "outcome", "report", "write"]
"""The step at which an internal error happened; the label of the metric."""


class InternalError(Exception):
    """What a step of a delivery raised although nothing a subscriber or receiver does should; `__cause__` is that."""

    def __init__(self, where: Where, error: Exception, problem: str = "") -> None:
        super().__init__(problem[:1000] or f"internal error ({where}): {type(error).__name__}")
        self.where = where


def record(error: InternalError, **context: object) -> None:
    """Count an internal error and log it with its traceback."""
    log_error(error.where, error.__cause__ or error, **context)


def log_error(where: Where, error: BaseException, **context: object) -> None:
    """Count what a step raised and log it with its traceback."""
    INTERNAL_ERRORS.labels(where).inc()
    log.error("internal error", where=where, exc_info=error, **context)


def failed_inside(delivery: OpenDelivery, error: InternalError, now: datetime) -> Outcome:
    """The outcome of a delivery whose attempt raised: due again a few times with growing delays, then exhausted."""
    attempt = Attempt(
        number=delivery.attempts + 1,
        started_at=now,
        duration=0.0,
        request="",
        status=None,
        error=str(error),
        answer=None,
    )
    tried = attempt.number - delivery.restarted_after
    delay = internal_error_delay(tried, delivery.subscription.retry.retries)
    due_at = None if delay is None else now + timedelta(seconds=delay)
    return retry_or_exhaust(delivery, attempt, str(error), due_at, now)
