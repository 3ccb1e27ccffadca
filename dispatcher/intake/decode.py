"""Decoding: from the bytes and headers of a message to events, in whichever form they come."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.events import Event
from dispatcher.domain.permissions import CHANGES, MAX_USER, permission_of
from dispatcher.intake import cloudevents, cloudevents_binary, plain
from dispatcher.intake.decode_context import UNREADABLE, DecodeContext, IntakeAdapter, unreadable
from dispatcher.intake.inflate import inflate
from dispatcher.intake.loops import LoopLog, TooManyHops
from dispatcher.intake.raw_message import Message
from dispatcher.intake.repair import not_a_number, repaired
from dispatcher.telemetry.time_slices import TimeSlices

__all__ = ["MAX_BODY", "MAX_EVENTS", "Message", "decode", "decode_in_slices"]

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

_loops = LoopLog()

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
        _loops.refused(error, context.message.origin)
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
        return [_check_grant(cloudevents.read(cloudevents_binary.structured(message), context), context)]
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
        return [_check_grant(cloudevents.read(document, context), context)]
    for adapter in context.adapters:
        text = bytes(document)
        if adapter.mark in text and adapter.matches(text):
            return _adapted(text, adapter, context)
    return [_check_grant(plain.read(document, context), context)]


def _adapted(document: bytes, adapter: IntakeAdapter, context: DecodeContext) -> list[Event]:
    events = [_check_grant(event, context) for event in adapter.read(document, context)]
    most = MAX_EVENTS if context.index is None else 1
    if not 0 < len(events) <= most:
        raise context.refusal("", f"expected 1 to {most} events in a document, got {len(events)}")
    return events


def _check_grant(event: Event, context: DecodeContext) -> Event:
    """The event itself, unless it grants or revokes and does not say whom: it would be stored and change nothing."""
    if event.event in CHANGES and permission_of(event) is None:
        raise context.refusal(
            "data.username",
            f"expected whom {event.event} is about: a text of 1 to {MAX_USER} characters without control characters",
        )
    return event
