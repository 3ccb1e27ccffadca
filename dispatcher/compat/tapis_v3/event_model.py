"""Events of Tapis v3 and their types, `service.category.detail`: what they are here, and what selects them.

Source: tapis-notifications 1.6.2, model.Event and model.Subscription.
"""

from __future__ import annotations

import re
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct, UnsetType

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.event_names import WITHOUT_STATUS
from dispatcher.domain.events import Event

_PART = r"[a-zA-Z][a-zA-Z0-9_~-]*"
_TYPE = re.compile(rf"[a-z]+\.{_PART}\.{_PART}")
_TYPE_FILTER = re.compile(rf"[a-z]+\.({_PART}|\*)\.({_PART}|\*)")
MAX_TYPE = 128

STATUS = "jobs.JOB_NEW_STATUS."
"""How the type of an event begins that says in which status a job is now; the status follows."""

USER_EVENT = "jobs.JOB_USER_EVENT."
"""How the type of an event begins that a user sent to a job; its `data` are whatever the user wrote."""

_OURS = "job."
_CANCELLED = {"CANCELLED": "KILLED"}
_KILLED = {ours: theirs for theirs, ours in _CANCELLED.items()}
_MAX_NAME = 64

Filter = dict[str, object]


class TapisEvent(Struct, kw_only=True, rename="camel", omit_defaults=True):
    """An event of Tapis v3. What its server adds to what was published begins with `tenant`."""

    source: str
    type: str
    timestamp: str
    subject: str | None = None
    data: str | None = None
    series_id: str | None = None
    end_series: bool | UnsetType = UNSET
    delete_subscriptions_matching_subject: bool | UnsetType = UNSET
    tenant: str | None = None
    user: str | None = None
    received: str | None = None
    uuid: str | None = None
    series_seq_count: int | UnsetType = UNSET


class _Data(Struct):
    data: TapisEvent


class _Document(Struct):
    data: _Data


_decode = msgspec.json.Decoder(_Document).decode


def tapis_event(event: Event) -> TapisEvent | None:
    """The event of Tapis v3 that this one came as; None when it came in another form."""
    if b'"timestamp"' not in event.document:
        return None
    try:
        return _decode(event.document).data.data
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def uuid_of(native: str) -> str:
    """An id of ours as a UUID is written."""
    return str(UUID(native.rpartition("_")[2]))


def native_id(prefix: str, uuid: str) -> str | None:
    """Our id that a UUID means, or None when it is no UUID."""
    try:
        return f"{prefix}_{UUID(uuid).hex}"
    except ValueError:
        return None


def check_type(field: str, event_type: str) -> None:
    """Raise InvalidInput unless it is the type of an event."""
    if len(event_type) > MAX_TYPE or not _TYPE.fullmatch(event_type):
        raise InvalidInput(
            field,
            f"expected <service>.<category>.<detail>, such as {STATUS}FINISHED, {MAX_TYPE} characters at most, "
            f"got {event_type[:80]!r}",
        )


def event_name(event_type: str) -> str:
    """The name of an event: a job's status, or else `<category>.<detail>`, which says nothing of the status.

    A cancelled job is KILLED here: somebody asked for its end.
    """
    if event_type.startswith(STATUS):
        detail = event_type.removeprefix(STATUS)
        name = _CANCELLED.get(detail, detail)
    else:
        name = event_type.partition(".")[2]
    return name.replace("~", "-")[:_MAX_NAME]


def status_as_theirs(status: str | None) -> str | None:
    """A job's status as Tapis v3 calls it."""
    return None if status is None else _KILLED.get(status, status)


def type_of(native: str, name: str) -> str:
    """The type that Tapis v3 would give an event of ours, for one that came in another form."""
    return f"{STATUS}{_KILLED.get(name, name)}" if native.startswith(_OURS) else native


def check_type_filter(field: str, type_filter: str) -> None:
    """Raise InvalidInput unless it selects types of events."""
    if len(type_filter) > MAX_TYPE or not _TYPE_FILTER.fullmatch(type_filter):
        raise InvalidInput(
            field,
            f"expected <service>.<category>.<detail>, such as {STATUS}*, the last two a name or *, "
            f"{MAX_TYPE} characters at most, got {type_filter[:80]!r}",
        )


def filters_of(type_filter: str) -> tuple[Filter, ...]:
    """The filters of a subscription to these types, in the dialects of the CloudEvents Subscriptions API.

    Events of jobs that came in another form than that of Tapis v3 are selected as what they would be there.
    """
    service, category, detail = type_filter.split(".")
    theirs = _theirs(service, category, detail)
    if service != "jobs" or category not in ("JOB_NEW_STATUS", "*"):
        return (theirs,)
    return ({"any": [theirs, _ours(detail)]},)


def _theirs(service: str, category: str, detail: str) -> Filter:
    if "*" not in (category, detail):
        return {"exact": {"type": f"{service}.{category}.{detail}"}}
    start: Filter = {"prefix": {"type": f"{service}." if category == "*" else f"{service}.{category}."}}
    return start if detail == "*" else {"all": [start, {"suffix": {"type": f".{detail}"}}]}


def _ours(detail: str) -> Filter:
    if detail != "*":
        return {"exact": {"type": f"{_OURS}{_CANCELLED.get(detail, detail)}"}}
    without = [{"exact": {"event": name}} for name in sorted(WITHOUT_STATUS)]
    return {"all": [{"prefix": {"type": _OURS}}, {"not": {"any": without}}]}
