"""Retention: for how long what has ended is kept, and what a run of it did."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta

from msgspec import Struct

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


class Keep(Struct, frozen=True, kw_only=True):
    """For how long deliveries are kept.

    `delivered` is for delivered and superseded ones, `exhausted` for exhausted and cancelled ones, and not shorter.
    Both count from the end; but what goes with its partition may go when so much time has passed since it was made.
    Attempts go with their delivery. Events, jobs and permissions stay as long as a delivery of the event is there,
    and at least for `delivered`.
    """

    delivered: timedelta = 30 * DAY
    exhausted: timedelta = 90 * DAY

    @property
    def width(self) -> timedelta:
        """Which time one partition holds: so much that some four or five hold what is kept of delivered.

        Whole days, or whole minutes where what is delivered is kept for less than a day.
        """
        unit = DAY if self.delivered >= DAY else MINUTE
        return max(self.delivered // 4 // unit, 1) * unit


DEFAULT = Keep()

Purge = Callable[[Keep], Awaitable[Mapping[str, int]]]
"""Deletes what was kept for long enough of some tables. How many rows of each."""


class Kept(Struct, frozen=True, kw_only=True):
    """What one run of retention did, and what it found. The keys are the names of tables.

    `deleted` are rows, `dropped` partitions, `standing` partitions that are too old and could not be dropped yet,
    `ahead` those whose time has not begun. Without partitions the last three are empty.
    """

    deleted: Mapping[str, int]
    oldest_event: datetime | None
    dropped: Mapping[str, int] = {}
    standing: Mapping[str, int] = {}
    ahead: Mapping[str, int] = {}
