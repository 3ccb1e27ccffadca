"""The fields of a subscription that can be given: those of `POST` and `PATCH /v1/subscriptions`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Required, TypedDict

from dispatcher.client.models import DigestPolicy, RateLimit, RetryPolicy


class SubscriptionFields(TypedDict, total=False):
    """Which events, where to, and how. `docs/` and `GET /docs` of a server explain each."""

    events: Sequence[str]
    target: Mapping[str, object]
    name: str
    job_id: str | None
    owner: str | None
    filters: Sequence[Mapping[str, object]]
    retry: RetryPolicy | Mapping[str, object]
    ordered: bool
    persistent: bool
    expires_at: datetime | None
    metadata: Mapping[str, object]
    rate_limit: RateLimit | Mapping[str, object] | None
    digest: DigestPolicy | Mapping[str, object] | None


class NewSubscription(SubscriptionFields, total=False):
    """The same for a new one, which needs events and a target."""

    events: Required[Sequence[str]]  # type: ignore[misc]
    target: Required[Mapping[str, object]]  # type: ignore[misc]
