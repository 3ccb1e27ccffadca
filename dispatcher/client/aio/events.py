"""Events: publish, list, show, replay."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from dispatcher.client.aio.pages import PAGE_SIZE, AsyncPages
from dispatcher.client.aio.resource import AsyncResource
from dispatcher.client.errors import ApiError, ClientError, NotPublished
from dispatcher.client.exchange import Request, segment
from dispatcher.client.models import Accepted, EventDetail, ListedEvent, Replayed
from dispatcher.client.outgoing import Event, OutgoingEvent, array, batches, outgoing

PATH = "/v1/events"


class AsyncEvents(AsyncResource):
    """`client.events`."""

    async def publish(self, event: Event) -> Accepted:
        """Publish one event; it is stored when this returns.

        An event without an `id` gets one, so that a repeated request stores it once. Raises ApiError or TransportError.
        """
        return await self._publish(outgoing(event).body)

    async def publish_many(self, events: Iterable[Event]) -> Accepted:
        """Publish any number of events in their order. Raises NotPublished, which says how many were stored."""
        accepted = Accepted(0, 0, [])
        for batch in batches(events):
            answer = await self.publish_batch(batch, len(accepted.ids))
            accepted = Accepted(
                accepted.accepted + answer.accepted,
                accepted.duplicates + answer.duplicates,
                accepted.ids + answer.ids,
            )
        return accepted

    async def publish_batch(self, batch: Iterable[OutgoingEvent], confirmed: int = 0) -> Accepted:
        """Publish a batch as a whole. Raises NotPublished with `confirmed`."""
        try:
            return await self._publish(array(batch))
        except ApiError as error:
            raise NotPublished(str(error), confirmed) from error
        except ClientError as error:
            raise NotPublished(f"the service did not answer: {error}", confirmed) from error

    def list(
        self,
        *,
        job_id: str | None = None,
        event: str | None = None,
        since: datetime | None = None,
        tenant: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> AsyncPages[ListedEvent]:
        """Events in the order of acceptance, newest first."""
        return self._list(
            PATH, ListedEvent, page_size, job_id=job_id, event=event, since=since, tenant=tenant
        )

    async def get(self, id: str, *, tenant: str | None = None) -> EventDetail:
        """An event with its CloudEvent and its deliveries."""
        return await self._get(f"{PATH}/{segment(id)}", EventDetail, {"tenant": tenant})

    async def replay(self, id: str, *, subscription_id: str | None = None) -> Replayed:
        """Deliver an event again: to this subscription, or to all that match now."""
        return await self._change(
            "POST", f"{PATH}/{segment(id)}/replay", Replayed, {"subscription_id": subscription_id}
        )

    async def _publish(self, body: bytes) -> Accepted:
        return await self._client.send(
            Request(method="POST", path=PATH, body=body, repeatable=True), Accepted
        )
