"""What lists are asked with: which items are meant, which part of them is wanted, and the page that comes back."""

from __future__ import annotations

from datetime import datetime
from typing import Generic, TypeAlias, TypeVar

from msgspec import Struct

from dispatcher.domain.deliveries import State
from dispatcher.domain.subscriptions import SubscriptionStatus

T = TypeVar("T")


class Page(Struct, Generic[T], frozen=True):
    """Some items, newest first, and the cursor that goes on after them; None at the end."""

    items: list[T]
    next: str | None


class Window(Struct, frozen=True):
    """Which part of a list is wanted: `limit` items after `cursor`, which is the id of the last one seen."""

    limit: int = 100
    cursor: str | None = None


class EventFilter(Struct, frozen=True, kw_only=True):
    """Events of a tenant; with `visible_to` only this owner's, and those of owners who granted their job.

    Events without an owner are seen by the owner of their job, if it is claimed. `selected` are patterns of names as
    subscriptions have them (none: every name), `after` is the id of an event.
    """

    tenant: str
    visible_to: str | None = None
    job_id: str | None = None
    event: str | None = None
    since: datetime | None = None
    selected: tuple[str, ...] = ()
    after: str | None = None


class JobFilter(Struct, frozen=True, kw_only=True):
    """Jobs of a tenant; with `visible_to` only those that this owner owns or was granted.

    Of one that is not claimed there is an item for each owner who said something of it.
    """

    tenant: str
    visible_to: str | None = None
    owner: str | None = None
    status: str | None = None


class SubscriptionFilter(Struct, frozen=True, kw_only=True):
    """Subscriptions of a tenant; with `subscriber` only those that this owner's keys made."""

    tenant: str
    subscriber: str | None = None
    job_id: str | None = None
    status: SubscriptionStatus | None = None


class DeliveryFilter(Struct, frozen=True, kw_only=True):
    """Deliveries of a tenant; with `subscriber` only those of subscriptions that this owner's keys made."""

    tenant: str
    subscriber: str | None = None
    state: State | None = None
    job_id: str | None = None
    event_key: str | None = None
    subscription_id: str | None = None
    destination: str | None = None
    since: datetime | None = None


class DestinationFilter(Struct, frozen=True, kw_only=True):
    """Destinations of a tenant's subscriptions; with `subscriber` only of those that this owner's keys made.

    With `everyone` all that are known, used or not.
    """

    tenant: str
    subscriber: str | None = None
    everyone: bool = False


Place: TypeAlias = tuple[datetime, str]
"""A waiting delivery among those of its destination: its due time and its id."""
