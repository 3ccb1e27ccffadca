"""Subscriptions: create, list, show, update, delete, test, pause, resume, rotate the secret."""

# Made by scripts/sync_client.py from its namesake in dispatcher/client/aio: change that one.
from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Unpack

from dispatcher.client.exchange import segment
from dispatcher.client.fields import NewSubscription, SubscriptionFields
from dispatcher.client.models import MatchList, Recipient, Subscription, SubscriptionWithSecret, TestResult
from dispatcher.client.sync.pages import PAGE_SIZE, Pages
from dispatcher.client.sync.resource import Resource

PATH = "/v1/subscriptions"


class Subscriptions(Resource):
    """`client.subscriptions`."""

    def create(self, **fields: Unpack[NewSubscription]) -> SubscriptionWithSecret:
        """Create a subscription. Keep its `secret`: it is not shown again.

        `events` and `target` are needed; a target is such as
        `{"kind": "webhook", "url": "https://example.org/jobs/$<JOB_ID>"}`.
        """
        return self._change("POST", PATH, SubscriptionWithSecret, fields)

    def list(
        self,
        *,
        job_id: str | None = None,
        status: str | None = None,
        tenant: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> Pages[Subscription]:
        """Subscriptions, newest first; `status` is active, paused, disabled or completed."""
        return self._list(PATH, Subscription, page_size, job_id=job_id, status=status, tenant=tenant)

    def get(self, id: str, *, tenant: str | None = None) -> Subscription:
        """A subscription."""
        return self._get(_path(id), Subscription, {"tenant": tenant})

    def update(self, id: str, **fields: Unpack[SubscriptionFields]) -> Subscription:
        """Replace these fields; what is not given stays. Credentials that are given as `***` stay too."""
        return self._change("PATCH", _path(id), Subscription, fields, repeatable=True)

    def delete(self, id: str) -> None:
        """Delete a subscription and cancel its pending deliveries."""
        self._change("DELETE", _path(id), NoneType)

    def test(self, id: str) -> TestResult:
        """Send a sample event to the target once, and say what it answered."""
        return self._change("POST", f"{_path(id)}/test", TestResult)

    def matches(
        self,
        id: str | None = None,
        *,
        events: Sequence[str] | None = None,
        job_id: str | None = None,
        owner: str | None = None,
        filters: Sequence[Mapping[str, object]] | None = None,
        event_id: str | None = None,
        event: Mapping[str, object] | None = None,
        limit: int | None = None,
    ) -> MatchList:
        """Try which events a subscription matches, and what keeps the others from matching. Nothing is sent.

        A stored subscription, the fields of a new one, or both; against a stored event, a given one, or the latest.
        """
        given = {
            "subscription_id": id,
            "events": events,
            "job_id": job_id,
            "owner": owner,
            "filters": filters,
            "event_id": event_id,
            "event": event,
            "limit": limit,
        }
        document = {name: value for name, value in given.items() if value is not None}
        return self._change("POST", f"{PATH}/matches", MatchList, document, repeatable=True)

    def pause(self, id: str) -> Subscription:
        """Pause a subscription. Its deliveries wait until it is resumed."""
        return self._change("POST", f"{_path(id)}/pause", Subscription, repeatable=True)

    def resume(self, id: str) -> Subscription:
        """Resume a paused or disabled subscription. Waiting deliveries are sent now."""
        return self._change("POST", f"{_path(id)}/resume", Subscription, repeatable=True)

    def rotate_secret(self, id: str) -> SubscriptionWithSecret:
        """Make a new signing secret; the previous one signs too until `previous_secret_until`."""
        return self._change("POST", f"{_path(id)}/rotate-secret", SubscriptionWithSecret)

    def restore_recipient(self, id: str, address: str) -> Recipient:
        """Let a recipient who was suppressed or has unsubscribed receive e-mail again."""
        return self._change("POST", f"{_path(id)}/recipients", Recipient, {"address": address})


def _path(id: str) -> str:
    return f"{PATH}/{segment(id)}"
