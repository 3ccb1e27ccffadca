"""CloudEvents 1.0 in structured form. The document of such an event is its JSON as it came.

Sources: CloudEvents 1.0.2, sections "Context Attributes" and "Type System", and its JSON format.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime

import msgspec
from msgspec import Raw

from dispatcher.domain.event_names import EVENTS, is_operational, known_as
from dispatcher.domain.events import Event, digits
from dispatcher.domain.hops import EXTENSION
from dispatcher.domain.ids import new_id
from dispatcher.intake.decode_context import UNREADABLE, DecodeContext, Message, unreadable
from dispatcher.intake.duplicate_keys import KeyCheck, all_once

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"

_DATA = ("data", "data_base64")
CORE = frozenset(
    {"specversion", "id", "source", "type", "subject", "time", "datacontenttype", "owner", "tenant"}
)
"""The attributes that are read: what is wrong with one of them refuses the event. The others only decorate it."""

_NAME = re.compile(r"[a-z0-9]+")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# RFC 3339, section 5.6. The decoder takes more than that, such as a time without an offset, or a leap second.
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:[0-5]\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
# A part of a type that says in which version it is, such as v1, v2beta1 or 1.
_VERSION = re.compile(r"[vV]?\d+([-_]\d+)*([-_]?(alpha|beta|rc)[-_]?\d*)?")
# A version that another sign than a dot divides from the name, as in finished-v1 or finished/2.
_WITH_VERSION = re.compile(rf"(?P<name>[A-Za-z_-]+?)[-_:/@+]{_VERSION.pattern}")

_Attribute = str | float | bool | None

_check_keys = KeyCheck((*CORE, *_DATA))
_split = msgspec.json.Decoder(dict[str, Raw]).decode
_attribute = msgspec.json.Decoder(str | int | bool | None).decode
_number = msgspec.json.Decoder(float).decode
_encode = msgspec.json.Encoder().encode


def matches(message: Message, document: bytes | Raw) -> bool:
    """Whether the content type or a `specversion` says that this is a CloudEvent."""
    if message.media_type in (STRUCTURED, BATCH):
        return True
    text = bytes(document)
    if b'"specversion"' not in text:
        return False
    try:
        return "specversion" in _split(text)
    except UNREADABLE:
        return False  # another form will say what is wrong


def read(document: bytes | Raw, context: DecodeContext) -> Event:
    """The event: `subject` is the job's id, the last dotted part of `type` its name. Raises InvalidInput."""
    try:
        found = _split(document)
    except UNREADABLE as error:
        raise unreadable(error, context) from None
    if not all_once(bytes(document), len(found), b"".join(found.values()).count(b":")):
        _check_keys(document, [found[name] for name in _DATA if name in found], context)
    members = _named_right(found)
    version = bytes(members.get("specversion", b"nothing"))
    if version != b'"1.0"':
        raise context.refusal("specversion", f'expected "1.0", got {version[:40].decode(errors="replace")}')
    attributes, strict = _attributes(members, context)
    event_type = _required("type", attributes, context)
    owner, time = _optional("owner", attributes, context), _time(attributes.get("time"), context)
    _optional("datacontenttype", attributes, context)
    _check_data(members, context)
    hops = context.hops(attributes.get(EXTENSION))
    as_it_came = strict and members is found and not hops
    changes: dict[str, object] = {"time": time, EXTENSION: hops or attributes.get(EXTENSION)}
    written = bytes(document) if as_it_came else _written(members, {**attributes, **changes})
    return Event(
        key=new_id("evt"),
        id=_required("id", attributes, context),
        source=_required("source", attributes, context),
        type=event_type,
        event=_event_name(event_type, context),
        job_id=_required("subject", attributes, context),
        owner=owner or context.publisher,
        published_by=context.publisher,
        tenant=context.tenant(_optional("tenant", attributes, context)),
        time=time or context.sent_at,
        accepted_at=context.now,
        document=written,
    )


def _named_right(members: dict[str, Raw]) -> dict[str, Raw]:
    """The members with names that attributes may have; one that would be called as another is left out."""
    together = "".join(members)
    if together.isascii() and together.isalnum() and together.islower():
        return members
    if all(_NAME.fullmatch(name) or name in _DATA for name in members):
        return members
    right = {name: raw for name, raw in members.items() if _NAME.fullmatch(name) or name in _DATA}
    for name, raw in members.items():
        plain = _NOT_IN_NAMES.sub("", name.lower())
        if plain:
            right.setdefault(plain, raw)
    return right


def _event_name(event_type: str, context: DecodeContext) -> str:
    """The last dotted part of a type that is no version, and without the one that a known name has behind it."""
    if is_operational(event_type):
        raise context.refusal(
            "type", "expected a type that does not begin with dispatcher.: those are our own"
        )
    parts = event_type.split(".")
    while len(parts) > 1 and _VERSION.fullmatch(parts[-1]):
        parts.pop()
    name = parts[-1]
    if name not in EVENTS and (found := _WITH_VERSION.fullmatch(name)) and known_as(found["name"]) in EVENTS:
        name = found["name"]
    return context.event_name("type", name)


def _attributes(members: dict[str, Raw], context: DecodeContext) -> tuple[dict[str, _Attribute], bool]:
    """The attributes, and whether they all are as CloudEvents 1.0 wants them: else the document is written again."""
    attributes: dict[str, _Attribute] = {}
    strict = True
    for name, raw in members.items():
        if name in _DATA:
            continue
        try:
            value = _attribute(raw)
        except UNREADABLE as error:
            value, kept = _odd_value(name, raw, error, context), False
        else:
            value, kept = _core_value(name, value, context) if name in CORE else _decoration(value)
        attributes[name] = value
        strict = strict and kept
    return attributes, strict


def _core_value(name: str, value: _Attribute, context: DecodeContext) -> tuple[_Attribute, bool]:
    """The value of an attribute that is read, and whether it may go on as it came."""
    if value == "":
        return None, False
    if isinstance(value, str):
        return value, name != "time" or _RFC3339.fullmatch(value) is not None
    if name == "time" or value is None or isinstance(value, bool):
        return value, False
    return context.text(name, int(value)), False


def _decoration(value: _Attribute) -> tuple[_Attribute, bool]:
    """The value of an attribute that only decorates, and whether it may go on as it came."""
    if isinstance(value, str):
        text = _CONTROLS.sub("\ufffd", value)
        return text, text == value
    if isinstance(value, int) and not -(1 << 31) <= value < 1 << 31:
        return digits(value), False
    return value, value is not None


def _odd_value(name: str, raw: Raw, error: Exception, context: DecodeContext) -> _Attribute:
    """What stands for a number with a fraction, an array or an object. `error` says why it is no attribute."""
    if name not in CORE:
        return bytes(raw).decode(errors="replace")
    if name == "time":
        with suppress(*UNREADABLE):
            return _number(raw)
    raise context.refusal(name, f"expected a text or a whole number: {error}")


def _time(value: _Attribute, context: DecodeContext) -> datetime | None:
    return None if value is None else context.time("time", value)


def _required(name: str, attributes: dict[str, _Attribute], context: DecodeContext) -> str:
    found = _optional(name, attributes, context)
    if found is None:
        meaning = ", the id of the job" if name == "subject" else ""
        raise context.refusal(name, f"expected a text{meaning}; the attribute is missing")
    return found


def _optional(name: str, attributes: dict[str, _Attribute], context: DecodeContext) -> str | None:
    found = attributes.get(name)
    if found is None:
        return None
    if not isinstance(found, str):
        raise context.refusal(name, f"expected a text, got {_encode(found).decode()}")
    return context.text(name, found)


def _check_data(members: dict[str, Raw], context: DecodeContext) -> None:
    encoded = members.get("data_base64")
    if encoded is None:
        return
    if "data" in members:
        raise context.refusal("data_base64", "expected either data or data_base64, got both")
    try:
        context.check_base64("data_base64", msgspec.json.decode(encoded, type=str))
    except UNREADABLE:
        raise context.refusal("data_base64", "expected a text in base64 (RFC 4648, section 4)") from None


def _written(members: dict[str, Raw], attributes: Mapping[str, object]) -> bytes:
    """The document again, with these attributes, and without those that have no value: a null means that."""
    data = {name: members[name] for name in _DATA if name in members}
    return _encode({name: value for name, value in attributes.items() if value is not None} | data)
