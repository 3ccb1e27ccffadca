"""Trying templates out before an event comes: a sample event, and a look at every file with several events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec.structs import asdict, replace

from dispatcher.domain.digests import DigestPolicy
from dispatcher.domain.event_names import EVENTS, status_of
from dispatcher.domain.events import Event
from dispatcher.domain.ids import new_id
from dispatcher.targets.email.digest import DIGEST, digest_context
from dispatcher.targets.email.template_context import build_context
from dispatcher.targets.email.templates import PARTS, Content, TemplateFault, Templates

_LINK = "https://dispatcher.example.org/u/AZJ84Mn0fI2OX2BxgpOktQAAAAAAAAAAAAAAAAAAAAAAAAAA"
_QUESTION = {
    "owner": "alice",
    "address": "ann@example.org",
    "confirm": _LINK.replace("/u/", "/c/"),
    "service": "https://dispatcher.example.org",
    "events": "FINISHED, FAILED",
}
_WHEN = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
_JOB_ID = "0001414144065563-5056a550b8-0001-007"
_JOB = {
    "id": _JOB_ID,
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


def preview_question(templates: Templates, variant: str | None) -> Content:
    """The message that asks for consent. Raises TemplateFault."""
    return templates.render("_confirm", variant, _QUESTION)


def preview_digest(templates: Templates, variant: str | None) -> Content:
    """The message about a job array, of which some failed. Raises TemplateFault."""
    return templates.render(DIGEST, variant, _digest_values(_array()))


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
    # The usual ones, one without a status, one that is unknown, and each that has its own file.
    events = [
        "FINISHED",
        "FAILED",
        "HEARTBEAT",
        "SOMETHING_ELSE",
        *sorted(names - {"default", "_confirm", DIGEST}),
    ]
    for name in events:
        for event in (sample(name), _event(name, {})):
            yield from _fault(templates, name, variant, _values(event))
    # More than there is room for; one that says nothing of its job; one that is no status.
    for some in (_array(), [_event("FAILED", {}, "job-1")], [_event("HEARTBEAT", {}, "job-1")]):
        yield from _fault(templates, DIGEST, variant, _digest_values(some))
    yield from _fault(templates, "_confirm", variant, _QUESTION)


def _fault(
    templates: Templates, name: str, variant: str | None, values: Mapping[str, object]
) -> Iterator[str]:
    try:
        templates.render(name, variant, values)
    except TemplateFault as error:
        yield f"{error} (event {name}{f', variant {variant}' if variant else ''})"


def _values(event: Event) -> dict[str, object]:
    return {**asdict(build_context(event)), "subscription": "my jobs", "unsubscribe": _LINK}


def _digest_values(events: Sequence[Event]) -> dict[str, object]:
    policy = DigestPolicy(group_by=("data.array_id",), max_rows=8)
    return {**asdict(digest_context(events, policy, "my arrays")), "unsubscribe": _LINK}


def _array() -> list[Event]:
    """The events of an array of forty jobs: some failed, some still run."""
    return [_of_array(number) for number in range(1, 41)]


def _of_array(number: int) -> Event:
    name = "FAILED" if number % 3 == 2 else "RUNNING" if number % 7 == 0 else "FINISHED"
    key = f"{_JOB_ID[:-3]}{number:03d}"
    job = {
        **_JOB,
        "id": key,
        "name": f"align sample {number}",
        "_links": {"self": {"href": f"https://jobs.example.org/jobs/v2/{key}"}},
    }
    own = {"exit_code": 137, "reason": "OUT_OF_MEMORY"} if name == "FAILED" else {}
    own["array_id"] = 4711
    event = _event(name, {"message": None, "job": job, "data": own}, key)
    return replace(event, time=_WHEN + timedelta(minutes=number))


def _event(name: str, data: Mapping[str, object], job_id: str = _JOB_ID) -> Event:
    key = new_id("evt")
    document = {"id": key, "data": {"event": name, "status": status_of(name), **data}}
    return Event(
        key=key,
        id=key,
        source="/jobs",
        type=f"job.{name}",
        event=name,
        job_id=job_id,
        owner="alice",
        tenant="default",
        time=_WHEN,
        accepted_at=_WHEN,
        document=msgspec.json.encode(document),
    )


def files_of(templates: Templates, name: str, variant: str | None) -> list[str]:
    """Which files make the message about an event of this name."""
    return [templates.find(name, variant, part) for part in PARTS]
