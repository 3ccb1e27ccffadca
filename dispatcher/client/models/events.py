"""Events and jobs, as the API answers them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, TypeVar

from msgspec import Struct

from dispatcher.client.models.subscriptions import TriedSubscription

T = TypeVar("T")


class Page(Struct, Generic[T], frozen=True):
    """A part of a list; `next` is the cursor of the next page, None at the end.

    `hint` says to the admins of the tenant `default` why it is empty, when other tenants have something.
    """

    items: list[T]
    next: str | None = None
    hint: str | None = None


class Accepted(Struct, frozen=True):
    """Number of events stored, number of duplicates, and the IDs of all events in order."""

    accepted: int
    duplicates: int
    ids: list[str]


class Event(Struct, frozen=True, kw_only=True):
    """An event. `id` is assigned by Dispatcher, `source_id` by the publisher within `source`."""

    id: str
    event: str
    job_id: str
    owner: str | None = None
    tenant: str
    source: str
    source_id: str
    type: str
    time: datetime
    accepted_at: datetime


class ListedEvent(Event, frozen=True, kw_only=True):
    """An event with the number of its deliveries."""

    deliveries: int


class EventDelivery(Struct, frozen=True, kw_only=True):
    """A delivery of an event, and why its subscription matched. The name is None if that was deleted."""

    id: str
    state: str
    subscription_id: str
    subscription_name: str | None = None
    why: list[str] = []


class Expanding(Struct, frozen=True):
    """Deliveries of an event that are still to be made."""

    remaining: int


class EventDetail(Event, frozen=True, kw_only=True):
    """An event with its CloudEvent, a summary of its deliveries, the latest 100 of them, and what else was tried."""

    document: dict[str, Any]
    outcome: str = ""
    deliveries: list[EventDelivery] = []
    expanding: Expanding | None = None
    subscriptions: list[TriedSubscription] = []


class Replayed(Struct, frozen=True):
    """The new deliveries of a replay."""

    deliveries: list[str]


class Job(Struct, frozen=True, kw_only=True):
    """A job as its events describe it."""

    id: str
    tenant: str
    owner: str | None = None
    status: str | None = None
    status_at: datetime | None = None
    terminal: bool = False
    message: str | None = None
    name: str | None = None
    app_id: str | None = None
    system: str | None = None
    submitted_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    events: int = 0
    first_event: str = ""
    updated_at: datetime


class JobStatus(Struct, frozen=True, kw_only=True):
    """A job's status, and whether it is what was waited for. All is None for a job of which nothing is known."""

    job_id: str
    status: str | None = None
    terminal: bool = False
    reached: bool = False
    event_id: str | None = None
    time: datetime | None = None
    message: str | None = None


class HistoryItem(Struct, frozen=True, kw_only=True):
    """One event of a job with a description of its name."""

    id: str
    event: str
    description: str | None = None
    message: str | None = None
    time: datetime
    accepted_at: datetime
