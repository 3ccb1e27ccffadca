"""Event types of Tapis v3, `service.category.detail`: what they are called here, and what selects them."""

from __future__ import annotations

import re

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.vocabulary import WITHOUT_STATUS

_PART = r"[a-zA-Z][a-zA-Z0-9_~-]*"
_TYPE = re.compile(rf"[a-z]+\.{_PART}\.{_PART}")
_TYPE_FILTER = re.compile(rf"[a-z]+\.({_PART}|\*)\.({_PART}|\*)")
MAX_TYPE = 128

STATUS = "jobs.JOB_NEW_STATUS."
"""How the type of an event begins that says in which status a job is now; the status follows."""

_OURS = "job."
_CANCELLED = {"CANCELLED": "KILLED"}
_KILLED = {ours: theirs for theirs, ours in _CANCELLED.items()}
_MAX_NAME = 64

Filter = dict[str, object]


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
