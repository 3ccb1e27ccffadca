"""The quota of deliveries a minute: how many may go now, and when those that are too many are due."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from msgspec import Struct

from dispatcher.domain.destinations import RateLimit, slots

Owner = tuple[str, str]
"""Tenant and name."""

SHARE = 60
"""A process takes the deliveries of a minute divided by this at once, and those that it needs at least."""

HORIZON = 3600.0
"""Seconds: nothing is due later than this for a quota. What is beyond it is due then."""


class Grant(Struct, frozen=True):
    """What a quota of `per_minute` deliveries (0: none) gives of those that a process asked for.

    `granted` may go now. The first of the others is due in `wait` seconds, each further one `interval` seconds later.
    """

    per_minute: int
    granted: int
    wait: float = 0.0

    @property
    def interval(self) -> float:
        """Seconds from one delivery to the next."""
        return 60 / self.per_minute

    def due_at(self, number: int, now: datetime) -> datetime:
        """When the delivery `number` (0 is the first) of those that were not granted is due."""
        return now + timedelta(seconds=min(self.wait + number * self.interval, HORIZON))


def grant(per_minute: int, full_at: float, now: float, needed: int) -> tuple[Grant, float]:
    """What a quota gives to a process that needs so many, and the new `full_at`; see `destinations.slots`.

    What it needs and does not get is owed as well, so that no two deliveries get the same time.
    Nothing is owed beyond HORIZON.
    """
    limit = RateLimit(per_second=per_minute / 60, burst=per_minute)
    given, owed = slots(limit, full_at, now, max(needed, per_minute // SHARE))
    found = Grant(per_minute, given.granted, given.wait)
    if needed > given.granted:
        within = math.floor((HORIZON - given.wait) / found.interval) + 1
        owed += max(0, min(needed - given.granted, within)) * found.interval
    return found, owed
