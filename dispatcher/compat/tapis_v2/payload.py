"""What Tapis v2 (Agave) sends to a webhook: the job document, and who it is for in `X-Agave-` headers."""

from __future__ import annotations

import msgspec

from dispatcher.compat.tapis_v2.ids import attempt_uuid, notification_uuid
from dispatcher.domain.event_names import status_of
from dispatcher.domain.events import Event
from dispatcher.domain.subscriptions import Subscription
from dispatcher.targets.formats import Content, Format, Render

_encode = msgspec.json.Encoder().encode


def prepare(subscription: Subscription) -> Render:
    """What is sent for this subscription."""
    notification = notification_uuid(subscription.id)

    def render(event: Event, delivery_id: str, number: int) -> Content:
        headers = {
            "Content-Type": "application/json",
            "X-Agave-Delivery": attempt_uuid(delivery_id, number),
            "X-Agave-Notification": notification,
        }
        return Content(headers, _encode(_job_document(event)))

    return render


FORMAT = Format(prepare, "the job document with the headers of Tapis v2", ("x-agave-",))


def _job_document(event: Event) -> dict[str, object]:
    """The event's job document; id and owner are added when it has none, the status is the event's."""
    known: dict[str, object] = {"id": event.job_id}
    if event.owner is not None:
        known["owner"] = event.owner
    document = known | dict(event.job)
    # An event that names a status is right about it; the document beside it may be from a moment before.
    if (status := status_of(event.event)) is not None:
        document["status"] = status
    return document
