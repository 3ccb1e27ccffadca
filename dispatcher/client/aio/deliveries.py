"""Deliveries: list, show, retry, cancel."""

from __future__ import annotations

from datetime import datetime

from msgspec import UNSET, UnsetType

from dispatcher.client.aio.pages import PAGE_SIZE, AsyncPages
from dispatcher.client.aio.resource import AsyncResource
from dispatcher.client.exchange import given, segment
from dispatcher.client.models import Counted, Delivery, DeliveryDetail

PATH = "/v1/deliveries"


class AsyncDeliveries(AsyncResource):
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
    ) -> AsyncPages[Delivery]:
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

    async def get(self, id: str, *, tenant: str | None = None) -> DeliveryDetail:
        """A delivery with its attempts."""
        return await self._get(f"{PATH}/{segment(id)}", DeliveryDetail, {"tenant": tenant})

    async def retry(self, id: str) -> DeliveryDetail:
        """Send an exhausted or cancelled delivery again; its retry policy starts over."""
        return await self._change("POST", f"{PATH}/{segment(id)}/retry", DeliveryDetail)

    async def cancel(self, id: str) -> DeliveryDetail:
        """Cancel a pending delivery."""
        return await self._change("POST", f"{PATH}/{segment(id)}/cancel", DeliveryDetail)

    async def retry_many(
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
        return (await self._change("POST", f"{PATH}/retry", Counted, document, repeatable=dry_run)).count
