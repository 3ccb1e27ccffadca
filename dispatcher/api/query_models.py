"""Query parameters: the types that they are checked with and the OpenAPI document is made from."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from dispatcher.api.request_fields import (
    Destination,
    EventId,
    EventName,
    JobId,
    Moment,
    SubscriptionId,
    Text,
)
from dispatcher.domain.deliveries import State
from dispatcher.domain.subscriptions import SubscriptionStatus
from dispatcher.store.filters import Window

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
