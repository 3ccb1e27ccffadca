"""The row of a job is the fold of its events, whatever the order and the batches in which they come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import reduce

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dispatcher.domain.events import Event
from dispatcher.domain.ids import new_id
from dispatcher.domain.jobs import Job, project_one
from dispatcher.store.store import Store
from tests.factories import make_event

moments = st.integers(0, 5).map(lambda second: datetime(2026, 5, 4, 12, 0, second, tzinfo=UTC))
names = st.sampled_from(
    ["RUNNING", "FINISHED", "FAILED", "QUEUED", "HEARTBEAT", "UPDATED", "PERMISSION_GRANT"]
)
texts = st.sampled_from([None, "one", "two"])
documents = st.fixed_dictionaries(
    {},
    optional={
        "name": texts,
        "appId": texts,
        "executionSystem": texts,
        "status": st.sampled_from(["RUNNING", "FINISHED", "BLOCKED"]),
        "submitTime": moments,
        "startTime": moments,
        "endTime": moments,
    },
)
happenings = st.tuples(names, st.sampled_from(["a", "b"]), moments, texts, texts, documents, st.booleans())
batches = st.lists(st.lists(happenings, min_size=1, max_size=4), min_size=1, max_size=4)


def events_of(batch: list[tuple[object, ...]], tenant: str) -> list[Event]:
    events = [
        make_event(
            tenant=tenant,
            event=name,
            job_id=job,
            time=time,
            owner=owner,
            data={"message": message, "job": document},
        )
        for name, job, time, owner, message, document, _ in batch
    ]
    # A replica with a clock behind makes keys below those that are stored already.
    return [
        msgspec.structs.replace(event, key=f"evt_{'0' * 8}{event.key[12:]}") if early else event
        for event, (*_, early) in zip(events, batch, strict=True)
    ]


def fold(events: list[Event], job_id: str) -> Job | None:
    projections = [project_one(event) for event in events if event.job_id == job_id]
    return reduce(Job.merge, projections) if projections else None


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(batches)
async def test_a_job_is_the_fold_of_its_events(
    store: Store, process: int, batches: list[list[tuple[object, ...]]]
) -> None:
    tenant = new_id("evt")
    accepted: list[Event] = []
    for batch in batches:
        events = events_of(batch, tenant)
        await store.events.accept(process, events, [])
        accepted += events
    for job_id in ("a", "b"):
        assert await store.jobs.get(tenant, job_id) == fold(accepted, job_id)


async def test_a_tie_between_statuses_goes_to_the_one_that_ends_the_job(store: Store, process: int) -> None:
    ends = make_event(event="FINISHED", data={"message": "done"})
    late = make_event(event="ARCHIVING", data={"message": "still here"})
    await store.events.accept(process, [ends], [])
    await store.events.accept(process, [late], [])
    job = await store.jobs.get("default", "job-1")
    assert job is not None
    assert (job.status, job.message) == ("FINISHED", "done")


async def test_an_older_status_does_not_replace_a_newer_one(store: Store, process: int) -> None:
    running = make_event(event="RUNNING")
    await store.events.accept(process, [running], [])
    await store.events.accept(
        process, [make_event(event="QUEUED", time=running.time - timedelta(seconds=1))], []
    )
    job = await store.jobs.get("default", "job-1")
    assert job is not None
    assert (job.status, job.status_at, job.events) == ("RUNNING", running.time, 2)
