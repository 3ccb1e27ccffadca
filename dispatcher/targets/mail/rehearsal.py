"""Trying templates out before an event comes: a sample event, and a look at every file with several events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import msgspec
from msgspec.structs import asdict

from dispatcher.domain.events import Event
from dispatcher.domain.ids import new_id
from dispatcher.domain.vocabulary import EVENTS, status_of
from dispatcher.targets.mail.digest import digest_facts
from dispatcher.targets.mail.facts import facts_of
from dispatcher.targets.mail.templates import PARTS, Content, TemplateFault, Templates

_LINK = "https://dispatcher.example.org/u/AZJ84Mn0fI2OX2BxgpOktQAAAAAAAAAAAAAAAAAAAAAAAAAA"
_WHEN = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
_JOB = {
    "id": "0001414144065563-5056a550b8-0001-007",
    "name": "demo-pyplot-demo advanced",
    "owner": "alice",
    "appId": "demo-pyplot-1.0",
    "executionSystem": "frontera",
    "nodeCount": 2,
    "processorsPerNode": 56,
    "memoryPerNode": "4 GB",
    "maxRunTime": "01:00:00",
    "submitTime": "2026-05-04T11:00:03Z",
    "startTime": "2026-05-04T11:12:41Z",
    "endTime": "2026-05-04T12:00:00Z",
    "archivePath": "alice/archive/jobs/job-0001414144065563-5056a550b8-0001-007",
    "_links": {
        "self": {"href": "https://jobs.example.org/jobs/v2/0001414144065563-5056a550b8-0001-007"},
        "archiveData": {
            "href": "https://jobs.example.org/jobs/v2/0001414144065563-5056a550b8-0001-007/outputs"
        },
    },
}
_LOG = [
    "step 1 of 3: reading 480 files",
    "step 2 of 3: aligning <reads> & references",
    "slurmstepd: error: Detected 1 oom_kill event in StepId=4711.batch",
    "Killed",
]


def sample(name: str) -> Event:
    """An event of this name with all that a message can tell."""
    failed = name in ("FAILED", "KILLED")
    own: dict[str, object] = {"cpu_time": 211_000, "max_rss": "4.0 GB", "exit_code": 137 if failed else 0}
    if failed:
        own |= {"reason": "OUT_OF_MEMORY", "log_tail": _LOG}
    message = "Job completed successfully." if name == "FINISHED" else EVENTS.get(name, "Something happened.")
    return _event(name, {"message": message, "job": _JOB, "data": own})


def preview(templates: Templates, name: str, variant: str | None) -> Content:
    """The message about a sample event. Raises TemplateFault."""
    return templates.render(name, variant, _values(sample(name)))


def faults(templates: Templates) -> Iterator[str]:
    """What is wrong with the templates, a line each: files that cannot be read or rendered."""
    broken = list(templates.check())
    yield from broken
    if broken:
        return
    for variant in (None, *sorted(templates.variants)):
        yield from dict.fromkeys(_faults_of(templates, variant))


def _faults_of(templates: Templates, variant: str | None) -> Iterator[str]:
    names = {name.rpartition("/")[2].split(".")[0] for name in templates.names}
    # The usual ones, one without a status, one that nobody knows, and each that has a file of its own.
    events = [
        "FINISHED",
        "FAILED",
        "HEARTBEAT",
        "SOMETHING_ELSE",
        *sorted(names - {"default", "_confirm", "_digest"}),
    ]
    for name in events:
        for event in (sample(name), _event(name, {})):
            yield from _fault(templates, name, variant, _values(event))
    jobs = [
        _event(name, {"job": {**_JOB, "name": f"job {name}"}}) for name in ("FINISHED", "FAILED", "HEARTBEAT")
    ]
    digest = {**asdict(digest_facts(jobs, 2)), "unsubscribe": _LINK}
    yield from _fault(templates, "_digest", variant, digest)
    confirmation = {"owner": "alice", "address": "ann@example.org", "confirm": _LINK}
    yield from _fault(templates, "_confirm", variant, confirmation)


def _fault(
    templates: Templates, name: str, variant: str | None, values: Mapping[str, object]
) -> Iterator[str]:
    try:
        templates.render(name, variant, values)
    except TemplateFault as error:
        yield f"{error} (event {name}{f', variant {variant}' if variant else ''})"


def _values(event: Event) -> dict[str, object]:
    return {**asdict(facts_of(event)), "unsubscribe": _LINK}


def _event(name: str, data: Mapping[str, object]) -> Event:
    key = new_id("evt")
    document = {"id": key, "data": {"event": name, "status": status_of(name), **data}}
    return Event(
        key=key,
        id=key,
        source="/jobs",
        type=f"job.{name}",
        event=name,
        job_id=str(_JOB["id"]),
        owner="alice",
        tenant="default",
        time=_WHEN,
        accepted_at=_WHEN,
        document=msgspec.json.encode(document),
    )


def files_of(templates: Templates, name: str, variant: str | None) -> list[str]:
    """Which files make the message about an event of this name."""
    return [templates.find(name, variant, part) for part in PARTS]
