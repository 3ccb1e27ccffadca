"""What the API answers: what of the domain is shown, and how it is called there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Raw, Struct

from dispatcher.api.match_models import TriedSubscription
from dispatcher.domain.deliveries import State
from dispatcher.domain.destinations import BreakerState, RateLimit
from dispatcher.domain.digests import DigestPolicy
from dispatcher.domain.keys import Scope
from dispatcher.domain.recipients import RecipientState
from dispatcher.domain.retry import RetryPolicy
from dispatcher.domain.subscriptions import SubscriptionStatus

Time: TypeAlias = Annotated[datetime, Meta(tz=True)]


class Accepted(Struct, frozen=True):
    """Number of events stored, number of duplicates, and the IDs of all events in order."""

    accepted: int
    duplicates: int
    ids: list[str]


class EventView(Struct, frozen=True, kw_only=True):
    """An event. `id` is assigned by Dispatcher, `source_id` by the publisher within `source`."""

    id: str
    event: str
    job_id: str
    owner: str | None
    tenant: str
    source: str
    source_id: str
    type: str
    time: Time
    accepted_at: Time


class ListedEvent(EventView, frozen=True, kw_only=True):
    """An event with the number of its deliveries."""

    deliveries: int


class EventDelivery(Struct, frozen=True, kw_only=True):
    """A delivery of an event, and why its subscription matched."""

    id: str
    state: State
    subscription_id: str
    subscription_name: Annotated[str | None, Meta(description="Null if the subscription was deleted.")]
    why: list[str]


class Expanding(Struct, frozen=True):
    """Deliveries of an event that are still to be made, because it or its request caused more than a thousand."""

    remaining: int


class EventDetail(EventView, frozen=True, kw_only=True):
    """An event with its CloudEvent and its latest 100 deliveries."""

    document: Raw
    outcome: Annotated[str, Meta(description="Summary of the deliveries, also when no subscription matched.")]
    deliveries: list[EventDelivery]
    expanding: Annotated[
        Expanding | None,
        Meta(description="What is still to be made of its deliveries; null when nothing is."),
    ]
    subscriptions: Annotated[
        list[TriedSubscription],
        Meta(description="Your 100 newest subscriptions as they are now, and what keeps each from matching."),
    ]


class Replayed(Struct, frozen=True):
    """The new deliveries of a replay."""

    deliveries: list[str]


class RecipientView(Struct, frozen=True, kw_only=True):
    """A recipient of e-mail. `unconfirmed` ones receive none before they confirm; `since` is when they were asked."""

    address: Annotated[str, Meta(examples=["ann@example.org"])]
    state: RecipientState
    since: Time | None
    reason: Annotated[str | None, Meta(description="Reply of the relay that suppressed the address.")]


class SubscriptionView(Struct, frozen=True, kw_only=True):
    """A subscription. Credentials in its target are returned as `***`."""

    id: str
    name: str
    status: SubscriptionStatus
    status_reason: str | None
    events: tuple[str, ...]
    job_id: str | None
    owner: str
    subscriber: Annotated[
        str,
        Meta(
            description="Owner of the key that created it; `*` if only admins see it because it is for jobs of others."
        ),
    ]
    filters: tuple[Mapping[str, object], ...]
    target: Mapping[str, object]
    destination: Annotated[
        str, Meta(description="Destination of the target: scheme, host and port, or the mail relay.")
    ]
    retry: RetryPolicy
    ordered: bool
    persistent: bool
    expires_at: Time | None
    metadata: Mapping[str, object]
    rate_limit: RateLimit | None
    digest: DigestPolicy | None
    previous_secret_until: Annotated[
        Time | None, Meta(description="Until when the previous secret signs too.")
    ]
    created_at: Time
    updated_at: Time
    recipients: Annotated[
        list[RecipientView] | None,
        Meta(description="Recipients of an `email` target; null for all other kinds."),
    ] = None
    public_key: Annotated[
        str | None,
        Meta(description="Public key that verifies `v1a` signatures.", examples=["whpk_…"]),
    ] = None
    certificate_expires_at: Annotated[
        Time | None, Meta(description="When the client certificate in `target.tls` expires.")
    ] = None


class Trial(Struct, frozen=True, kw_only=True):
    """Result of an attempt with a sample event. `duration` is in seconds; `error` is null on success."""

    delivered: bool
    request: str
    status: int | None
    duration: float
    error: str | None
    body: str | None


class LaneView(Struct, frozen=True, kw_only=True):
    """State of a destination in the process that responds: concurrency limit, running attempts, queued in memory."""

    limit: int
    running: int
    queued: int


class DestinationView(Struct, frozen=True, kw_only=True):
    """A destination with its limits and its circuit breaker."""

    key: Annotated[str, Meta(examples=["https://example.org:443"])]
    breaker: BreakerState
    reason: Annotated[
        str | None, Meta(description="The last failure that opened the circuit breaker or kept it open.")
    ]
    opened_at: Time | None
    next_probe_at: Annotated[Time | None, Meta(description="When the next probe is sent; null while closed.")]
    failed_probes: int
    paused_at: Time | None
    paused_reason: str | None
    rate_limit: RateLimit | None
    waiting: Annotated[int, Meta(description="Pending deliveries including retries; counted up to 10 000.")]
    lane: Annotated[LaneView | None, Meta(description="Null if this process sent nothing there recently.")]


class DestinationList(Struct, frozen=True):
    """A page of destinations."""

    items: list[DestinationView]
    next: str | None


class DeliveryView(Struct, frozen=True, kw_only=True):
    """A delivery: one event for one subscription."""

    id: str
    event_id: str
    event: str
    job_id: str
    subscription_id: str
    destination: str
    state: State
    attempts: Annotated[int, Meta(description="Number of them so far.")]
    created_at: Time
    due_at: Annotated[
        Time | None, Meta(description="When the next attempt is due; null if none is scheduled.")
    ]
    ended_at: Time | None
    reason: str | None


class AttemptView(Struct, frozen=True, kw_only=True):
    """One attempt. `duration` is in seconds; `answer` is the beginning of the response body."""

    number: int
    started_at: Time
    duration: float
    request: str
    status: int | None
    error: str | None
    answer: str | None


class DeliveryDetail(DeliveryView, frozen=True, kw_only=True):
    """A delivery with its latest 100 attempts, oldest first."""

    latest_attempts: list[AttemptView]


class Counted(Struct, frozen=True):
    """Number of deliveries that are retried, or would be."""

    count: int


class JobView(Struct, frozen=True, kw_only=True):
    """A job as its events describe it."""

    id: str
    tenant: str
    owner: str | None
    status: str | None
    status_at: Time | None
    terminal: Annotated[bool, Meta(description="Whether the job has ended.")]
    message: str | None
    name: str | None
    app_id: str | None
    system: str | None
    submitted_at: Time | None
    started_at: Time | None
    ended_at: Time | None
    events: Annotated[int, Meta(description="Number of them so far.")]
    first_event: Annotated[str, Meta(description="Id of the first of them, by which jobs are listed.")]
    updated_at: Time


class JobStatus(Struct, frozen=True, kw_only=True):
    """A job's status, and of the event that was waited for, or else of its latest one, the id, time and message.

    All of it is null for a job of which nothing is known.
    """

    job_id: str
    status: str | None
    terminal: Annotated[bool, Meta(description="Whether the job has ended.")]
    reached: Annotated[bool, Meta(description="Whether what was asked for with `until` holds.")]
    event_id: Annotated[str | None, Meta(description="Good for `after`.")]
    time: Time | None
    message: str | None


class HistoryItem(Struct, frozen=True, kw_only=True):
    """One event of a job with a description of its name."""

    id: str
    event: str
    description: str | None
    message: str | None
    time: Time
    accepted_at: Time


class KeyView(Struct, frozen=True, kw_only=True):
    """An API key; the key itself is not stored."""

    id: str
    name: str
    owner: str
    tenant: str
    scopes: tuple[Scope, ...]
    created_at: Time


class Health(Struct, frozen=True):
    """Health of the service and its parts."""

    status: Literal["ok"]
    parts: list[str]
