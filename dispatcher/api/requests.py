"""What the API takes: the types that requests are checked with and the OpenAPI document is made from."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from dispatcher.domain.deliveries import State
from dispatcher.domain.destinations import RateLimit
from dispatcher.domain.digests import DigestPolicy
from dispatcher.domain.keys import Scope
from dispatcher.domain.retry import RetryPolicy
from dispatcher.domain.subscriptions import SubscriptionStatus
from dispatcher.store.filters import Window

ONE_LINE = r"^[^\x00-\x1f\x7f]*(?!\n)$"
"""No control characters. To Python `$` alone is also before a line break that ends the text."""

Text = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=255,
        pattern=ONE_LINE,
        extra={"expected": "expected a text of 1 to 255 characters, none of them a control character"},
    ),
]
Name = Annotated[
    str,
    Meta(
        max_length=255,
        pattern=ONE_LINE,
        description="Human-readable name; need not be unique.",
        extra={"expected": "expected a text of at most 255 characters, none of them a control character"},
    ),
]
Tenant = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        pattern=ONE_LINE,
        description="Default: the tenant of the key. Only admins of the tenant `default` may name another one.",
        extra={"expected": "expected a text of 1 to 64 characters, none of them a control character"},
    ),
]
JobId = Annotated[Text, Meta(description="ID of a job.", examples=["0001463171110-242ac11b-0001-007"])]
SubscriptionId = Annotated[
    str,
    Meta(
        pattern=r"^sub_[0-9a-f]{32}$",
        description="ID of a subscription.",
        examples=["sub_0192f0c1a2b37c4d8e5f60718293a4b5"],
        extra={"expected": "expected the id of a subscription: sub_ and 32 hexadecimal digits"},
    ),
]
EventId = Annotated[
    str,
    Meta(
        pattern=r"^evt_[0-9a-f]{32}$",
        description="ID of an event.",
        examples=["evt_0192f0c1a2b37c4d8e5f60718293a4b5"],
        extra={"expected": "expected the id of an event: evt_ and 32 hexadecimal digits"},
    ),
]
EventName = Annotated[Text, Meta(description="Name of an event.", examples=["FINISHED"])]
Patterns = Annotated[
    tuple[str, ...],
    Meta(
        min_length=1,
        max_length=64,
        description="Event names, prefixes such as `ARCHIVING*`, `@terminal`, or `*` for all.",
        examples=[["FINISHED", "FAILED"], ["ARCHIVING*"], ["@terminal"]],
    ),
]
Filters = Annotated[
    tuple[dict[str, object], ...],
    Meta(
        max_length=64,
        description="Filters of the CloudEvents Subscriptions API, all of which must match: each an object "
        "with one of `exact`, `prefix`, `suffix`, `all`, `any`, `not`. They see the attributes of the "
        "CloudEvent and `event`, `job_id`, `owner`, `tenant`.",
        examples=[[{"prefix": {"job_id": "nightly-"}}], [{"not": {"exact": {"source": "/tests"}}}]],
    ),
]
Owner = Annotated[
    Text,
    Meta(
        description="Owner of the jobs to subscribe to. Default: the owner of the key; for an admin `*`, all jobs. "
        "Only an admin may name another.",
        examples=["alice"],
    ),
]
Destination = Annotated[
    Text,
    Meta(
        description="Destination: scheme, host and port, or the mail relay.",
        examples=["https://example.org:443"],
    ),
]
Ordered = Annotated[
    bool, Meta(description="Deliver the events of a job one after the other, in the order of acceptance.")
]
Limit = Annotated[
    RateLimit,
    Meta(
        description="Rate limit of attempts over all processes: `per_second` on average, `burst` at once.",
        examples=[{"per_second": 10, "burst": 20}],
    ),
]
DigestOf = Annotated[
    DigestPolicy,
    Meta(
        description="Many events in one message: an e-mail with a table, or a batch of CloudEvents. Nothing is "
        "dropped. The first event after a quiet time goes after `wait` seconds, those that follow every `interval`.",
        examples=[{"wait": 0, "interval": 300, "group_by": ["owner"], "max_rows": 100}],
    ),
]
Persistent = Annotated[
    bool, Meta(description="If false, the subscription ends after its first successful delivery.")
]
Moment = Annotated[
    datetime,
    Meta(tz=True, description="A time with its offset (RFC 3339).", examples=["2026-05-04T12:00:00Z"]),
]
ExpiresAt = Annotated[Moment, Meta(description="When the subscription expires; must be in the future.")]
Metadata = Annotated[
    dict[str, object],
    Meta(description="Your own JSON object, at most 16 KiB; stored and returned unchanged."),
]


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


# Query parameters

MAX_WAIT = 60
"""Seconds that a request may wait for a job."""

Wait = Annotated[
    float,
    Meta(
        ge=0,
        le=MAX_WAIT,
        description="For how many seconds to wait at most; without it the answer comes at once.",
        examples=[30],
        extra={"expected": f"expected seconds, 0 to {MAX_WAIT}"},
    ),
]

Cursor = Annotated[
    str,
    Meta(
        pattern=r"^(evt|sub|dlv|key)_[0-9a-f]{32}$",
        description="The `next` of the previous page.",
        extra={"expected": "expected a cursor as `next` of the page before gave it"},
    ),
]


class ListQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limit and cursor of a list."""

    limit: Annotated[int, Meta(ge=1, le=500, description="Maximum number of items.")] = 100
    cursor: Cursor | None = None

    @property
    def window(self) -> Window:
        """The same in the store's words."""
        return Window(self.limit, self.cursor)


class DestinationsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limit and cursor; the cursor is the key of the last destination."""

    limit: Annotated[int, Meta(ge=1, le=500, description="Maximum number of items.")] = 100
    cursor: Destination | None = None


class QuotasQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limit and cursor; the cursor is the last owner."""

    limit: Annotated[int, Meta(ge=1, le=500, description="Maximum number of items.")] = 100
    cursor: Annotated[Text, Meta(description="The `next` of the previous page.")] | None = None


class EventsQuery(ListQuery, frozen=True, kw_only=True):
    """Filters for events."""

    job_id: JobId | None = None
    event: EventName | None = None
    since: Moment | None = None


class SubscriptionsQuery(ListQuery, frozen=True, kw_only=True):
    """Filters for subscriptions."""

    job_id: JobId | None = None
    status: Annotated[SubscriptionStatus, Meta(description="Current status.")] | None = None


class DeliveriesQuery(ListQuery, frozen=True, kw_only=True):
    """Filters for deliveries."""

    state: Annotated[State, Meta(description="Current status.")] | None = None
    job_id: JobId | None = None
    subscription_id: SubscriptionId | None = None
    event_id: EventId | None = None
    destination: Destination | None = None
    since: Moment | None = None


class StatusQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Until what to wait, and for how long."""

    wait: Wait | None = None
    until: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=5000,
            description="`terminal`, `change` (an event newer than `after`), or event names with commas as "
            "subscriptions have them.",
            examples=["terminal", "change", "RUNNING,FAILED"],
        ),
    ] = "terminal"
    after: EventId | None = None


class JobsQuery(ListQuery, frozen=True, kw_only=True):
    """Filters for jobs."""

    owner: Annotated[Text, Meta(description="Owner of the jobs.", examples=["alice"])] | None = None
    status: Annotated[Text, Meta(description="Latest status.", examples=["RUNNING"])] | None = None


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
