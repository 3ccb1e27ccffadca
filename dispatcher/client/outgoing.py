"""Events on their way out: each with an id, so that it can be sent again, and many of them in batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple
from uuid import uuid4

from dispatcher.domain.json_text import encoded

Event = Mapping[str, object]
"""A plain event such as `{"event": "FINISHED", "job_id": "0001-007", "owner": "alice"}`, or a CloudEvent."""

BATCH = 500
"""Events that are sent before the first of them is confirmed."""

BATCH_BYTES = 512 * 1024
"""Bytes after which a batch is full. The service takes twice as much."""


class OutgoingEvent(NamedTuple):
    """An event as it is sent; `id` is the publisher's."""

    id: str
    routing_key: str
    body: bytes


def outgoing(event: Event) -> OutgoingEvent:
    """The event with an id, a new one when it has none."""
    if event.get("id") is None:
        event = {**event, "id": str(uuid4())}
    return OutgoingEvent(str(event["id"]), _routing_key(event), encoded(event))


def batches(events: Iterable[Event]) -> Iterator[list[OutgoingEvent]]:
    """The events in their order, in batches that the service takes."""
    batch: list[OutgoingEvent] = []
    size = 0
    for event in map(outgoing, events):
        if len(batch) == BATCH or (batch and size + len(event.body) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(event)
        size += len(event.body) + 1
    if batch:
        yield batch


def array(batch: Iterable[OutgoingEvent]) -> bytes:
    """The body of one request."""
    return b"[%b]" % b",".join(event.body for event in batch)


def _routing_key(event: Event) -> str:
    """What a queue may be bound by: the event's type, or the one that a plain event gets."""
    found = str(event.get("type") or f"job.{event.get('event') or 'event'}")
    return found.encode(errors="replace")[:255].decode(errors="ignore")
