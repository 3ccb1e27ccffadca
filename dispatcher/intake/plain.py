"""The plain form, `{"event": "FINISHED", "job_id": "…", …}`, and the CloudEvent that it and other forms become."""

from __future__ import annotations

import difflib
from datetime import datetime
from typing import Generic, Protocol, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import astuple

from dispatcher.domain.event_names import EVENT_NAME, document_status, status_of
from dispatcher.domain.events import DEFAULT_SOURCE, Event
from dispatcher.domain.ids import new_id
from dispatcher.intake.decode_context import UNREADABLE, DecodeContext, unreadable
from dispatcher.intake.duplicate_keys import KeyCheck, all_once

_EMPTY = Raw(b"{}")
_NOTHING = (None, "")


class _Plain(Struct, forbid_unknown_fields=True):
    """What the publisher writes. `job`, `data` and `data_base64` pass through as they are."""

    event: str | None = None
    job_id: str | int | None = None
    id: str | int | None = None
    source: str | int | None = None
    time: str | int | float | None = None
    owner: str | int | None = None
    tenant: str | int | None = None
    message: object = None
    job: Raw = _EMPTY
    data: Raw = _EMPTY
    data_base64: str | None = None


class _Job(Struct):
    """What is taken from a job document when the event itself does not say it."""

    id: object = None
    owner: object = None
    status: object = None


class EventData(Protocol):
    """What the `data` of such a document has, whatever it was made of."""

    event: str


D = TypeVar("D", bound=EventData)


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


class _Data(Struct):
    event: str
    status: str | None
    message: str | None
    job: Raw
    data: Raw
    data_base64: str | UnsetType


_check_keys = KeyCheck(_Plain.__struct_fields__)
_check_job_keys = KeyCheck(_Job.__struct_fields__)
_decode = msgspec.json.Decoder(_Plain).decode
_decode_job = msgspec.json.Decoder(_Job).decode
_encode = msgspec.json.Encoder().encode


def read(document: bytes | Raw, context: DecodeContext) -> Event:
    """The event, with what it does not say taken from its job document.

    Its time is not among that: the times in a job document are the job's, and of the moment when somebody
    read it. Without one it is that of the AMQP message, or now. Raises InvalidInput.
    """
    try:
        plain = _decode(document)
    except UNREADABLE as error:
        raise _explained(error, context) from None
    if not _has_keys_once(bytes(document), plain):
        _check_keys(document, (plain.job, plain.data), context)
    key = new_id("evt")
    return to_event(_document(plain, key, context), key, context)


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


def _has_keys_once(document: bytes, plain: _Plain) -> bool:
    """Whether it can be seen at once that no key stands there twice."""
    values = astuple(plain)
    keys = len(values) - values.count(None) - (plain.job is _EMPTY) - (plain.data is _EMPTY)
    within = bytes(plain.job).count(b":") + bytes(plain.data).count(b":")
    if all_once(document, keys, within):
        return True
    # Texts may have colons too; where nothing is escaped they are there as they were read.
    within += sum([value.count(":") for value in values if isinstance(value, str)])
    return b"\\" not in document and all_once(document, keys, within)


def _document(plain: _Plain, key: str, context: DecodeContext) -> EventDocument[_Data]:
    """The CloudEvent that a plain event becomes."""
    job_raw = _object("job", plain.job, context)
    _check_job_keys(job_raw, (), context, "job.")
    job = _decode_job(job_raw)
    event = _event_name(plain, job, context)
    status = status_of(event) or document_status(job.status)
    job_id = _first("job_id", plain.job_id, job.id, context)
    if job_id is None:
        raise context.refusal("job_id", "expected the id of the job")
    return EventDocument(
        id=context.stable_id() or key if plain.id in _NOTHING else context.text("id", plain.id),
        source=DEFAULT_SOURCE if plain.source in _NOTHING else context.text("source", plain.source),
        type=f"job.{event}",
        subject=job_id,
        time=context.sent_at if plain.time in _NOTHING else context.time("time", plain.time),
        tenant=context.tenant(plain.tenant),
        owner=_first("owner", plain.owner, job.owner, context) or context.publisher or UNSET,
        dispatcherhops=context.hops() or UNSET,
        data=_Data(
            event,
            status,
            _message(plain),
            job_raw,
            _object("data", plain.data, context),
            _bytes(plain, context),
        ),
    )


def _bytes(plain: _Plain, context: DecodeContext) -> str | UnsetType:
    """Data that is not JSON, in base64, as a CloudEvent may have it in place of data."""
    if not plain.data_base64:
        return UNSET
    if plain.data is not _EMPTY:
        raise context.refusal("data_base64", "expected either data or data_base64, got both")
    context.check_base64("data_base64", plain.data_base64)
    return plain.data_base64


def _object(field: str, raw: Raw, context: DecodeContext) -> Raw:
    text = bytes(raw)
    if text == b"null":
        return _EMPTY
    if not text.startswith(b"{"):
        raise context.refusal(field, f"expected an object, got {text[:40].decode(errors='replace')}")
    return raw


def _event_name(plain: _Plain, job: _Job, context: DecodeContext) -> str:
    if plain.event:
        return context.event_name("event", plain.event)
    status = document_status(job.status)
    if status is None:
        raise context.refusal("event", 'expected what happened, such as "FINISHED"')
    return context.event_name("job.status", status)


def _first(field: str, named: str | int | None, of_job: object, context: DecodeContext) -> str | None:
    """What the event says, or else what its job document says."""
    if named is not None and named != "":
        return context.text(field, named)
    if of_job is None or of_job == "":
        return None
    path = f"job.{field.removeprefix('job_')}"
    if isinstance(of_job, bool) or not isinstance(of_job, str | int):
        raise context.refusal(path, f"expected a text or a whole number, got {_encode(of_job).decode():.40}")
    return context.text(path, of_job)


def _message(plain: _Plain) -> str | None:
    """What is said about the event, as text whatever it is; or else the event with the words after its name."""
    said = plain.message
    if said is None:
        words = plain.event or ""
        return None if EVENT_NAME.fullmatch(words) else words or None
    return said if isinstance(said, str) else _encode(said).decode()


def _explained(error: Exception, context: DecodeContext) -> Exception:
    """The refusal of what does not decode; for an unknown field it says which one may be meant."""
    refusal = unreadable(error, context)
    prefix = "Object contains unknown field `"
    if not isinstance(error, msgspec.ValidationError) or not refusal.problem.startswith(prefix):
        return refusal
    name = refusal.problem.removeprefix(prefix).removesuffix("`")
    known = _Plain.__struct_fields__
    nearest = difflib.get_close_matches(name[:80].lower(), known, n=1)
    advice = f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(known)}"
    hint = "" if nearest else '; a job document stands under "job", the publisher\'s own fields under "data"'
    return context.refusal(name[:80], f"unknown field; {advice}{hint}")
