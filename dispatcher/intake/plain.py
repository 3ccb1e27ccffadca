"""The plain form, `{"event": "FINISHED", "job_id": "…", …}`, and the CloudEvent that it becomes."""

from __future__ import annotations

import difflib
from datetime import datetime

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from dispatcher.domain.events import DEFAULT_SOURCE, Event
from dispatcher.domain.ids import new_id
from dispatcher.domain.vocabulary import status_of
from dispatcher.intake.message import UNREADABLE, Message, Scope, check_document, unreadable

_EMPTY = Raw(b"{}")


class _Plain(Struct, forbid_unknown_fields=True):
    """What the publisher writes. `job` and `data` pass through as they are."""

    event: str | None = None
    job_id: str | None = None
    id: str | None = None
    source: str | None = None
    time: str | None = None
    owner: str | None = None
    tenant: str | None = None
    message: str | None = None
    job: Raw = _EMPTY
    data: Raw = _EMPTY


class _Job(Struct):
    """What is taken from a job document when the event itself does not say it."""

    id: object = None
    owner: object = None
    status: object = None


class _Data(Struct):
    event: str
    status: str | None
    message: str | None
    job: Raw
    data: Raw


class _Document(Struct, kw_only=True):
    specversion: str = "1.0"
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    tenant: str
    owner: str | UnsetType
    data: _Data


_decode = msgspec.json.Decoder(_Plain).decode
_decode_job = msgspec.json.Decoder(_Job).decode
_encode = msgspec.json.Encoder().encode


def recognises(message: Message, document: bytes | Raw) -> bool:
    """Whatever no other shape wants should be this one."""
    return True


def read(document: bytes | Raw, scope: Scope) -> Event:
    """The event, with what it does not say taken from its job document.

    Its time is not among that: the times in a job document are the job's, and of the moment when somebody
    read it. Without one it is that of the AMQP message, or now. Raises InvalidInput.
    """
    try:
        plain = _decode(document)
    except UNREADABLE as error:
        raise _explained(error, scope) from None
    key = new_id("evt")
    written = _document(plain, key, scope)
    return check_document(
        Event(
            key=key,
            id=written.id,
            source=written.source,
            type=written.type,
            event=written.data.event,
            job_id=written.subject,
            owner=None if written.owner is UNSET else written.owner,
            published_by=scope.publisher,
            tenant=written.tenant,
            time=written.time,
            accepted_at=scope.now,
            document=_encode(written),
        ),
        scope,
    )


def _document(plain: _Plain, key: str, scope: Scope) -> _Document:
    """The CloudEvent that a plain event becomes."""
    job_raw = _object("job", plain.job, scope)
    job = _decode_job(job_raw)
    event = _event_name(plain, job, scope)
    status = status_of(event) or _text(job.status)
    job_id = _first("job_id", plain.job_id, job.id, scope)
    if job_id is None:
        raise scope.refusal("job_id", "expected the id of the job")
    return _Document(
        id=scope.stable_id() or key if plain.id is None else scope.text("id", plain.id),
        source=DEFAULT_SOURCE if plain.source is None else scope.text("source", plain.source),
        type=f"job.{event}",
        subject=job_id,
        time=scope.sent_at if plain.time is None else scope.time("time", plain.time),
        tenant=scope.tenant(plain.tenant),
        owner=_first("owner", plain.owner, job.owner, scope) or scope.publisher or UNSET,
        data=_Data(event, status, plain.message, job_raw, _object("data", plain.data, scope)),
    )


def _object(field: str, raw: Raw, scope: Scope) -> Raw:
    text = bytes(raw)
    if text == b"null":
        return _EMPTY
    if not text.startswith(b"{"):
        raise scope.refusal(field, f"expected an object, got {text[:40].decode(errors='replace')}")
    return raw


def _event_name(plain: _Plain, job: _Job, scope: Scope) -> str:
    if plain.event is not None:
        return scope.event_name("event", plain.event)
    status = _text(job.status)
    if status is None:
        raise scope.refusal("event", 'expected what happened, such as "FINISHED"')
    return scope.event_name("job.status", status)


def _first(field: str, named: str | None, of_job: object, scope: Scope) -> str | None:
    """What the event says, or else what its job document says."""
    if named is not None:
        return scope.text(field, named)
    found = _text(of_job)
    return None if found is None else scope.text(f"job.{field.removeprefix('job_')}", found)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _explained(error: Exception, scope: Scope) -> Exception:
    """The refusal of what does not decode; for an unknown field it says which one may be meant."""
    refusal = unreadable(error, scope)
    prefix = "Object contains unknown field `"
    if not isinstance(error, msgspec.ValidationError) or not refusal.problem.startswith(prefix):
        return refusal
    name = refusal.problem.removeprefix(prefix).removesuffix("`")
    known = _Plain.__struct_fields__
    nearest = difflib.get_close_matches(name[:80].lower(), known, n=1)
    advice = f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(known)}"
    hint = "" if nearest else '; a job document stands under "job", the publisher\'s own fields under "data"'
    return scope.refusal(name[:80], f"unknown field; {advice}{hint}")
