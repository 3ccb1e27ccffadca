"""The projection of a job's events."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import permutations

from hypothesis import given
from hypothesis import strategies as st

from dispatcher.domain.jobs import project, project_one
from dispatcher.domain.permissions import permission_of
from tests.factories import NOW, make_event

LIFE = ["PENDING", "QUEUED", "RUNNING", "FINISHED"]


def _life() -> list[tuple[str, int]]:
    return [(name, 10 * i) for i, name in enumerate(LIFE)]


def test_the_latest_status_by_time_holds_in_whatever_order_events_arrive() -> None:
    for order in permutations(_life()):
        events = [make_event(event=name, time=NOW + timedelta(seconds=s)) for name, s in order]
        (job,) = project(events)
        assert job.status == "FINISHED"
        assert job.status_at == NOW + timedelta(seconds=30)
        assert job.started_at == NOW + timedelta(seconds=20)
        assert job.events == 4


def test_an_event_of_the_same_time_does_not_bring_an_ended_job_back() -> None:
    (job,) = project([make_event(event="FAILED"), make_event(event="RUNNING")])
    assert job.status == "FAILED"


def test_a_status_from_far_ahead_counts_as_of_its_acceptance() -> None:
    soon, later = NOW + timedelta(minutes=5), NOW + timedelta(hours=1)
    finished = make_event(event="FINISHED", time=later, accepted_at=later)
    for ahead in ("9999-01-01T00:00:00Z", "2030-01-01T00:00:00Z"):
        running = make_event(event="RUNNING", time=datetime.fromisoformat(ahead), accepted_at=NOW)
        (job,) = project([running, finished])
        assert (job.status, job.status_at, job.updated_at) == ("FINISHED", later, later)
    (job,) = project([make_event(event="QUEUED", time=soon), make_event(event="PENDING", accepted_at=NOW)])
    assert (job.status, job.status_at) == ("QUEUED", soon)


def test_an_event_without_a_status_changes_none() -> None:
    later = NOW + timedelta(seconds=5)
    (job,) = project([make_event(event="RUNNING"), make_event(event="HEARTBEAT", time=later)])
    assert (job.status, job.status_at, job.updated_at) == ("RUNNING", NOW, later)


def test_the_job_document_fills_in_what_it_knows() -> None:
    document = {
        "id": "job-1",
        "name": "align",
        "appId": "samtools-1.2",
        "executionSystem": "stampede",
        "status": "RUNNING",
        "startTime": "2018-01-26T15:09:53.000-06:00",
        "submitTime": "nonsense",
    }
    job = project_one(make_event(event="UPDATED", data={"event": "UPDATED", "job": document}))
    assert (job.name, job.app_id, job.system, job.status) == ("align", "samtools-1.2", "stampede", "RUNNING")
    assert job.started_at is not None
    assert job.started_at.isoformat() == "2018-01-26T21:09:53+00:00"
    assert job.submitted_at is None


@given(st.lists(st.tuples(st.sampled_from(["j1", "j2"]), st.sampled_from(["default", "other"])), max_size=12))
def test_jobs_come_one_each_sorted_by_tenant_and_id(which: list[tuple[str, str]]) -> None:
    jobs = project(make_event(job_id=job, tenant=tenant) for job, tenant in which)
    assert [(job.tenant, job.id) for job in jobs] == sorted({(tenant, job) for job, tenant in which})
    assert sum(job.events for job in jobs) == len(which)


def test_a_grant_names_its_user_in_the_publishers_data() -> None:
    granted = permission_of(make_event(event="PERMISSION_GRANT", data={"data": {"username": "bob"}}))
    assert granted is not None
    assert (granted.job_id, granted.user, granted.granted) == ("job-1", "bob", True)
    revoked = permission_of(make_event(event="PERMISSION_REVOKE", data={"username": "bob"}))
    assert revoked is not None
    assert not revoked.granted


def test_a_grant_without_a_user_and_other_events_permit_nothing() -> None:
    assert permission_of(make_event(event="PERMISSION_GRANT", data={"data": {}})) is None
    assert permission_of(make_event(event="FINISHED", data={"username": "bob"})) is None
