"""When a request is sent again: after what passes, and never when that could do a second time what was done once."""

from __future__ import annotations

import random
import time

from msgspec import Struct

from dispatcher.client.errors import TransportError
from dispatcher.client.exchange import Request, Response

_REFUSED = 429
"""The server did nothing, and says so: any request can be sent again."""

_UNCERTAIN = (502, 503, 504)
"""The server may have done it: a database that failed while it committed is a 503 too, and proxies respond with all."""


class Retries(Struct, frozen=True, kw_only=True):
    """How often a request is sent, and how long is waited in between: doubled from time to time, with jitter.

    A `Retry-After` of the server is waited for, but a longer one than `max_delay` ends the retries: the error says it.
    So does a pause that would last until the deadline of the request.
    """

    attempts: int = 4
    first_delay: float = 0.5
    max_delay: float = 30.0

    def delay(self, attempt: int, request: Request, outcome: Response | TransportError) -> float | None:
        """Seconds to wait after this attempt, the first is 1; None when the outcome stands."""
        most = self.attempts if request.attempts is None else min(self.attempts, request.attempts)
        if attempt >= most or not _is_retryable(request, outcome):
            return None
        pause = self._pause(attempt, outcome)
        late = request.deadline is not None and time.monotonic() + pause >= request.deadline
        return None if pause > self.max_delay or late else pause

    def _pause(self, attempt: int, outcome: Response | TransportError) -> float:
        asked = None if isinstance(outcome, TransportError) else outcome.retry_after
        return self._backoff(attempt) if asked is None else asked

    def _backoff(self, attempt: int) -> float:
        longest = min(self.max_delay, self.first_delay * 2.0 ** min(attempt - 1, 60))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads clients, hides nothing


NO_RETRIES = Retries(attempts=1)
"""Every request is sent once."""


def may_be_done(outcome: Response | TransportError) -> bool:
    """Whether an attempt that ended so may have been carried out all the same."""
    return outcome.sent if isinstance(outcome, TransportError) else outcome.status in _UNCERTAIN


def _is_retryable(request: Request, outcome: Response | TransportError) -> bool:
    if may_be_done(outcome):
        return request.repeatable
    return isinstance(outcome, TransportError) or outcome.status == _REFUSED
