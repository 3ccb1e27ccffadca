"""Deliveries and destinations, as the API answers them."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec import Struct

from dispatcher.client.models.subscriptions import RateLimit

OPEN_STATES = ("pending", "delivering")
"""States of a delivery that has not ended; the others are delivered, exhausted, cancelled and superseded."""


class Lane(Struct, frozen=True, kw_only=True):
    """A destination in the process that responds: concurrency limit, running attempts, queued in memory."""

    limit: int
    running: int
    queued: int


class Destination(Struct, frozen=True, kw_only=True):
    """A destination with its limits and its circuit breaker."""

    key: str
    breaker: str
    reason: str | None = None
    opened_at: datetime | None = None
    next_probe_at: datetime | None = None
    failed_probes: int = 0
    paused_at: datetime | None = None
    paused_reason: str | None = None
    rate_limit: RateLimit | None = None
    waiting: int = 0
    lane: Lane | None = None


class Delivery(Struct, frozen=True, kw_only=True):
    """A delivery: one event for one subscription."""

    id: str
    event_id: str
    event: str
    job_id: str
    subscription_id: str
    destination: str = ""
    state: str
    attempts: int
    created_at: datetime
    due_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more happens by itself."""
        return self.state not in OPEN_STATES


class Attempt(Struct, frozen=True, kw_only=True):
    """One attempt. `duration` is in seconds; `answer` is the beginning of the response body."""

    number: int
    started_at: datetime
    duration: float
    request: str = ""
    status: int | None = None
    error: str | None = None
    answer: str | None = None

    @property
    def ended_at(self) -> datetime:
        """When it ended."""
        return self.started_at + timedelta(seconds=self.duration)


class DeliveryDetail(Delivery, frozen=True, kw_only=True):
    """A delivery with its latest 100 attempts, oldest first."""

    latest_attempts: list[Attempt]


class Counted(Struct, frozen=True):
    """Number of deliveries that are retried, or would be."""

    count: int
