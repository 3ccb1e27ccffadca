"""CloudEvents 1.0 in binary form: the attributes stand in headers, the body is the data.

Sources: CloudEvents 1.0.2, its bindings to HTTP, AMQP and Kafka, whose `ce_` arrives over bridges; Knative's RabbitMQ
broker for names without a prefix.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite
from urllib.parse import unquote

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from dispatcher.domain.errors import InvalidInput
from dispatcher.intake import cloudevents
from dispatcher.intake.amqp.field_table import as_text
from dispatcher.intake.decode_context import UNREADABLE, Message

_PREFIXES = ("ce-", "cloudevents_", "cloudevents:")
_OF_KAFKA = "ce_"
_NAME = re.compile(r"[a-z0-9]+")

_encode = msgspec.json.Encoder(enc_hook=str).encode


def matches(message: Message) -> bool:
    """Whether the message's headers hold the attributes of a CloudEvent."""
    if not message.headers or message.media_type.startswith("application/cloudevents"):
        return False
    names = [name.lower() for name in message.headers]
    if any(name.startswith(_PREFIXES) for name in names) or f"{_OF_KAFKA}specversion" in names:
        return True
    return message.origin == "amqp" and "specversion" in names


def structured(message: Message) -> bytes:
    """A binary message in structured form. Raises InvalidInput."""
    if message.content_type is None:
        message = replace(message, content_type=_content_type(message.headers))
    document = _header_attributes(message)
    if message.content_type:
        document["datacontenttype"] = _in_unicode(message.content_type)
    if message.body:
        document |= _body_data(message)
    return _encode(document)


def _content_type(headers: Mapping[str, object]) -> str | None:
    """That of a header, as bridges from Kafka and others pass it on."""
    found = next((value for name, value in headers.items() if name.lower() == "content-type"), None)
    return found if isinstance(found, str) else None


def _header_attributes(message: Message) -> dict[str, object]:
    named = [(_in_unicode(name).lower(), value) for name, value in message.headers.items()]
    prefixes = (*_PREFIXES, _OF_KAFKA)
    found = [(n[len(prefix) :], v) for n, v in named for prefix in prefixes if n.startswith(prefix)]
    if not found:
        # Knative's RabbitMQ broker writes the attributes as they are called, and empty ones too.
        found = [(name, value) for name, value in named if _NAME.fullmatch(name)]
    attributes: dict[str, object] = {}
    for name, value in found:
        read = _from_header(name, value, message)
        if read in (None, ""):
            continue
        if name in cloudevents.CORE and attributes.get(name, read) != read:
            raise InvalidInput(name, "expected it once, the headers have it more than once")
        attributes[name] = read
    return attributes


def _from_header(name: str, value: object, message: Message) -> object:
    """A header's value as JSON holds it; whether an attribute can have it is checked with the others."""
    if isinstance(value, str):
        return _unquoted(_in_unicode(value)) if message.origin == "http" else value
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    if isinstance(value, (bool, int, float)) or value is None:
        return value
    if isinstance(value, (bytes, bytearray)):
        return as_text(bytes(value))
    return Raw(_encode(value))


def _in_unicode(value: str) -> str:
    """A header's value as it was meant: the server takes it for UTF-8, and some clients write Latin-1."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogateescape").decode("latin-1")
    return value


def _unquoted(value: str) -> str:
    """A header's value after one round of unquoting (RFC 7230, section 3.2.6) and percent-decoding."""
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        return unquote(value, "latin-1")


def _body_data(message: Message) -> dict[str, object]:
    body, media_type = message.body, message.media_type
    if media_type in ("application/json", "text/json") or media_type.endswith("+json"):
        if not _is_json(body):
            raise InvalidInput("data", f"expected valid JSON in UTF-8, as the content type {media_type} says")
        return {"data": Raw(body)}
    if not media_type:
        return {"data": Raw(body)} if _is_json(body) else {"data_base64": base64.b64encode(body).decode()}
    if media_type.startswith("text/") or media_type.endswith(("/xml", "+xml")):
        try:
            return {"data": body.decode()}
        except UnicodeDecodeError:
            pass  # another charset: the bytes go on as they are
    return {"data_base64": base64.b64encode(body).decode()}


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body)
    except UNREADABLE:
        return False
    return True
