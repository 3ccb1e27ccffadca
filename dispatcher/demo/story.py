"""The story of the demo: eight jobs of three owners, from their first status to their last.

The first job's history and the second one's document are those of a job monitoring guide, with names
in place of its placeholders.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from importlib.resources import files

import msgspec
from msgspec import Struct

from dispatcher.domain.event_names import status_of

STEP = 0.8
"""Seconds from one event of a job to its next; the events keep the times of their history."""

STAGGER = 0.6
"""Seconds from the first event of one job to that of the next."""

_API = "https://api.tacc.utexas.edu"
_TIMES = ("submitTime", "startTime", "endTime")


class PlannedEvent(Struct, frozen=True):
    """A plain event as it is published, `at` seconds after the start of the story."""

    at: float
    document: Mapping[str, object]

    @property
    def id(self) -> str:
        return str(self.document["id"])

    @property
    def event(self) -> str:
        return str(self.document["event"])

    @property
    def job_id(self) -> str:
        return str(self.document["job_id"])

    @property
    def owner(self) -> str:
        return str(self.document["owner"])


class _Step(Struct, frozen=True):
    """One entry of a job's history, as a job service lists it."""

    created: str
    status: str
    description: str | None = None
    progress: Mapping[str, object] | None = None
    permission: Mapping[str, object] | None = None


class _Life(Struct, frozen=True):
    """A job's document at its end, without its links, and its history."""

    job: Mapping[str, object]
    history: list[_Step]


def planned_events() -> list[PlannedEvent]:
    """All events of the story, the first to be published first."""
    lives = msgspec.json.decode(files(__package__).joinpath("jobs.json").read_bytes(), type=list[_Life])
    planned = [
        PlannedEvent(at=number * STAGGER + index * STEP, document=_plain_event(life.job, step, index + 1))
        for number, life in enumerate(lives)
        for index, step in enumerate(life.history)
    ]
    return sorted(planned, key=lambda event: event.at)


def _plain_event(job: Mapping[str, object], step: _Step, number: int) -> dict[str, object]:
    event: dict[str, object] = {
        "event": step.status,
        "job_id": job["id"],
        "id": f"{job['id']}/{number}",
        "time": step.created,
        "owner": job["owner"],
        "job": _as_it_was(job, step),
    }
    if step.description is not None:
        event["message"] = step.description
    if data := step.progress or step.permission:
        event["data"] = data
    return event


def _as_it_was(job: Mapping[str, object], step: _Step) -> dict[str, object]:
    """The job's document at this point of its history: what came later is not in it."""
    now = datetime.fromisoformat(step.created)
    later = {name for name in _TIMES if name in job and datetime.fromisoformat(str(job[name])) > now}
    if "endTime" in later:
        later.add("errorMessage")
    document = {name: value for name, value in job.items() if name not in later}
    if status := status_of(step.status):
        document["status"] = status
    return document | {"lastUpdated": step.created, "_links": _links(job)}


def _links(job: Mapping[str, object]) -> dict[str, dict[str, str]]:
    url = f"{_API}/jobs/v2/{job['id']}"
    targets = {
        "self": url,
        "app": f"{_API}/apps/v2/{job['appId']}",
        "executionSystem": f"{_API}/systems/v2/{job['executionSystem']}",
        "archiveData": f"{url}/outputs/listings",
        "owner": f"{_API}/profiles/v2/{job['owner']}",
        "permissions": f"{url}/pems",
        "history": f"{url}/history",
        "metadata": f"{_API}/meta/v2/data/?q=%7B%22associationIds%22%3A%22{job['id']}%22%7D",
        "notifications": f"{_API}/notifications/v2/?associatedUuid={job['id']}",
    }
    return {name: {"href": target} for name, target in targets.items()}
