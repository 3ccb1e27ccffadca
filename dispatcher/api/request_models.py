"""Bodies of requests: the types that they are checked with and the OpenAPI document is made from."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from dispatcher.api.request_fields import (
    Destination,
    DigestOf,
    EventId,
    EventName,
    ExpiresAt,
    Filters,
    JobId,
    Limit,
    Metadata,
    Moment,
    Name,
    Ordered,
    Owner,
    Patterns,
    Persistent,
    SubscriptionId,
    Tenant,
    Text,
)
from dispatcher.domain.deliveries import State
from dispatcher.domain.keys import Scope
from dispatcher.domain.retry import RetryPolicy


class NewSubscription(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A subscription to create: which events, and the target that they are delivered to."""

    events: Patterns
    target: Struct
    name: Name = ""
    job_id: JobId | None = None
    owner: Owner | None = None
    filters: Filters = ()
    retry: RetryPolicy = RetryPolicy()
    ordered: Ordered = False
    persistent: Persistent = True
    expires_at: ExpiresAt | None = None
    metadata: Metadata = {}
    rate_limit: Limit | None = None
    digest: DigestOf | None = None


class SubscriptionChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields to update; omitted fields are unchanged. A given field is replaced as a whole.

    Credentials in a target that come back as they were shown (`***`) stay as they are stored.
    """

    events: Patterns | UnsetType = UNSET
    target: Struct | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    job_id: JobId | UnsetType | None = UNSET
    owner: Owner | UnsetType | None = UNSET
    filters: Filters | UnsetType = UNSET
    retry: RetryPolicy | UnsetType = UNSET
    ordered: Ordered | UnsetType = UNSET
    persistent: Persistent | UnsetType = UNSET
    expires_at: ExpiresAt | UnsetType | None = UNSET
    metadata: Metadata | UnsetType = UNSET
    rate_limit: Limit | UnsetType | None = UNSET
    digest: DigestOf | UnsetType | None = UNSET


class MatchRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A subscription to try, stored or not, and the events to try it with: a stored one, a given one, or the latest.

    With `subscription_id` the other fields take the place of the stored ones; without it, `events` is `*` by default.
    """

    subscription_id: SubscriptionId | None = None
    events: Patterns | UnsetType = UNSET
    job_id: JobId | UnsetType | None = UNSET
    owner: Owner | UnsetType | None = UNSET
    filters: Filters | UnsetType = UNSET
    event_id: EventId | None = None
    event: Annotated[
        dict[str, object] | None,
        Meta(
            description="An event as it is published: plain, or a CloudEvent in structured form. It is not stored."
        ),
    ] = None
    limit: Annotated[
        int, Meta(ge=1, le=100, description="How many of the latest events, if none is named.")
    ] = 20


class NamedRecipient(Struct, frozen=True, forbid_unknown_fields=True):
    """A recipient of a subscription."""

    address: Annotated[
        str,
        Meta(
            min_length=3,
            max_length=320,
            description="Address as shown in `recipients`.",
            examples=["ann@example.org"],
        ),
    ]


class Replay(Struct, frozen=True, forbid_unknown_fields=True):
    """Subscription to replay an event to; without one, all that match now."""

    subscription_id: SubscriptionId | None = None


class RetryMany(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Filters for the deliveries to retry; all that are given must match."""

    state: Annotated[
        State,
        Meta(
            description="Only `exhausted` and `cancelled` deliveries can be retried; every state can be counted."
        ),
    ] = State.EXHAUSTED
    job_id: JobId | None = None
    subscription_id: SubscriptionId | None = None
    event_id: EventId | None = None
    destination: Destination | None = None
    since: Annotated[Moment, Meta(description="Only deliveries created at this time or later.")] | None = None
    limit: Annotated[
        int, Meta(ge=1, le=10_000, description="Maximum number of deliveries, oldest first.")
    ] = 10_000
    dry_run: Annotated[bool, Meta(description="Only count the deliveries, regardless of the limit.")] = False


class PauseDestination(Struct, frozen=True, forbid_unknown_fields=True):
    """Why a destination is paused."""

    reason: Name = "paused by request"


class DestinationChange(Struct, frozen=True, forbid_unknown_fields=True):
    """Fields to update; omitted fields are unchanged."""

    rate_limit: Limit | None


class NewKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An API key to create."""

    name: Annotated[
        Text, Meta(description="Human-readable name: what uses the key.", examples=["workflow engine"])
    ]
    owner: Annotated[Text, Meta(description="Owner that the key belongs to.", examples=["alice"])]
    scopes: Annotated[
        tuple[Scope, ...],
        Meta(
            min_length=1,
            max_length=4,
            description="`publish`: send events of the owner. `publish:any`: send events of any owner. "
            "`subscribe`: all about subscriptions. `admin`: everything.",
        ),
    ]
    tenant: Tenant | None = None


# Events in: these say what `dispatcher.intake.decode` understands, which reads the bytes itself.


class PlainEvent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event in the plain form. Missing fields are taken from `job`, or generated."""

    event: Annotated[EventName | None, Meta(description="Name of the event. Default: `job.status`.")] = None
    job_id: Annotated[Text | None, Meta(description="ID of the job. Default: `job.id`.")] = None
    id: Annotated[
        Text | None, Meta(description="Identifies the event together with `source`; a repeat is a duplicate.")
    ] = None
    source: (
        Annotated[str, Meta(min_length=1, max_length=1024, description="The publisher, a URI reference.")]
        | None
    ) = None
    time: Annotated[Moment | None, Meta(description="When it happened. Default: now.")] = None
    owner: Annotated[Text | None, Meta(description="Owner of the job. Default: `job.owner`.")] = None
    tenant: Annotated[Text | None, Meta(description="Must be the tenant of the key if given.")] = None
    message: Annotated[str | None, Meta(description="Human-readable message.")] = None
    job: Annotated[
        dict[str, object] | None, Meta(description="The job's document, as the job service has it.")
    ] = None
    data: Annotated[dict[str, object] | None, Meta(description="Your own JSON object.")] = None
    data_base64: Annotated[
        str | None, Meta(description="In place of `data`: bytes that are not JSON, in base64.")
    ] = None


class CloudEvent(Struct, frozen=True, kw_only=True):
    """A CloudEvent 1.0 in structured mode; other attributes and the data are kept unchanged."""

    specversion: Literal["1.0"]
    id: Text
    source: Annotated[str, Meta(min_length=1, max_length=1024)]
    type: Annotated[
        Text,
        Meta(
            description="The last dotted part is the name of the event.",
            examples=["org.example.job.FINISHED"],
        ),
    ]
    subject: Annotated[Text, Meta(description="ID of the job.")]
    time: Moment | UnsetType = UNSET
    owner: Annotated[Text, Meta(description="Owner of the job.")] | UnsetType = UNSET
    tenant: Annotated[Text, Meta(description="Must be the tenant of the key if given.")] | UnsetType = UNSET
    data: Annotated[object, Meta(description="Any JSON value.")] | UnsetType = UNSET
