"""Events, subscriptions and deliveries for tests: whole and valid, with whatever the test cares about changed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from dispatcher.domain.deliveries import OpenDelivery
from dispatcher.domain.event_names import status_of
from dispatcher.domain.events import Event
from dispatcher.domain.ids import new_id
from dispatcher.domain.retry import RetryPolicy
from dispatcher.domain.subscriptions import Subscription
from dispatcher.intake.grouping import grouped

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def make_event(**changes: Any) -> Event:
    """An event FINISHED of alice's job-1; its document is made from its fields unless given."""
    data = changes.pop("data", None)
    key = changes.pop("key", None) or new_id("evt")
    fields: dict[str, Any] = {
        "key": key,
        "id": key,
        "source": "/jobs",
        "event": "FINISHED",
        "job_id": "job-1",
        "owner": "alice",
        "tenant": "default",
        "time": NOW,
        "accepted_at": NOW,
    } | changes
    fields.setdefault("type", f"job.{fields['event']}")
    fields.setdefault("document", msgspec.json.encode(_document(fields, data)))
    return Event(**fields)


def _document(fields: dict[str, Any], data: object) -> dict[str, object]:
    document: dict[str, object] = {
        "specversion": "1.0",
        "id": fields["id"],
        "source": fields["source"],
        "type": fields["type"],
        "subject": fields["job_id"],
        "time": fields["time"],
        "tenant": fields["tenant"],
        "data": data
        if data is not None
        else {"event": fields["event"], "status": status_of(fields["event"])},
    }
    if fields["owner"] is not None:
        document["owner"] = fields["owner"]
    return document


def make_subscription(**changes: Any) -> Subscription:
    """An active subscription of alice to every event of her jobs, to a webhook."""
    fields: dict[str, Any] = {
        "id": new_id("sub"),
        "revision": 1,
        "tenant": "default",
        "subscriber": "alice",
        "name": "a test",
        "events": ("*",),
        "job_id": None,
        "owner": "alice",
        "filters": (),
        "target": {"kind": "webhook", "url": "https://example.org/hook"},
        "destination": "https://example.org:443",
        "retry": RetryPolicy(),
        "ordered": False,
        "persistent": True,
        "expires_at": None,
        "metadata": {},
        "status": "active",
        "status_reason": None,
        "secrets": (SECRET,),
        "previous_secret_until": None,
        "created_at": NOW,
        "updated_at": NOW,
    } | changes
    return Subscription(**fields)


def make_delivery(event: Event, subscription: Subscription, **changes: Any) -> OpenDelivery:
    """A new delivery, claimed unless said otherwise. The store claims it under the lease that it is given."""
    fields: dict[str, Any] = {"id": new_id("dlv"), "lease_id": int(changes.pop("claimed", True))} | changes
    [new] = grouped([OpenDelivery(event=event, subscription=subscription, **fields)])
    return new


def make_claimed(**changes: Any) -> OpenDelivery:
    """A claimed delivery of a new event that has not been tried yet."""
    fields: dict[str, Any] = {
        "id": new_id("dlv"),
        "event": make_event(),
        "subscription": make_subscription(),
        "lease_id": 1,
    } | changes
    return OpenDelivery(**fields)
