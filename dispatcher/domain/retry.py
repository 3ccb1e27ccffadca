"""Retry policies: how long to wait before each attempt, and when to stop."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

MAX_RETRY_AFTER = 86_400.0
"""Seconds: the longest that a receiver's Retry-After can move the next attempt."""

EARLY_RETRY = 1.0
"""Seconds: the longest wait after a connection that was closed before the request could be answered."""

INTERNAL_ERROR_DELAYS = (1.0, 10.0, 60.0)
"""Seconds to wait after each internal error of a delivery; after the last one it is exhausted."""

Seconds = Annotated[float, Meta(ge=0, le=2_592_000)]


class Schedule(Struct, frozen=True, forbid_unknown_fields=True):
    """Waits in seconds: the first before the first attempt, the next before the second, and so on."""

    # One attempt and as many retries as `limit` allows.
    schedule: Annotated[tuple[Seconds, ...], Meta(min_length=1, max_length=1441)]


class RetryPolicy(Struct, frozen=True, forbid_unknown_fields=True):
    """When a failed delivery is tried again.

    `limit` counts retries after the first attempt. `delay`, `max_delay` and `max_age` are seconds; `max_age` counts
    from the acceptance of the event. `jitter` is a share of the delay: 0.2 spreads it by ±20 %.
    """

    strategy: Literal["none", "immediate", "delayed", "exponential"] | Schedule = "exponential"
    limit: Annotated[int, Meta(ge=0, le=1440)] = 12
    delay: Seconds = 5
    factor: Annotated[float, Meta(ge=1, le=100)] = 5
    max_delay: Seconds = 86_400
    jitter: Annotated[float, Meta(ge=0, le=1)] = 0.2
    max_age: Seconds = 259_200

    @property
    def retries(self) -> int:
        """How many retries there can be."""
        if isinstance(self.strategy, Schedule):
            return len(self.strategy.schedule) - 1
        return 0 if self.strategy == "none" else self.limit

    @property
    def first_delay(self) -> float:
        """Seconds from the acceptance of the event to the first attempt."""
        return self.strategy.schedule[0] if isinstance(self.strategy, Schedule) else 0.0

    def delay_after(self, attempts: int, chance: float) -> float | None:
        """Seconds to wait after `attempts` failed ones, or None when there is no further retry.

        `chance` is a random number in [0, 1) that places the delay within its jitter.
        """
        if attempts > self.retries:
            return None
        return self._bare_delay(attempts) * (1 + self.jitter * (2 * chance - 1))

    def _bare_delay(self, attempts: int) -> float:
        if isinstance(self.strategy, Schedule):
            return self.strategy.schedule[attempts]
        if self.strategy == "delayed":
            return self.delay
        if self.strategy == "exponential":
            # The power is capped because a float overflows long before 1440 retries of factor 100.
            return min(self.max_delay, self.delay * self.factor ** min(attempts - 1, 100))
        return 0.0


def internal_error_delay(attempts: int, retries: int) -> float | None:
    """Seconds to wait after an internal error in the last of `attempts`, None when it is not tried again.

    `retries` is how many the policy allows. The policy's delays are not used: they may be what failed.
    """
    if attempts > retries or attempts > len(INTERNAL_ERROR_DELAYS):
        return None
    return INTERNAL_ERROR_DELAYS[attempts - 1]
