"""Decoding: from the bytes and headers of a message to events, in whichever form they come."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec
import structlog
from msgspec import Raw
from msgspec.structs import replace

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.events import Event
from dispatcher.domain.permissions import CHANGES, MAX_USER, permission_of
from dispatcher.intake import cloudevents, cloudevents_binary, plain
from dispatcher.intake.body import inflate, not_a_number, repaired
from dispatcher.intake.decode_context import (
    MAX_DEPTH,
    UNREADABLE,
    DecodeContext,
    IntakeAdapter,
    Message,
    TooManyHops,
    unreadable,
)
from dispatcher.telemetry.log_limit import LogLimit
from dispatcher.telemetry.metrics import LOOPS
from dispatcher.telemetry.time_slices import TimeSlices

__all__ = ["MAX_BODY", "MAX_EVENTS", "Message", "decode", "decode_in_slices"]

log = structlog.get_logger("dispatcher.intake")

MAX_BODY = 1 << 20
"""Bytes that one message may have."""

MAX_EVENTS = 1000
"""Events that one message may have."""

_LONG = 16 * 1024
"""Bytes of a message from which on it takes more than a millisecond to decode."""

_EXPECTED = ("application/json", cloudevents.STRUCTURED, cloudevents.BATCH)
# Many clients leave the content type to chance.
_JSON = frozenset({"", "text/json", "text/plain", "application/octet-stream", *_EXPECTED})
_BY_KOMBU = "compression"
"""The header in which kombu says how it compressed a body."""

_LOG_SECONDS = 60.0
"""Between two lines in the log about events that go round: a loop goes as fast as the machine does."""

_log_limit = LogLimit(_LOG_SECONDS)

_decode_array = msgspec.json.Decoder(list[Raw]).decode


def decode(
    message: Message,
    *,
    default_tenant: str,
    tenant_fixed: bool,
    now: datetime,
    publisher: str | None = None,
    adapters: Sequence[IntakeAdapter] = (),
) -> list[Event]:
    """The events of a message in their order, each accepted `now` (UTC): all of them, or InvalidInput.

    An event without a tenant gets `default_tenant`; with `tenant_fixed` it may name no other one. One without an owner
    gets `publisher`: the owner for whom alone the publisher may speak, None for a trusted one. Events that have no id
    and come in a message that has none get a new id each time that they are decoded. `adapters` read other systems'
    forms of events.
    """
    body = _inflated(message)
    return _decoded(DecodeContext(body, default_tenant, tenant_fixed, now, publisher, None, adapters))


async def decode_in_slices(
    message: Message,
    *,
    default_tenant: str,
    tenant_fixed: bool,
    now: datetime,
    publisher: str | None = None,
    adapters: Sequence[IntakeAdapter] = (),
) -> list[Event]:
    """What `decode` returns and raises. Others go on while the events of a long message are decoded."""
    body = _inflated(message)
    context = DecodeContext(body, default_tenant, tenant_fixed, now, publisher, None, adapters)
    if len(context.message.body) < _LONG:
        return _decoded(context)
    try:
        return await _events_in_slices(context)
    except InvalidInput as error:
        context = await asyncio.to_thread(_readable, context, error)
    try:
        return await _events_in_slices(context)
    except InvalidInput as error:
        raise await asyncio.to_thread(_explained, context, error) from None


def _decoded(context: DecodeContext) -> list[Event]:
    try:
        return _events(context)
    except InvalidInput as error:
        context = _readable(context, error)
    try:
        return _events(context)
    except InvalidInput as error:
        raise _explained(context, error) from None


def _readable(context: DecodeContext, error: InvalidInput) -> DecodeContext:
    """The same with a body that can be read. Raises `error`, or a better reason, when it is not the body's fault.

    Nearly all bodies can be read as they came: only of one that cannot it is worth to ask why.
    """
    message = context.message
    body = message.body if isinstance(error, TooManyHops) else repaired(message)
    if body == message.body:
        raise _explained(context, error)
    return replace(context, message=replace(message, body=body))


def _explained(context: DecodeContext, error: InvalidInput) -> InvalidInput:
    """The error itself, or a better reason. Events that go round are counted."""
    if isinstance(error, TooManyHops):
        LOOPS.labels(context.message.origin).inc()
        if (left_out := _log_limit.allows("")) is not None:
            log.warning(
                "a subscription delivers to this service itself",
                source=context.message.origin,
                problem=error.problem,
                refused=left_out + 1,
            )
        return error
    found = not_a_number(context.message.body)
    if found is None:
        return error
    # The body of a CloudEvent in binary form is its data.
    binary = context.message.headers and cloudevents_binary.matches(context.message)
    return InvalidInput(f"data.{found.field}".rstrip("."), found.problem) if binary else found


def _events(context: DecodeContext) -> list[Event]:
    message = context.message
    if message.headers and cloudevents_binary.matches(message):
        return [_checked(cloudevents.read(cloudevents_binary.structured(message), context), context)]
    if message.body.startswith(b"{") or message.body.lstrip(b" \t\r\n")[:1] != b"[":
        _check_single(message)
        return _read(message.body, context)
    return [event for document, own in _array(context) for event in _read(document, own)]


async def _events_in_slices(context: DecodeContext) -> list[Event]:
    message = context.message
    if cloudevents_binary.matches(message) or message.body.lstrip(b" \t\r\n")[:1] != b"[":
        return _events(context)
    events: list[Event] = []
    slices = TimeSlices()
    for document, own in _array(context):
        events += _read(document, own)
        if slices.over:
            await slices.others()
    return events


def _inflated(message: Message) -> Message:
    """The message with a body that is not compressed. Raises InvalidInput when it is too long."""
    encodings = message.content_encoding or ""
    if message.headers and message.origin == "amqp" and (compression := message.headers.get(_BY_KOMBU)):
        encodings = f"{compression},{encodings}"
    body = inflate(message.body, encodings, MAX_BODY) if encodings else message.body
    if len(body) > MAX_BODY:
        raise InvalidInput("", f"expected at most {MAX_BODY} bytes, got {len(body)}")
    return message if body is message.body else replace(message, body=body)


def _check_single(message: Message) -> None:
    if message.media_type == cloudevents.BATCH:
        raise InvalidInput("", f"expected a JSON array, as the content type {cloudevents.BATCH} says")
    _check_json(message)


def _check_json(message: Message) -> None:
    media_type = message.media_type
    if media_type in _JSON:
        return
    if media_type.startswith("application/cloudevents") or not media_type.endswith("+json"):
        raise InvalidInput("content-type", f"expected {', '.join(_EXPECTED)}, got {media_type!r:.80}")


def _array(context: DecodeContext) -> Iterator[tuple[Raw, DecodeContext]]:
    """The documents of an array, each with its place."""
    message = context.message
    _check_json(message)
    if message.media_type == cloudevents.STRUCTURED:
        raise InvalidInput("", f"expected one event; several go as {cloudevents.BATCH}")
    try:
        documents = _decode_array(message.body)
    except UNREADABLE as error:
        raise unreadable(error, context) from None
    if len(documents) > MAX_EVENTS:
        raise InvalidInput("", f"expected at most {MAX_EVENTS} events, got {len(documents)}")
    for index, document in enumerate(documents):
        yield document, replace(context, index=index)


def _read(document: bytes | Raw, context: DecodeContext) -> list[Event]:
    """The events of one document: a CloudEvent, what an adapter reads, or else a plain event."""
    if cloudevents.matches(context.message, document):
        return [_checked(cloudevents.read(document, context), context)]
    for adapter in context.adapters:
        text = bytes(document)
        if adapter.mark in text and adapter.matches(text):
            return _adapted(text, adapter, context)
    return [_checked(plain.read(document, context), context)]


def _adapted(document: bytes, adapter: IntakeAdapter, context: DecodeContext) -> list[Event]:
    events = [_checked(event, context) for event in adapter.read(document, context)]
    most = MAX_EVENTS if context.index is None else 1
    if not 0 < len(events) <= most:
        raise context.refusal("", f"expected 1 to {most} events in a document, got {len(events)}")
    return events


def _checked(event: Event, context: DecodeContext) -> Event:
    """The event itself, when its document can be decoded later, and a grant says whom it is for."""
    _check_document(event, context)
    if event.event in CHANGES and permission_of(event) is None:
        # It would be stored and change nothing.
        raise context.refusal(
            "data.username",
            f"expected whom {event.event} is about: a text of 1 to {MAX_USER} characters without control characters",
        )
    return event


def _check_document(event: Event, context: DecodeContext) -> None:
    """Refuse a document that cannot be decoded: what passes through as raw JSON was only skimmed before.

    Unless it is long, the decoded form stays with the event for those who read it later.
    """
    try:
        decoded = event.decoded
    except UNREADABLE as error:
        raise unreadable(error, context) from None
    document = event.document
    if document.count(b"{") + document.count(b"[") > MAX_DEPTH and _deeper_than(MAX_DEPTH, decoded):
        raise context.refusal("", f"expected JSON that is nested at most {MAX_DEPTH} deep")


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
