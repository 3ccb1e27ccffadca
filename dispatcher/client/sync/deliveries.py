"""Deliveries: list, show, retry, cancel."""

# Made by scripts/sync_client.py from its namesake in dispatcher/client/aio: change that one.
from __future__ import annotations

from datetime import datetime

from msgspec import UNSET, UnsetType

from dispatcher.client.exchange import given, segment
from dispatcher.client.models import Counted, Delivery, DeliveryDetail
from dispatcher.client.sync.pages import PAGE_SIZE, Pages
from dispatcher.client.sync.resource import Resource

PATH = "/v1/deliveries"


class Deliveries(Resource):
    """`client.deliveries`."""

    def list(
        self,
        *,
        state: str | None = None,
        job_id: str | None = None,
        subscription_id: str | None = None,
        event_id: str | None = None,
        destination: str | None = None,
        since: datetime | None = None,
        tenant: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> Pages[Delivery]:
        """Deliveries, newest first."""
        return self._list(
            PATH,
            Delivery,
            page_size,
            state=state,
            job_id=job_id,
            subscription_id=subscription_id,
            event_id=event_id,
            destination=destination,
            since=since,
            tenant=tenant,
        )

    def get(self, id: str, *, tenant: str | None = None) -> DeliveryDetail:
        """A delivery with its attempts."""
        return self._get(f"{PATH}/{segment(id)}", DeliveryDetail, {"tenant": tenant})

    def retry(self, id: str) -> DeliveryDetail:
        """Send an exhausted or cancelled delivery again; its retry policy starts over."""
        return self._change("POST", f"{PATH}/{segment(id)}/retry", DeliveryDetail)

    def cancel(self, id: str) -> DeliveryDetail:
        """Cancel a pending delivery."""
        return self._change("POST", f"{PATH}/{segment(id)}/cancel", DeliveryDetail)

    def retry_many(
        self,
        *,
        state: str = "exhausted",
        job_id: str | None = None,
        subscription_id: str | None = None,
        event_id: str | None = None,
        destination: str | None = None,
        since: datetime | None = None,
        limit: int | UnsetType = UNSET,
        dry_run: bool = False,
    ) -> int:
        """Retry all that match, oldest first, and return how many; with `dry_run` only count them."""
        document = given(
            state=state,
            job_id=job_id,
            subscription_id=subscription_id,
            event_id=event_id,
            destination=destination,
            since=since,
            limit=limit,
            dry_run=dry_run,
        )
        return (self._change("POST", f"{PATH}/retry", Counted, document, repeatable=dry_run)).count
