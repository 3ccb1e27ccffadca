"""CloudEvents 1.0 in structured form. The document of such an event is its JSON as it came.

Sources: CloudEvents 1.0.2, sections "Context Attributes" and "Type System", and its JSON format.
"""

from __future__ import annotations

import base64
import binascii
import re

import msgspec
from msgspec import Raw

from dispatcher.domain.events import Event
from dispatcher.domain.ids import new_id
from dispatcher.intake.message import UNREADABLE, Message, Scope, check_document, unreadable

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"

_DATA = ("data", "data_base64")
_NAME = re.compile(r"[a-z0-9]+")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# RFC 3339, section 5.6. The decoder takes more than that, such as a time without an offset.
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")

_Attribute = str | int | bool | None

_split = msgspec.json.Decoder(dict[str, Raw]).decode
_attribute = msgspec.json.Decoder(str | int | bool | None).decode
_encode = msgspec.json.Encoder().encode


def recognises(message: Message, document: bytes | Raw) -> bool:
    """Whether the content type or a `specversion` says that this is a CloudEvent."""
    if message.media_type in (STRUCTURED, BATCH):
        return True
    text = bytes(document)
    if b'"specversion"' not in text:
        return False
    try:
        return "specversion" in _split(text)
    except UNREADABLE:
        return False  # another shape will say what is wrong


def read(document: bytes | Raw, scope: Scope) -> Event:
    """The event: `subject` is the job's id, the last dotted part of `type` its name. Raises InvalidInput."""
    try:
        members = _split(document)
    except UNREADABLE as error:
        raise unreadable(error, scope) from None
    version = bytes(members.get("specversion", b"nothing"))
    if version != b'"1.0"':
        raise scope.refusal("specversion", f'expected "1.0", got {version[:40].decode(errors="replace")}')
    attributes = {name: _value(name, raw, scope) for name, raw in members.items() if name not in _DATA}
    event_type = _required("type", attributes, scope)
    owner, time = _optional("owner", attributes, scope), _optional("time", attributes, scope)
    for name in ("datacontenttype", "dataschema"):
        _optional(name, attributes, scope)
    _check_data(members, scope)
    return check_document(
        Event(
            key=new_id("evt"),
            id=_required("id", attributes, scope),
            source=_required("source", attributes, scope),
            type=event_type,
            event=scope.event_name("type", event_type.rpartition(".")[2]),
            job_id=_required("subject", attributes, scope),
            owner=owner or scope.publisher,
            published_by=scope.publisher,
            tenant=scope.tenant(_optional("tenant", attributes, scope)),
            time=scope.sent_at if time is None else scope.time("time", time),
            accepted_at=scope.now,
            document=_canonical(document, members, attributes, scope),
        ),
        scope,
    )


def _value(name: str, raw: Raw, scope: Scope) -> _Attribute:
    if not _NAME.fullmatch(name):
        raise scope.refusal(name[:80], "expected an attribute name of small letters and digits")
    try:
        value: _Attribute = _attribute(raw)
    except UNREADABLE as error:
        raise scope.refusal(
            name, f"expected a text, an integer or a boolean in valid JSON: {error}"
        ) from None
    if isinstance(value, str):
        if _CONTROLS.search(value):
            raise scope.refusal(name, "expected no control characters")
    elif isinstance(value, int) and not -(1 << 31) <= value < 1 << 31:
        raise scope.refusal(name, "expected an integer of 32 bits")
    return value


def _required(name: str, attributes: dict[str, _Attribute], scope: Scope) -> str:
    found = _optional(name, attributes, scope)
    if found is None:
        meaning = ", the id of the job" if name == "subject" else ""
        raise scope.refusal(name, f"expected a text{meaning}; the attribute is missing")
    return found


def _optional(name: str, attributes: dict[str, _Attribute], scope: Scope) -> str | None:
    found = attributes.get(name)
    if found is None:
        return None
    if not isinstance(found, str):
        raise scope.refusal(name, f"expected a text, got {found!r}")
    return scope.text(name, found)


def _check_data(members: dict[str, Raw], scope: Scope) -> None:
    encoded = members.get("data_base64")
    if encoded is None:
        return
    if "data" in members:
        raise scope.refusal("data_base64", "expected either data or data_base64, got both")
    try:
        base64.b64decode(msgspec.json.decode(encoded, type=str), validate=True)
    except (*UNREADABLE, binascii.Error, ValueError):
        raise scope.refusal("data_base64", "expected a text in base64 (RFC 4648, section 4)") from None


def _canonical(
    document: bytes | Raw, members: dict[str, Raw], attributes: dict[str, _Attribute], scope: Scope
) -> bytes:
    """The document as it came; written anew only when strict receivers would stumble over it.

    That is a null, which means an absent attribute, and a time that is not RFC 3339.
    """
    time = attributes.get("time")
    strict = not isinstance(time, str) or _RFC3339.fullmatch(time)
    nulls = [name for name, value in attributes.items() if value is None]
    if strict and not nulls:
        return bytes(document)
    written = {name: raw for name, raw in members.items() if name not in nulls}
    if isinstance(time, str) and not strict:
        written["time"] = Raw(_encode(scope.time("time", time)))
    return _encode(written)
