"""The job event names, what they mean, which of them end a job, and how patterns select them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from dispatcher.domain.errors import InvalidInput

# The table of the Tapis job monitoring guide. CREATED says "updated" there; that is a slip.
EVENTS: dict[str, str] = {
    "CREATED": "The job was created",
    "UPDATED": "The job was updated",
    "DELETED": "The job was deleted",
    "PERMISSION_GRANT": "User permission was granted",
    "PERMISSION_REVOKE": "Permission was removed for a user on this job",
    "PENDING": "Job accepted and queued for submission.",
    "STAGING_INPUTS": "Transferring job input data to execution system",
    "CLEANING_UP": "Job completed execution",
    "ARCHIVING": "Transferring job output to archive system",
    "STAGING_JOB": "Job inputs staged to execution system",
    "FINISHED": "Job complete",
    "KILLED": "Job execution killed at user request",
    "FAILED": "Job failed",
    "STOPPED": "Job execution intentionally stopped",
    "RUNNING": "Job started running",
    "PAUSED": "Job execution paused by user",
    "QUEUED": "Job successfully placed into queue",
    "SUBMITTING": "Preparing job for execution and staging binaries to execution system",
    "STAGED": "Job inputs staged to execution system",
    "PROCESSING_INPUTS": "Identifying input files for staging",
    "ARCHIVING_FINISHED": "Job archiving complete",
    "ARCHIVING_FAILED": "Job archiving failed",
    "HEARTBEAT": "Job heartbeat received",
}

TERMINAL = frozenset({"FINISHED", "FAILED", "KILLED", "STOPPED"})

# These say that something happened to a job without saying in which status it is now.
WITHOUT_STATUS = frozenset(
    {
        *("CREATED", "UPDATED", "DELETED", "PERMISSION_GRANT", "PERMISSION_REVOKE", "HEARTBEAT"),
        # What Tapis v2 sends besides, though its guide does not list it.
        *("EMPTY_STATUS_RESPONSE", "REMOTE_STATUS_CHANGE", "UNKNOWN_TERMINATION", "RESTORED", "FORCED_EVENT"),
    }
)

# The statuses of a Tethys portal as events. Various is a job whose parts differ; Other is one that a portal added.
TETHYS_EVENTS: dict[str, str] = {
    "Pending": "PENDING",
    "Submitted": "QUEUED",
    "Running": "RUNNING",
    "Various": "RUNNING",
    "Paused": "PAUSED",
    "Results-Ready": "CLEANING_UP",
    "Complete": "FINISHED",
    "Various-Complete": "FINISHED",
    "Error": "FAILED",
    "Aborted": "KILLED",
    "Other": "UPDATED",
}

# The same by their names in capitals, for events that come under them. Other says too little to be one of ours.
_BY_TETHYS = {name.upper(): event for name, event in TETHYS_EVENTS.items() if name != "Other"}

_OPERATIONAL = "dispatcher."

EVENT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,63}")
_EVENT_PATTERN = re.compile(r"\*|@terminal|[A-Za-z][A-Za-z0-9_.:-]{0,63}\*?")


def known_as(name: str) -> str:
    """The name of an event as it is listed here: in capitals, and a status of Tethys as what it is here.

    A name that is not known stays as it is.
    """
    if name in EVENTS:
        return name
    upper = name.upper()
    return upper if upper in EVENTS or upper in WITHOUT_STATUS else _BY_TETHYS.get(upper, name)


def first_name(text: str) -> str | None:
    """The event that a text begins with, such as CANCELLED of "CANCELLED by 1001" or of Slurm's "CANCELLED+"."""
    words = text.split(None, 1)
    word = words[0].rstrip("+") if words else ""
    return known_as(word) if EVENT_NAME.fullmatch(word) else None


def document_status(value: object) -> str | None:
    """The status that a job's document names: a text, or a list that begins with one. None when there is none."""
    if isinstance(value, list) and value:
        value = value[0]
    return (first_name(value) or value) if isinstance(value, str) and value else None


def is_operational(name: str) -> bool:
    """Whether an event's type or name is of those that are about the service itself."""
    return name[: len(_OPERATIONAL)].lower() == _OPERATIONAL


def is_terminal(event: str) -> bool:
    """Whether a job that has this status will not change any more."""
    return event in TERMINAL


def status_of(event: str) -> str | None:
    """The status that an event of this name puts its job into, or None when it says nothing about it.

    A name with a dot, `<category>.<detail>`, is of something beside the job's status, such as a transfer.
    """
    return None if event in WITHOUT_STATUS or "." in event else event


def check_patterns(patterns: Sequence[str], field: str = "events") -> None:
    """Raise InvalidInput when one of a subscription's event patterns is none."""
    if not patterns:
        raise InvalidInput(field, 'expected at least one event name, "*", "ARCHIVING*" or "@terminal"')
    for index, pattern in enumerate(patterns):
        if not _EVENT_PATTERN.fullmatch(pattern):
            raise InvalidInput(
                f"{field}[{index}]",
                f'expected an event name, a name with "*" at its end, "*" or "@terminal", got {pattern!r}',
            )


def event_matcher(patterns: Sequence[str]) -> Callable[[str], bool]:
    """A test of event names: does any of the patterns select it?"""
    if "*" in patterns:
        return lambda event: True
    names, prefixes = selected_names(patterns)
    if not prefixes:
        return names.__contains__
    return lambda event: event in names or event.startswith(prefixes)


def selected_names(patterns: Sequence[str]) -> tuple[frozenset[str], tuple[str, ...]]:
    """The names that patterns select, and with what further ones begin ("" for every name)."""
    named = [p for p in patterns if not p.endswith("*") and p != "@terminal"]
    names = frozenset(named) | frozenset(map(known_as, named))
    if "@terminal" in patterns:
        names |= TERMINAL
    return names, tuple(p[:-1] for p in patterns if p.endswith("*"))
