"""What a message says of an event: verdict and cause, the guide's lines, what was asked for and used, the log's end."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal
from urllib.parse import urlsplit

from msgspec import Struct

from dispatcher.domain.event_names import EVENTS, status_of
from dispatcher.domain.events import Event
from dispatcher.domain.times import from_number
from dispatcher.domain.variable_values import EventValues
from dispatcher.targets.email.exits import Exit, exit_of
from dispatcher.targets.email.logs import log_lines
from dispatcher.targets.email.quantities import number_of, shown
from dispatcher.targets.email.resource_usage import Usage, usage_of
from dispatcher.targets.email.templates import BREAKS

LINE = 1000
"""Characters of a value that stands in one line."""

Tone = Literal["good", "bad", "neutral"]

_LOG = ("log_tail", "logTail", "log", "stderr", "stdout")
_EXIT = ("exit_code", "exitCode", "exitStatus", "exit_status")
_REASON = ("reason", "state_reason", "terminationReason")
# What batch systems call the end of a job that is not its own doing.
_CAUSES: Mapping[str, str] = {
    "OUTOFMEMORY": "out of memory",
    "OOMKILLED": "out of memory",
    "TIMEOUT": "time limit reached",
    "TIMELIMIT": "time limit reached",
    "DEADLINE": "deadline passed",
    "NODEFAIL": "a node failed",
    "BOOTFAIL": "a node did not start",
    "PREEMPTED": "preempted by another job",
    "NONE": "",
}
_LETTERS = re.compile(r"[^A-Z]+")


class TemplateContext(Struct, frozen=True, kw_only=True):
    """What templates see. Every text but `log` is one line; what the event does not have is empty.

    `lines` are the guide's: name, URL, message, times, output. `link` is the job's URL when it is one for a browser.
    `ended` is how a job ended that did not end well (`exit 3`, `signal 9 (KILL)`), `exit_code` the same without `exit`.
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
    ended: str
    lines: Sequence[tuple[str, str]]
    usage: Sequence[Usage]
    log: Sequence[str]
    link: str
    data: object


def build_context(event: Event) -> TemplateContext:
    """What a message can say of an event."""
    event = event.with_cached_document()

    def get(name: str) -> str:
        # Each with its own values: only their beginnings are shown, so that all may be long.
        return one_line(EventValues(event).get(name))

    places = _places(event)
    status = get("JOB_STATUS") if status_of(event.event) else ""
    end = exit_of(_first(places, _EXIT))
    ended = "" if end.code == 0 else one_line(end)
    lines = (
        ("Name", get("JOB_NAME")),
        ("URL", get("JOB_URL")),
        ("Message", get("JOB_MESSAGE")),
        ("Submit Time", _moment(get("JOB_SUBMIT_TIME"))),
        ("Start Time", _moment(get("JOB_START_TIME"))),
        ("End Time", _moment(get("JOB_END_TIME"))),
        ("Output Path", get("JOB_ARCHIVE_PATH")),
        ("Output URL", get("JOB_ARCHIVE_URL")),
    )
    return TemplateContext(
        event=one_line(event.event),
        description=EVENTS.get(event.event, ""),
        status=status,
        verdict=status or one_line(event.event),
        tone=tone_of(event.event),
        cause=_cause(get("JOB_ERROR"), end, places),
        job_id=one_line(event.job_id),
        job_name=get("JOB_NAME"),
        system=get("JOB_SYSTEM"),
        app_id=get("JOB_APP_ID"),
        owner=get("JOB_OWNER"),
        tenant=get("TENANT"),
        exit_code=ended.removeprefix("exit ") or ("0" if end.code == 0 else ""),
        ended=ended,
        lines=tuple((name, value) for name, value in lines if value),
        usage=usage_of(places),
        log=log_lines(_first(places, _LOG)),
        link=_web(get("JOB_URL")),
        data=event.data,
    )


def one_line(value: object) -> str:
    """The value as a text without line breaks and control characters, LINE characters at most."""
    text = shown(value) if isinstance(value, str | int | float | list | dict | None) else str(value)
    text = BREAKS.sub(" ", text[: LINE + 1]).strip()
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


def _cause(error: str, end: Exit, places: Sequence[Mapping[str, object]]) -> str:
    """Why it ended: what the batch system says, what the exit code means, what the job's error is."""
    reason = _first(places, _REASON)
    reasons = [one_line(one) for one in (reason if isinstance(reason, list) else [reason])]
    known = ", ".join(text for one in reasons if (text := _CAUSES.get(_LETTERS.sub("", one.upper()), one)))
    # A reason that is given is worth more than a guess.
    meaning = end.meaning if known or not end.guess else f"{end.meaning}, {end.guess}"
    parts = [known, meaning, f"exit code {end.code}" if end.code else "", error]
    return "; ".join(dict.fromkeys(part for part in parts if part))


def _moment(text: str) -> str:
    """A time as it came, with its own zone; a number in UTC."""
    number = number_of(text)
    moment = None if number is None else from_number(number)
    return text if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _web(url: str) -> str:
    """The URL if a browser may be sent there."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return url if parts.scheme in ("http", "https") and parts.netloc else ""
