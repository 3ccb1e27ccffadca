"""Subscriptions, their policies and recipients, as the API answers them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct


class RateLimit(Struct, frozen=True):
    """How many attempts may begin: `per_second` on average, `burst` of them at once after a quiet time."""

    per_second: float
    burst: int = 1


class Schedule(Struct, frozen=True):
    """Waits in seconds: the first before the first attempt, the next before the second, and so on."""

    schedule: tuple[float, ...]


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """When a failed delivery is retried; `strategy` is none, immediate, delayed, exponential or a Schedule."""

    strategy: str | Schedule = "exponential"
    limit: int = 12
    delay: float = 5
    factor: float = 5
    max_delay: float = 86_400
    jitter: float = 0.2
    max_age: float = 259_200


class DigestPolicy(Struct, frozen=True, kw_only=True):
    """Many events in one message: after `wait` seconds, then every `interval`."""

    wait: float = 0
    interval: float = 300
    group_by: tuple[str, ...] = ()
    max_rows: int = 100


class Recipient(Struct, frozen=True, kw_only=True):
    """A recipient of e-mail: active, unconfirmed, unsubscribed or refused."""

    address: str
    state: str
    since: datetime | None = None
    reason: str | None = None


class Subscription(Struct, frozen=True, kw_only=True):
    """A subscription: active, paused, disabled or completed. Credentials in its target are `***`."""

    id: str
    name: str = ""
    status: str
    status_reason: str | None = None
    events: tuple[str, ...]
    job_id: str | None = None
    owner: str
    subscriber: str = ""
    filters: tuple[dict[str, Any], ...] = ()
    target: dict[str, Any]
    destination: str
    retry: RetryPolicy = RetryPolicy()
    ordered: bool = False
    persistent: bool = True
    expires_at: datetime | None = None
    metadata: dict[str, Any] = {}
    rate_limit: RateLimit | None = None
    digest: DigestPolicy | None = None
    previous_secret_until: datetime | None = None
    created_at: datetime
    updated_at: datetime
    recipients: list[Recipient] | None = None
    public_key: str | None = None
    certificate_expires_at: datetime | None = None


class SubscriptionWithSecret(Subscription, frozen=True, kw_only=True):
    """A subscription with its new signing secret, which cannot be shown again."""

    secret: str

    def __repr__(self) -> str:
        # Its secret has no place in a traceback or a log.
        return f"SubscriptionWithSecret({self.id}, secret ***)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("id", self.id)]


class FailedCondition(Struct, frozen=True):
    """What keeps an event from matching: the field of the subscription, and what is wrong there."""

    field: str
    problem: str


class TriedEvent(Struct, frozen=True, kw_only=True):
    """An event, and whether a subscription matches it. `id` is None if the event was given and not stored."""

    id: str | None = None
    event: str
    job_id: str
    owner: str | None = None
    time: datetime
    matches: bool
    failed: list[FailedCondition] = []


class MatchList(Struct, frozen=True):
    """The events that were tried, newest first, and how many of them match."""

    items: list[TriedEvent]
    matched: int


class TriedSubscription(Struct, frozen=True, kw_only=True):
    """A subscription, and whether it matches an event as it is now."""

    id: str
    name: str = ""
    matches: bool
    failed: list[FailedCondition] = []


class TestResult(Struct, frozen=True, kw_only=True):
    """Result of an attempt with a sample event. `duration` is in seconds; `error` is None on success."""

    __test__ = False  # pytest collects classes of this name

    delivered: bool
    request: str
    status: int | None = None
    duration: float
    error: str | None = None
    body: str | None = None
