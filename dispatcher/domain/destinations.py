"""Destinations: what shares a fate, how fast it may be asked, and whether its breaker lets anything through."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated, Literal, NamedTuple

from msgspec import Meta, Struct

from dispatcher.domain.errors import InvalidInput

BreakerState = Literal["closed", "open", "half_open"]
"""`open`: nothing goes out until its time. `half_open`: one delivery goes out now and then, to see."""


LONGEST_INTERVAL = 86_400.0
"""Seconds: the slowest that a rate limit can be. A lower rate that is stored already counts as this one."""


class RateLimit(Struct, frozen=True, forbid_unknown_fields=True):
    """How many attempts may begin: `per_second` on average, `burst` of them at once after a quiet time."""

    per_second: Annotated[float, Meta(gt=0, le=10_000)]
    burst: Annotated[int, Meta(ge=1, le=100_000)] = 1

    def check(self, field: str = "rate_limit") -> None:
        """Raise InvalidInput when it is slower than one attempt in LONGEST_INTERVAL."""
        if self.per_second < 1 / LONGEST_INTERVAL:
            raise InvalidInput(
                f"{field}.per_second",
                f"expected at least {1 / LONGEST_INTERVAL:.6g} (one a day), got {self.per_second:g}",
            )

    @property
    def interval(self) -> float:
        """Seconds from one attempt to the next."""
        return min(LONGEST_INTERVAL, 1 / self.per_second)

    @property
    def tolerance(self) -> float:
        """Seconds that an attempt may come too early: what `burst` saves up."""
        return self.interval * (self.burst - 1)


class Destination(Struct, frozen=True, kw_only=True):
    """What the store knows of a destination, the same for all processes.

    `open_until` is when the breaker lets the next probe through, None while it is closed; `opened_at` when it opened
    first, `openings` how often in a row. `paused_at` is set while somebody holds it.
    """

    key: str
    open_until: datetime | None = None
    opened_at: datetime | None = None
    openings: int = 0
    reason: str | None = None
    paused_at: datetime | None = None
    paused_reason: str | None = None
    rate_limit: RateLimit | None = None
    asked: bool = False
    """Whether it is open because receivers asked to wait (Retry-After), which no answer in between ends."""

    def breaker(self, now: datetime) -> BreakerState:
        """Where its breaker stands."""
        if self.open_until is None:
            return "closed"
        return "open" if self.open_until > now else "half_open"

    @property
    def blocked(self) -> bool:
        """Whether nothing but a probe may go out."""
        return self.open_until is not None or self.paused_at is not None


class Breaker(Struct, frozen=True, kw_only=True):
    """A breaker within a destination: of one subscription, or of all subscriptions of one owner there.

    `key` is the subscription's id, or `owner_key`. `open_until`, `opened_at`, `openings`, `reason` and `asked` mean
    what they do for a destination. `alone`: as far as is known nothing else arrives at the destination, so that it is
    shown as open.
    """

    key: str
    destination: str
    open_until: datetime | None
    opened_at: datetime | None = None
    openings: int = 0
    reason: str | None = None
    asked: bool = False
    alone: bool = False


class HealthChanges(Struct, frozen=True, kw_only=True):
    """Destinations and breakers that changed, as they are now, and from when on to ask the next time.

    Some are returned twice: what a transaction changes is seen when it ends. `more`: there is more at once.
    """

    destinations: list[Destination]
    breakers: list[Breaker]
    until: datetime
    more: bool = False


def owner_key(destination: str, tenant: str, owner: str) -> str:
    """The key of what the subscriptions of one owner share at a destination."""
    return f"{tenant}/{owner} at {destination}"


class Scopes(NamedTuple):
    """The keys of the three breakers that a delivery has to pass, the narrowest first."""

    subscription: str
    owner: str
    destination: str


class Slots(Struct, frozen=True):
    """What a rate limit gave: how many attempts may begin now, and in how many seconds the next may."""

    granted: int
    wait: float


def slots(limit: RateLimit, full_at: float, now: float, wanted: int) -> tuple[Slots, float]:
    """How many of `wanted` attempts may begin, and the new `full_at`: the generic cell rate algorithm (ITU-T I.371).

    `full_at` (seconds) is when everything granted so far is paid for at the limit's rate.
    """
    owed = max(full_at, now)
    free = math.floor((now + limit.tolerance - owed) / limit.interval + 1 + 1e-9)
    granted = max(0, min(wanted, free))
    owed += granted * limit.interval
    return Slots(granted, max(0.0, owed - limit.tolerance - now)), owed
