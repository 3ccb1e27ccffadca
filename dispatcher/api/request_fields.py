"""Fields of requests: what each may hold, as it is checked and as the OpenAPI document says it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from dispatcher.domain.destinations import RateLimit
from dispatcher.domain.digests import DigestPolicy

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
        description="Filters, all of which must pass: each an object with one of `exact`, `prefix`, `suffix`, `all`, "
        "`any`, `not` (CloudEvents Subscriptions API), `sql` (CESQL 1.0) or `data` (paths into the event's data with "
        "`eq`, `ne`, `lt`, `le`, `gt`, `ge`, `in`, `prefix`, `suffix`, `exists`). All but `data` see the attributes of "
        "the CloudEvent and `event`, `job_id`, `owner`, `tenant`. A filter that no event can pass is refused.",
        examples=[
            [{"prefix": {"job_id": "nightly-"}}],
            [{"not": {"exact": {"source": "/tests"}}}],
            [{"data": {"exit_code": {"gt": 0}, "job.name": {"prefix": "align"}}}],
            [{"sql": "event IN ('FAILED', 'KILLED') AND subject LIKE 'nightly-%'"}],
        ],
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
