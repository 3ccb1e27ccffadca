"""Keys, quotas and health, as the API answers them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct


class Key(Struct, frozen=True, kw_only=True):
    """An API key; the key itself is not stored."""

    id: str
    name: str
    owner: str
    tenant: str
    scopes: tuple[str, ...]
    created_at: datetime


class KeyWithText(Key, frozen=True, kw_only=True):
    """A new API key, which cannot be shown again."""

    key: str

    def __repr__(self) -> str:
        # Its key has no place in a traceback or a log.
        return f"KeyWithText({self.id}, key ***)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("id", self.id)]


class Quota(Struct, frozen=True, kw_only=True):
    """Quotas of an owner; 0 means no limit."""

    owner: str
    subscriptions: int = 0
    destinations: int = 0
    events_per_minute: int = 0
    deliveries_per_minute: int = 0
    stored_mib: int = 0
    waiters: int = 0


class Health(Struct, frozen=True):
    """Health of the service and its parts."""

    status: str
    parts: list[str] = []
