"""When a request is sent again: after 429 and 503, after lost connections, and never when that could do harm."""

from __future__ import annotations

import random

from msgspec import Struct

from dispatcher.client.errors import TransportError
from dispatcher.client.exchange import Request, Response

_REFUSED = (429, 503)
"""The server did nothing, and says so: any request can be sent again."""

_FROM_PROXIES = (502, 504)
"""The server may have done it."""


class Retries(Struct, frozen=True, kw_only=True):
    """How often a request is sent, and how long is waited in between: doubled from time to time, with jitter.

    A `Retry-After` of the server is waited for, but a longer one than `max_delay` ends the retries: the error says it.
    """

    attempts: int = 4
    first_delay: float = 0.5
    max_delay: float = 30.0

    def delay(self, attempt: int, request: Request, outcome: Response | TransportError) -> float | None:
        """Seconds to wait after this attempt, the first is 1; None when the outcome stands."""
        most = self.attempts if request.attempts is None else min(self.attempts, request.attempts)
        if attempt >= most or not _is_retryable(request, outcome):
            return None
        asked = None if isinstance(outcome, TransportError) else outcome.retry_after
        if asked is None:
            return self._backoff(attempt)
        return asked if asked <= self.max_delay else None

    def _backoff(self, attempt: int) -> float:
        longest = min(self.max_delay, self.first_delay * 2.0 ** min(attempt - 1, 60))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads clients, hides nothing


NO_RETRIES = Retries(attempts=1)
"""Every request is sent once."""


def _is_retryable(request: Request, outcome: Response | TransportError) -> bool:
    if isinstance(outcome, TransportError):
        return request.repeatable or not outcome.sent
    return outcome.status in _REFUSED or (request.repeatable and outcome.status in _FROM_PROXIES)
