"""What the API answers: what of the domain is shown, and how it is called there."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Raw, Struct

from dispatcher.domain.deliveries import State
from dispatcher.domain.destinations import BreakerState, RateLimit
from dispatcher.domain.digests import DigestPolicy
from dispatcher.domain.keys import Scope
from dispatcher.domain.quotas import Quotas
from dispatcher.domain.retry import RetryPolicy
from dispatcher.domain.subscriptions import SubscriptionStatus
from dispatcher.store.contract import Page

Time: TypeAlias = Annotated[datetime, Meta(tz=True)]


class Accepted(Struct, frozen=True):
    """How many events were stored, how many were there already, and the ids of all of them in their order."""

    accepted: int
    duplicates: int
    ids: list[str]


class EventView(Struct, frozen=True, kw_only=True):
    """An event. `id` is Dispatcher's, `source_id` the one that its publisher gave it within `source`."""

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
    """An event in a list, and how many deliveries it caused."""

    deliveries: int


class EventDelivery(Struct, frozen=True, kw_only=True):
    """A delivery that an event caused, and why its subscription wants the event, in words."""

    id: str
    state: State
    subscription_id: str
    subscription_name: Annotated[
        str | None, Meta(description="Null when the subscription was removed since.")
    ]
    why: list[str]


class Expanding(Struct, frozen=True):
    """Deliveries of an event that are still to be made, because it or its request caused more than a thousand."""

    remaining: int


class EventDetail(EventView, frozen=True, kw_only=True):
    """An event as a whole: its CloudEvent, and whom it reached (the latest hundred)."""

    document: Raw
    outcome: Annotated[str, Meta(description="Whom it reached, in words; also when nobody wanted it.")]
    deliveries: list[EventDelivery]
    expanding: Annotated[
        Expanding | None,
        Meta(description="What is still to be made of its deliveries; null when nothing is."),
    ]


class Replayed(Struct, frozen=True):
    """The new deliveries."""

    deliveries: list[str]


RecipientState = Literal["active", "unconfirmed", "unsubscribed", "refused"]


class RecipientView(Struct, frozen=True, kw_only=True):
    """A recipient of e-mail. `unconfirmed` ones get none before they agree; `since` is when they were asked."""

    address: Annotated[str, Meta(examples=["ann@example.org"])]
    state: RecipientState
    since: Time | None
    reason: Annotated[
        str | None, Meta(description="What the relay said when it refused the address for good.")
    ]


class SubscriptionView(Struct, frozen=True, kw_only=True):
    """A subscription. Credentials in its target are shown as `***`."""

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
            description="The owner of the key that made it; `*` when only admins see it, as it is for others' jobs."
        ),
    ]
    filters: tuple[Mapping[str, object], ...]
    target: Mapping[str, object]
    destination: Annotated[
        str, Meta(description="What shares a fate with it: scheme, host and port, or the relay.")
    ]
    retry: RetryPolicy
    ordered: bool
    persistent: bool
    expires_at: Time | None
    metadata: Mapping[str, object]
    rate_limit: RateLimit | None
    digest: DigestPolicy | None
    previous_secret_until: Annotated[
        Time | None, Meta(description="Until when the secret before the last rotation signs too.")
    ]
    created_at: Time
    updated_at: Time
    recipients: Annotated[
        list[RecipientView] | None, Meta(description="Of a target of the kind `email`; null for all others.")
    ] = None
    public_key: Annotated[
        str | None,
        Meta(description="What checks the signatures `v1a` that its target asks for.", examples=["whpk_…"]),
    ] = None


class SubscriptionWithSecret(SubscriptionView, frozen=True, kw_only=True):
    """A subscription with its new signing secret, which is shown only here."""

    secret: Annotated[str, Meta(examples=["whsec_…"])]


class Trial(Struct, frozen=True, kw_only=True):
    """How an attempt with a sample event ended. `duration` is seconds; `error` is null when it arrived."""

    delivered: bool
    request: str
    status: int | None
    duration: float
    error: str | None
    body: str | None


class LaneView(Struct, frozen=True, kw_only=True):
    """What the process that answers does for a destination: attempts at most at once, running, queued in memory."""

    limit: int
    running: int
    queued: int


class DestinationView(Struct, frozen=True, kw_only=True):
    """A destination: what shares a fate."""

    key: Annotated[str, Meta(examples=["https://example.org:443"])]
    breaker: BreakerState
    reason: Annotated[str | None, Meta(description="The failure that opened the breaker, or kept it open.")]
    opened_at: Time | None
    next_probe_at: Annotated[Time | None, Meta(description="When one delivery is tried; null while closed.")]
    failed_probes: int
    paused_at: Time | None
    paused_reason: str | None
    rate_limit: RateLimit | None
    waiting: Annotated[
        int, Meta(description="Deliveries in the store that wait for it, for a retry too; at most 10 000.")
    ]
    lane: Annotated[LaneView | None, Meta(description="Null when this process had nothing for it lately.")]


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
    attempts: Annotated[int, Meta(description="How many there were.")]
    created_at: Time
    due_at: Annotated[
        Time | None, Meta(description="When it is tried next; null when nothing waits for a time.")
    ]
    ended_at: Time | None
    reason: str | None


class AttemptView(Struct, frozen=True, kw_only=True):
    """One try. `duration` is seconds; `answer` is the beginning of what came back."""

    number: int
    started_at: Time
    duration: float
    request: str
    status: int | None
    error: str | None
    answer: str | None


class DeliveryDetail(DeliveryView, frozen=True, kw_only=True):
    """A delivery with its latest hundred attempts, the first one first."""

    latest_attempts: list[AttemptView]


class Counted(Struct, frozen=True):
    """How many deliveries are sent again, or would be."""

    count: int


class JobView(Struct, frozen=True, kw_only=True):
    """What is known of a job from its events."""

    id: str
    tenant: str
    owner: str | None
    status: str | None
    status_at: Time | None
    terminal: Annotated[bool, Meta(description="Whether it has ended.")]
    message: str | None
    name: str | None
    app_id: str | None
    system: str | None
    submitted_at: Time | None
    started_at: Time | None
    ended_at: Time | None
    events: Annotated[int, Meta(description="How many there were.")]
    updated_at: Time


class JobStatus(Struct, frozen=True, kw_only=True):
    """A job's status, and of the event that was waited for, or else of its latest one, the id, time and message.

    All of it is null for a job of which nothing is known.
    """

    job_id: str
    status: str | None
    terminal: Annotated[bool, Meta(description="Whether it has ended.")]
    reached: Annotated[bool, Meta(description="Whether what was asked for with `until` holds.")]
    event_id: Annotated[str | None, Meta(description="Good for `after`.")]
    time: Time | None
    message: str | None


class HistoryItem(Struct, frozen=True, kw_only=True):
    """One event of a job, and what its name means."""

    id: str
    event: str
    description: str | None
    message: str | None
    time: Time
    accepted_at: Time


class KeyView(Struct, frozen=True, kw_only=True):
    """A key; its text is not kept."""

    id: str
    name: str
    owner: str
    tenant: str
    scopes: tuple[Scope, ...]
    created_at: Time


class KeyWithText(KeyView, frozen=True, kw_only=True):
    """A new key with its text, which is shown only here."""

    key: Annotated[str, Meta(examples=["dspk_…"])]


class Health(Struct, frozen=True):
    """That it runs, and which parts were looked at."""

    status: Literal["ok"]
    parts: list[str]


class EventList(Page[ListedEvent], frozen=True):
    """Events in the order of acceptance, newest first; `next` is the cursor that goes on, null at the end."""


class SubscriptionList(Page[SubscriptionView], frozen=True):
    """Subscriptions, newest first; `next` is the cursor that goes on, null at the end."""


class DeliveryList(Page[DeliveryView], frozen=True):
    """Deliveries, newest first; `next` is the cursor that goes on, null at the end."""


class JobList(Page[JobView], frozen=True):
    """Jobs by their first event, newest first; `next` is the cursor that goes on, null at the end."""


class History(Page[HistoryItem], frozen=True):
    """A job's events, newest first; `next` is the cursor that goes on, null at the end."""


class KeyList(Page[KeyView], frozen=True):
    """Keys, newest first; `next` is the cursor that goes on, null at the end."""


class QuotaView(Quotas, frozen=True, kw_only=True):
    """What an owner may use; 0 is no limit."""

    owner: str


class QuotaList(Struct, frozen=True):
    """Owners with quotas of their own."""

    items: list[QuotaView]
    next: str | None
