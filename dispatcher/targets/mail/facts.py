"""What a message says of an event: verdict and cause, the guide's lines, what was asked for and used, the log's end."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal
from urllib.parse import urlsplit

from msgspec import Struct

from dispatcher.domain.event_values import EventValues
from dispatcher.domain.events import Event
from dispatcher.domain.vocabulary import EVENTS, status_of
from dispatcher.targets.mail.usage import Usage, usage_of

LOG_LINES = 20
LOG_WIDTH = 200
LINE = 1000
"""Characters of a value that stands in one line."""

Tone = Literal["good", "bad", "neutral"]

_LOG = ("log_tail", "logTail", "log", "stderr", "stdout")
_EXIT = ("exit_code", "exitCode", "exitStatus", "exit_status")
_REASON = ("reason", "state_reason", "terminationReason")
# What batch systems call the end of a job that is not its own doing.
_CAUSES: Mapping[str, str] = {
    "OUT_OF_MEMORY": "out of memory",
    "TIMEOUT": "time limit reached",
    "DEADLINE": "deadline passed",
    "NODE_FAIL": "a node failed",
    "BOOT_FAIL": "a node did not start",
    "PREEMPTED": "preempted by another job",
}
_SIGNALS: Mapping[int, str] = {
    6: "aborted (SIGABRT)",
    9: "killed (SIGKILL), often because it was out of memory",
    11: "segmentation fault (SIGSEGV)",
    15: "terminated (SIGTERM), often at its time limit",
}
# Anything but what is printed: a value takes one line, no line of its own making, and turns no text around.
_BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


class Facts(Struct, frozen=True, kw_only=True):
    """What templates see. Every text but `log` is one line; what the event does not have is empty.

    `lines` are the guide's: name, URL, message, times, output. `link` is the job's URL when it is one for a browser.
    """

    event: str
    description: str
    status: str
    verdict: str
    tone: Tone
    cause: str
    job_id: str
    job_name: str
    system: str
    app_id: str
    owner: str
    tenant: str
    exit_code: str
    lines: Sequence[tuple[str, str]]
    usage: Sequence[Usage]
    log: Sequence[str]
    link: str
    data: object


def facts_of(event: Event) -> Facts:
    """What a message can say of an event."""
    event = event.held()

    def get(name: str) -> str:
        # Each with values of its own: only their beginnings are shown, so that all may be long.
        return one_line(EventValues(event).get(name))

    places = _places(event)
    status = get("JOB_STATUS") if status_of(event.event) else ""
    exit_code = one_line(_first(places, _EXIT))
    lines = (
        ("Name", get("JOB_NAME")),
        ("URL", get("JOB_URL")),
        ("Message", get("JOB_MESSAGE")),
        ("Submit Time", get("JOB_SUBMIT_TIME")),
        ("Start Time", get("JOB_START_TIME")),
        ("End Time", get("JOB_END_TIME")),
        ("Output Path", get("JOB_ARCHIVE_PATH")),
        ("Output URL", get("JOB_ARCHIVE_URL")),
    )
    return Facts(
        event=one_line(event.event),
        description=EVENTS.get(event.event, ""),
        status=status,
        verdict=status or one_line(event.event),
        tone=tone_of(event.event),
        cause=_cause(get("JOB_ERROR"), exit_code, places),
        job_id=one_line(event.job_id),
        job_name=get("JOB_NAME"),
        system=get("JOB_SYSTEM"),
        app_id=get("JOB_APP_ID"),
        owner=get("JOB_OWNER"),
        tenant=get("TENANT"),
        exit_code=exit_code,
        lines=tuple((name, value) for name, value in lines if value),
        usage=usage_of(places),
        log=_log(places),
        link=_web(get("JOB_URL")),
        data=event.data,
    )


def one_line(value: object) -> str:
    """The value as a text without line breaks and control characters, LINE characters at most."""
    text = "" if value is None else str(value)
    text = _BREAKS.sub(" ", text[: LINE + 1]).strip()
    return text if len(text) <= LINE else f"{text[: LINE - 1]}…"


def _places(event: Event) -> list[Mapping[str, object]]:
    """The objects in which a publisher may tell more: its own data, the job document, the whole data."""
    data = event.data
    if not isinstance(data, dict):
        return []
    own = data.get("data")
    return [place for place in (own, event.job, data) if isinstance(place, dict)]


def _first(places: Sequence[Mapping[str, object]], names: Sequence[str]) -> object:
    return next(
        (place[name] for place in places for name in names if place.get(name) not in (None, "", [], {})), None
    )


def tone_of(event: str) -> Tone:
    """Whether an event is good news or bad."""
    if event in ("FINISHED", "ARCHIVING_FINISHED"):
        return "good"
    return "bad" if event in ("FAILED", "KILLED", "ARCHIVING_FAILED") else "neutral"


def _cause(error: str, exit_code: str, places: Sequence[Mapping[str, object]]) -> str:
    """Why it ended: what the batch system says, what the exit code means, what the job's error is."""
    named = one_line(_first(places, _REASON))
    known = _CAUSES.get(named.upper().replace(" ", "_"), named)
    number = int(exit_code) if exit_code.isdigit() and len(exit_code) < 4 else 0
    signal = _SIGNALS.get(number - 128, f"signal {number - 128}" if 128 < number < 160 else "")
    parts = [known or signal, f"exit code {exit_code}" if number else "", error]
    return "; ".join(dict.fromkeys(part for part in parts if part))


def _log(places: Sequence[Mapping[str, object]]) -> list[str]:
    found = _first(places, _LOG)
    if isinstance(found, str):
        found = found[-LOG_LINES * LOG_WIDTH * 4 :].splitlines()
    if not isinstance(found, list):
        return []
    return [_cut(str(line)) for line in found[-LOG_LINES:]]


def _cut(line: str) -> str:
    line = _BREAKS.sub(" ", line.expandtabs(4)[: LOG_WIDTH + 1]).rstrip()
    return line if len(line) <= LOG_WIDTH else f"{line[: LOG_WIDTH - 1]}…"


def _web(url: str) -> str:
    """The URL if a browser may be sent there."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return url if parts.scheme in ("http", "https") and parts.netloc else ""
