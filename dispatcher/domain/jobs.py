"""Jobs: what is known of a job now, folded from its events, whatever the order in which they arrive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import replace

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.event_names import document_status, is_terminal, status_of
from dispatcher.domain.events import Event, text_in
from dispatcher.domain.times import parse_time

MAX_AHEAD = timedelta(minutes=10)
"""By how much clocks may differ: an event whose time is further ahead counts as of its acceptance."""


class Job(Struct, frozen=True, kw_only=True):
    """The projection of one job's events.

    `status` is the latest by the events' own time (`counted_time`); `message` came with it. Descriptive fields keep the
    first value that was seen, times of the job keep what its document says or else the time of the event that implies
    them.
    `first_event` and `last_event` are keys of events, in the order of acceptance.
    """

    tenant: str
    id: str
    owner: str | None = None
    status: str | None = None
    status_at: datetime | None = None
    message: str | None = None
    name: str | None = None
    app_id: str | None = None
    system: str | None = None
    submitted_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    events: int = 0
    first_event: str
    last_event: str
    updated_at: datetime

    @property
    def terminal(self) -> bool:
        """Whether the job has ended."""
        return self.status is not None and is_terminal(self.status)

    def merge(self, later: Job) -> Job:
        """This job with what another projection of the same job, accepted after it, adds."""
        newer = _status_rank(later) >= _status_rank(self)
        status = later if newer and later.status is not None else self
        return replace(
            self,
            **{name: getattr(self, name) or getattr(later, name) for name in _FIRST_WINS},
            status=status.status,
            status_at=status.status_at,
            message=status.message,
            events=self.events + later.events,
            first_event=min(self.first_event, later.first_event),
            last_event=max(self.last_event, later.last_event),
            updated_at=max(self.updated_at, later.updated_at),
        )


_FIRST_WINS = ("owner", "name", "app_id", "system", "submitted_at", "started_at", "ended_at")


def _status_rank(job: Job) -> tuple[float, bool]:
    """Of two statuses the later one holds; at the same time the one that ends the job."""
    return (job.status_at.timestamp() if job.status_at else float("-inf"), job.terminal)


def project(events: Iterable[Event]) -> list[Job]:
    """The projections that a batch of events adds, one a job, sorted by tenant and job."""
    jobs: dict[tuple[str, str], Job] = {}
    for event in events:
        key = (event.tenant, event.job_id)
        added = project_one(event)
        jobs[key] = jobs[key].merge(added) if key in jobs else added
    return [jobs[key] for key in sorted(jobs)]


def project_one(event: Event) -> Job:
    """What one event says of its job."""
    event = event.with_cached_document()
    document, name = event.job, event.event
    # An event that names a status is right about it; the document beside it may be from a moment before.
    status = status_of(name) or _document_status(document)
    time = counted_time(event)
    return Job(
        tenant=event.tenant,
        id=event.job_id,
        owner=event.owner,
        status=status,
        status_at=time if status else None,
        message=event.message,
        name=_text(document, "name", "jobName"),
        app_id=_text(document, "appId", "app_id"),
        system=_text(document, "executionSystem", "system"),
        submitted_at=_time(document, "submitTime"),
        started_at=_time(document, "startTime") or (event.time if name == "RUNNING" else None),
        ended_at=_time(document, "endTime") or (event.time if is_terminal(name) else None),
        events=1,
        first_event=event.key,
        last_event=event.key,
        updated_at=time,
    )


def counted_time(event: Event) -> datetime:
    """The time by which an event is earlier or later than the others of its job.

    A status from far ahead would hold against all that follow it, and nothing could end the job.
    """
    return event.accepted_at if event.time - event.accepted_at > MAX_AHEAD else event.time


def _document_status(document: Mapping[str, object]) -> str | None:
    status = document_status(document.get("status"))
    return None if status is None else _storable(status)


def _text(document: Mapping[str, object], *names: str) -> str | None:
    found = text_in(document, *names)
    return _storable(found) if found else None


def _storable(text: str) -> str:
    # A database text column takes no NUL, and a name of many pages is no name.
    return text.replace("\0", "")[:1024]


def _time(document: Mapping[str, object], name: str) -> datetime | None:
    value = document.get(name)
    try:
        return None if value is None else parse_time(name, value)
    except InvalidInput:
        return None  # the event stands without it; the document goes out as it came
