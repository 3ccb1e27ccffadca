"""Events that go round: refused when they have passed through here too often, counted, and logged now and then."""

from __future__ import annotations

import time

import structlog

from dispatcher.domain.errors import InvalidInput
from dispatcher.telemetry.metrics import LOOPS

log = structlog.get_logger("dispatcher.intake")

_LOG_SECONDS = 60.0
"""Between two lines in the log: a loop goes as fast as the machine does."""


class TooManyHops(InvalidInput):
    """An event has passed through Dispatcher more often than it may."""


class LoopLog:
    """Counts refused events, and says so at most once a minute."""

    def __init__(self) -> None:
        self._next = 0.0
        self._unsaid = 0

    def refused(self, refusal: TooManyHops, origin: str) -> None:
        """Take note of one refused event, or of the message that it came in."""
        LOOPS.labels(origin).inc()
        self._unsaid += 1
        now = time.monotonic()
        if now >= self._next:
            log.warning(
                "a subscription delivers to this service itself",
                source=origin,
                problem=refusal.problem,
                refused=self._unsaid,
            )
            self._next, self._unsaid = now + _LOG_SECONDS, 0
