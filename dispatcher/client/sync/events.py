"""Events: publish, list, show, replay."""

# Made by scripts/sync_client.py from its namesake in dispatcher/client/aio: change that one.
from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from dispatcher.client.errors import ApiError, ClientError, NotPublished
from dispatcher.client.exchange import Request, segment
from dispatcher.client.models import Accepted, EventDetail, ListedEvent, Replayed
from dispatcher.client.outgoing import Event, OutgoingEvent, array, batches, outgoing
from dispatcher.client.sync.pages import PAGE_SIZE, Pages
from dispatcher.client.sync.resource import Resource

PATH = "/v1/events"


class Events(Resource):
    """`client.events`."""

    def publish(self, event: Event) -> Accepted:
        """Publish one event; it is stored when this returns.

        An event without an `id` gets one, so that a repeated request stores it once. Raises ApiError or TransportError.
        """
        return self._publish(outgoing(event).body)

    def publish_many(self, events: Iterable[Event]) -> Accepted:
        """Publish any number of events in their order. Raises NotPublished, which says how many were stored."""
        accepted = Accepted(0, 0, [])
        for batch in batches(events):
            answer = self.publish_batch(batch, len(accepted.ids))
            accepted = Accepted(
                accepted.accepted + answer.accepted,
                accepted.duplicates + answer.duplicates,
                accepted.ids + answer.ids,
            )
        return accepted

    def publish_batch(self, batch: Iterable[OutgoingEvent], confirmed: int = 0) -> Accepted:
        """Publish a batch as a whole. Raises NotPublished with `confirmed`."""
        try:
            return self._publish(array(batch))
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
    ) -> Pages[ListedEvent]:
        """Events in the order of acceptance, newest first."""
        return self._list(
            PATH, ListedEvent, page_size, job_id=job_id, event=event, since=since, tenant=tenant
        )

    def get(self, id: str, *, tenant: str | None = None) -> EventDetail:
        """An event with its CloudEvent and its deliveries."""
        return self._get(f"{PATH}/{segment(id)}", EventDetail, {"tenant": tenant})

    def replay(self, id: str, *, subscription_id: str | None = None) -> Replayed:
        """Deliver an event again: to this subscription, or to all that match now."""
        return self._change(
            "POST", f"{PATH}/{segment(id)}/replay", Replayed, {"subscription_id": subscription_id}
        )

    def _publish(self, body: bytes) -> Accepted:
        return self._client.send(Request(method="POST", path=PATH, body=body, repeatable=True), Accepted)
