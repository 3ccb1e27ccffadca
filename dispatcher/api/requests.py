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
from dispatcher.store.contract import Window

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
        description="For people; it need not be unique.",
        extra={"expected": "expected a text of at most 255 characters, none of them a control character"},
    ),
]
Tenant = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        pattern=ONE_LINE,
        description="Without one yours. Only admins of the tenant `default` may name another.",
        extra={"expected": "expected a text of 1 to 64 characters, none of them a control character"},
    ),
]
JobId = Annotated[Text, Meta(description="The id of a job.", examples=["0001463171110-242ac11b-0001-007"])]
SubscriptionId = Annotated[
    str,
    Meta(
        pattern=r"^sub_[0-9a-f]{32}$",
        description="The id of a subscription.",
        examples=["sub_0192f0c1a2b37c4d8e5f60718293a4b5"],
        extra={"expected": "expected the id of a subscription: sub_ and 32 hexadecimal digits"},
    ),
]
EventId = Annotated[
    str,
    Meta(
        pattern=r"^evt_[0-9a-f]{32}$",
        description="The id of an event.",
        examples=["evt_0192f0c1a2b37c4d8e5f60718293a4b5"],
        extra={"expected": "expected the id of an event: evt_ and 32 hexadecimal digits"},
    ),
]
EventName = Annotated[Text, Meta(description="An event name.", examples=["FINISHED"])]
Patterns = Annotated[
    tuple[str, ...],
    Meta(
        min_length=1,
        max_length=64,
        description="Event names, `*`, names with `*` at their end, or `@terminal`.",
        examples=[["FINISHED", "FAILED"], ["ARCHIVING*"], ["@terminal"]],
    ),
]
Filters = Annotated[
    tuple[dict[str, object], ...],
    Meta(
        max_length=64,
        description="Filters of the CloudEvents Subscriptions API, all of which must pass: each an object "
        "with one of `exact`, `prefix`, `suffix`, `all`, `any`, `not`. They see the attributes of the "
        "CloudEvent and `event`, `job_id`, `owner`, `tenant`.",
        examples=[[{"prefix": {"job_id": "nightly-"}}], [{"not": {"exact": {"source": "/tests"}}}]],
    ),
]
Owner = Annotated[
    Text,
    Meta(
        description="Whose jobs are meant. Without one the key's owner; for an admin `*`, every job. "
        "Only an admin may name another.",
        examples=["alice"],
    ),
]
Destination = Annotated[
    Text,
    Meta(description="Scheme, host and port, or the mail relay.", examples=["https://example.org:443"]),
]
Ordered = Annotated[
    bool, Meta(description="Whether the events of one job go out one after the other, as they were accepted.")
]
Limit = Annotated[
    RateLimit,
    Meta(
        description="Attempts that may begin: `per_second` on average, `burst` at once; over all processes.",
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
Persistent = Annotated[bool, Meta(description="Whether it goes on after its first successful delivery.")]
Moment = Annotated[
    datetime,
    Meta(tz=True, description="A time with its offset (RFC 3339).", examples=["2026-05-04T12:00:00Z"]),
]
ExpiresAt = Annotated[Moment, Meta(description="When it ends by itself; in the future.")]
Metadata = Annotated[
    dict[str, object], Meta(description="Your own JSON, at most 16 KiB; it is kept and shown as it is.")
]


class NewSubscription(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who wants what, where to."""

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
    """What is to be different: a field that is given is replaced as a whole, every other stays as it is.

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
    """One of a subscription's recipients."""

    address: Annotated[
        str,
        Meta(
            min_length=3,
            max_length=320,
            description="As `recipients` shows it.",
            examples=["ann@example.org"],
        ),
    ]


class Replay(Struct, frozen=True, forbid_unknown_fields=True):
    """To whom an event is to go again: one subscription, or all that want it now."""

    subscription_id: SubscriptionId | None = None


class RetryMany(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which deliveries are to be sent again: those that fit all that is given."""

    state: Annotated[
        State,
        Meta(description="Only `exhausted` and `cancelled` ones can be sent again; all can be counted."),
    ] = State.EXHAUSTED
    job_id: JobId | None = None
    subscription_id: SubscriptionId | None = None
    event_id: EventId | None = None
    destination: Destination | None = None
    since: Annotated[Moment, Meta(description="Those that were made at this time or later.")] | None = None
    limit: Annotated[int, Meta(ge=1, le=10_000, description="How many at most; the oldest first.")] = 10_000
    dry_run: Annotated[bool, Meta(description="Only count, whatever the limit.")] = False


class PauseDestination(Struct, frozen=True, forbid_unknown_fields=True):
    """Why a destination is held."""

    reason: Name = "paused by request"


class DestinationChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be different."""

    rate_limit: Limit | None


class NewKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A key for somebody."""

    name: Annotated[Text, Meta(description="For people: what uses it.", examples=["workflow engine"])]
    owner: Annotated[Text, Meta(description="Whose jobs and subscriptions it is for.", examples=["alice"])]
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
        description="`next` of the page before.",
        extra={"expected": "expected a cursor as `next` of the page before gave it"},
    ),
]


class ListQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which part of a list is wanted."""

    limit: Annotated[int, Meta(ge=1, le=500, description="How many at most.")] = 100
    cursor: Cursor | None = None

    @property
    def window(self) -> Window:
        """The same in the store's words."""
        return Window(self.limit, self.cursor)


class DestinationsQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which part of the list is wanted; the cursor is the key of the last destination."""

    limit: Annotated[int, Meta(ge=1, le=500, description="How many at most.")] = 100
    cursor: Destination | None = None


class QuotasQuery(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which part of the list is wanted; the cursor is the last owner."""

    limit: Annotated[int, Meta(ge=1, le=500, description="How many at most.")] = 100
    cursor: Annotated[Text, Meta(description="`next` of the page before.")] | None = None


class EventsQuery(ListQuery, frozen=True, kw_only=True):
    """Which events are wanted."""

    job_id: JobId | None = None
    event: EventName | None = None
    since: Moment | None = None


class SubscriptionsQuery(ListQuery, frozen=True, kw_only=True):
    """Which subscriptions are wanted."""

    job_id: JobId | None = None
    status: Annotated[SubscriptionStatus, Meta(description="Where it stands.")] | None = None


class DeliveriesQuery(ListQuery, frozen=True, kw_only=True):
    """Which deliveries are wanted."""

    state: Annotated[State, Meta(description="Where it stands.")] | None = None
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
    """Which jobs are wanted."""

    owner: Annotated[Text, Meta(description="Whose they are.", examples=["alice"])] | None = None
    status: Annotated[Text, Meta(description="The latest status.", examples=["RUNNING"])] | None = None


# Events in: these say what `dispatcher.intake.decode` understands, which reads the bytes itself.


class PlainEvent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happened to a job, in the plain form. What is missing is taken from `job`, or made."""

    event: Annotated[EventName | None, Meta(description="What happened; `job.status` when absent.")] = None
    job_id: Annotated[Text | None, Meta(description="The job; `job.id` when absent.")] = None
    id: Annotated[Text | None, Meta(description="The same id from the same source is the same event.")] = None
    source: Annotated[str, Meta(min_length=1, max_length=1024, description="Who says so.")] | None = None
    time: Annotated[Moment | None, Meta(description="When it happened; now when absent.")] = None
    owner: Annotated[Text | None, Meta(description="Whose job it is; `job.owner` when absent.")] = None
    tenant: Annotated[Text | None, Meta(description="The key's tenant, or absent.")] = None
    message: Annotated[str | None, Meta(description="For people.")] = None
    job: Annotated[dict[str, object] | None, Meta(description="The job document, such as Tapis has it.")] = (
        None
    )
    data: Annotated[dict[str, object] | None, Meta(description="Your own JSON.")] = None


class CloudEvent(Struct, frozen=True, kw_only=True):
    """A CloudEvent 1.0 in structured form; further attributes and the data are kept as they come."""

    specversion: Literal["1.0"]
    id: Text
    source: Annotated[str, Meta(min_length=1, max_length=1024)]
    type: Annotated[
        Text, Meta(description="Its last dotted part is the event.", examples=["org.example.job.FINISHED"])
    ]
    subject: Annotated[Text, Meta(description="The id of the job.")]
    time: Moment | UnsetType = UNSET
    owner: Annotated[Text, Meta(description="Whose job it is.")] | UnsetType = UNSET
    tenant: Annotated[Text, Meta(description="The key's tenant, or absent.")] | UnsetType = UNSET
    data: Annotated[object, Meta(description="Any JSON.")] | UnsetType = UNSET
