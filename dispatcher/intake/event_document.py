"""The document of an event: the CloudEvent that another form of events becomes, and whether it can be decoded later."""

from __future__ import annotations

from datetime import datetime
from typing import Generic, Protocol, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from dispatcher.domain.events import Event
from dispatcher.intake.decode_context import MAX_DEPTH, UNREADABLE, DecodeContext, unreadable


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
    """The event of this document. Raises InvalidInput when it could not be decoded later."""
    return check_document(
        Event(
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
        ),
        context,
    )


def check_document(event: Event, context: DecodeContext) -> Event:
    """The event itself when its document can be decoded later.

    What passes through as raw JSON was only skimmed before. Unless it is long, the decoded form stays with the
    event for them.
    """
    try:
        decoded = event.decoded
    except UNREADABLE as error:
        raise unreadable(error, context) from None
    document = event.document
    if document.count(b"{") + document.count(b"[") > MAX_DEPTH and _deeper_than(MAX_DEPTH, decoded):
        raise context.refusal("", f"expected JSON that is nested at most {MAX_DEPTH} deep")
    return event


def _deeper_than(limit: int, document: object) -> bool:
    level = [document]
    for _ in range(limit):
        level = [child for node in level for child in _children(node) if isinstance(child, (dict, list))]
        if not level:
            return False
    return True


def _children(node: object) -> list[object]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []
