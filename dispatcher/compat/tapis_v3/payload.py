"""What Tapis v3 sends to a webhook: a notification, with the event in it.

Source: tapis-notifications 1.6.2, model.Notification.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import Struct

from dispatcher.compat.tapis_v3.event_model import TapisEvent, tapis_event, type_of, uuid_of
from dispatcher.domain.event_names import status_of
from dispatcher.domain.events import Event
from dispatcher.domain.subscriptions import Subscription
from dispatcher.targets.formats import Content, Format, Render

_HEADERS = {"Content-Type": "application/json"}

_encode = msgspec.json.Encoder().encode


class _Target(Struct, rename="camel"):
    delivery_method: str
    delivery_address: str


class _Notification(Struct, rename="camel"):
    uuid: str
    tenant: str
    subscription_name: str
    event_uuid: str
    event: TapisEvent
    delivery_target: _Target
    created: str


class _JobData(Struct, rename="camel", omit_defaults=True):
    """What the Jobs service of Tapis says of a job that has a new status."""

    job_name: str | None
    job_uuid: str
    job_owner: str | None
    message: str | None
    new_job_status: str | None


def prepare(subscription: Subscription) -> Render:
    """What is sent for this subscription."""
    target = _Target("WEBHOOK", str(subscription.target["url"]))

    def render(event: Event, delivery_id: str, _: int) -> Content:
        tapis = as_tapis_event(event)
        notification = _Notification(
            uuid=uuid_of(delivery_id),
            tenant=event.tenant,
            subscription_name=subscription.name,
            event_uuid=tapis.uuid or event.id,
            event=tapis,
            delivery_target=target,
            # When it was made, which is the same at every attempt.
            created=_time(event.accepted_at),
        )
        return Content(_HEADERS, _encode(notification))

    return render


FORMAT = Format(prepare, "the notification of Tapis v3", ("content-type",))


def as_tapis_event(event: Event) -> TapisEvent:
    """The event as it came from Tapis, or what Tapis would have made of one that came in another form."""
    return tapis_event(event) or _as_theirs(event)


def _as_theirs(event: Event) -> TapisEvent:
    event = event.with_cached_document()
    name = event.job.get("name")
    event_type = type_of(event.type, event.event)
    data = _JobData(
        job_name=name if isinstance(name, str) else None,
        job_uuid=event.job_id,
        job_owner=event.owner,
        message=event.message,
        new_job_status=event_type.rpartition(".")[2] if status_of(event.event) else None,
    )
    return TapisEvent(
        source=event.source,
        type=event_type,
        timestamp=_time(event.time),
        subject=event.job_id,
        data=_encode(data).decode(),
        end_series=False,
        delete_subscriptions_matching_subject=False,
        tenant=event.tenant,
        user=event.owner,
        received=_time(event.accepted_at),
        uuid=uuid_of(event.key),
        series_seq_count=-1,
    )


def _time(moment: datetime) -> str:
    text: str = msgspec.to_builtins(moment)
    return text
