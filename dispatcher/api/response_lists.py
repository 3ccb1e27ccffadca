"""Lists that the API responds with: a page of each kind, and the cursor of the next one."""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

from msgspec import Meta, Struct

from dispatcher.api.response_models import (
    DeliveryView,
    HistoryItem,
    JobView,
    KeyView,
    ListedEvent,
    SubscriptionView,
)
from dispatcher.domain.quotas import Quotas
from dispatcher.store.filters import Page

T = TypeVar("T")


class TenantList(Page[T], Generic[T], frozen=True, omit_defaults=True):
    """A list of what a tenant has."""

    hint: Annotated[
        str | None, Meta(description="Absent, unless the list is empty and other tenants have something.")
    ] = None


class EventList(TenantList[ListedEvent], frozen=True):
    """Events in the order of acceptance, newest first; `next` is the cursor of the next page, null at the end."""


class SubscriptionList(TenantList[SubscriptionView], frozen=True):
    """Subscriptions, newest first; `next` is the cursor of the next page, null at the end."""


class DeliveryList(TenantList[DeliveryView], frozen=True):
    """Deliveries, newest first; `next` is the cursor of the next page, null at the end."""


class JobList(TenantList[JobView], frozen=True):
    """Jobs by their first event, newest first; `next` is the cursor of the next page, null at the end."""


class History(Page[HistoryItem], frozen=True):
    """A job's events, newest first; `next` is the cursor of the next page, null at the end."""


class KeyList(Page[KeyView], frozen=True):
    """Keys, newest first; `next` is the cursor of the next page, null at the end."""


class QuotaView(Quotas, frozen=True, kw_only=True):
    """Quotas of an owner; 0 means no limit."""

    owner: str


class QuotaList(Struct, frozen=True):
    """Owners whose quotas differ from the defaults."""

    items: list[QuotaView]
    next: str | None
