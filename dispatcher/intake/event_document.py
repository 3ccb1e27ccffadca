"""The document of an event: the CloudEvent that another form of events becomes."""

from __future__ import annotations

from datetime import datetime
from typing import Generic, Protocol, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from dispatcher.domain.events import Event
from dispatcher.intake.decode_context import DecodeContext


class EventData(Protocol):
    """What the `data` of such a document has, whatever it was made of."""

    event: str


D = TypeVar("D", bound=EventData)

_encode = msgspec.json.Encoder().encode


class EventDocument(Struct, Generic[D], kw_only=True):
    """The CloudEvent that an event in another form becomes. Its `subject` is the job."""

    specversion: str = "1.0"
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    tenant: str
    owner: str | UnsetType
    dispatcherhops: int | UnsetType
    data: D


def to_event(written: EventDocument[D], key: str, context: DecodeContext) -> Event:
    """The event of this document."""
    return Event(
        key=key,
        id=written.id,
        source=written.source,
        type=written.type,
        event=written.data.event,
        job_id=written.subject,
        owner=None if written.owner is UNSET else written.owner,
        published_by=context.publisher,
        tenant=written.tenant,
        time=written.time,
        accepted_at=context.now,
        document=_encode(written),
    )
