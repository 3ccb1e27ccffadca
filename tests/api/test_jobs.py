"""Jobs and their history."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.api.conftest import Caller


async def test_a_job_is_what_its_events_say(alice: Caller) -> None:
    first = await alice.publish(
        "RUNNING", time="2026-05-04T12:00:00Z", job={"name": "a job", "appId": "app-1"}
    )
    await alice.publish("FINISHED", time="2026-05-04T13:00:00Z", message="all done")
    job = await alice.get("/v1/jobs/job-1")
    assert job == {
        "id": "job-1",
        "tenant": "default",
        "owner": "alice",
        "status": "FINISHED",
        "status_at": "2026-05-04T13:00:00Z",
        "terminal": True,
        "message": "all done",
        "name": "a job",
        "app_id": "app-1",
        "system": None,
        "submitted_at": None,
        "started_at": "2026-05-04T12:00:00Z",
        "ended_at": "2026-05-04T13:00:00Z",
        "events": 2,
        "first_event": first,
        "updated_at": "2026-05-04T13:00:00Z",
    }


async def test_a_history_tells_what_each_event_means(alice: Caller) -> None:
    first = await alice.publish("RUNNING", message="on node 7")
    second = await alice.publish("SITE_EVENT")
    history = (await alice.get("/v1/jobs/job-1/history"))["items"]
    assert [item["id"] for item in history] == [second, first]
    assert (history[0]["description"], history[1]["description"]) == (None, "Job started running")
    assert history[1]["message"] == "on node 7"


async def test_jobs_are_listed_by_owner_and_status(alice: Caller, admin: Caller) -> None:
    await alice.publish("RUNNING", job_id="a")
    await alice.publish("FINISHED", job_id="b")
    await admin.publish("FINISHED", job_id="c", owner="bob")

    async def listed(caller: Caller, query: str) -> list[Any]:
        return [job["id"] for job in (await caller.get(f"/v1/jobs?{query}"))["items"]]

    assert await listed(admin, "") == ["c", "b", "a"]
    assert await listed(alice, "") == ["b", "a"]
    assert await listed(admin, "status=FINISHED") == ["c", "b"]
    assert await listed(admin, "owner=bob") == ["c"]
    assert await listed(alice, "owner=bob") == []


async def test_all_jobs_and_a_whole_history_are_listed_without_gap_or_repeat(alice: Caller) -> None:
    events = [{"event": "HEARTBEAT", "job_id": f"job-{n}", "owner": "alice"} for n in range(9)]
    await alice.post("/v1/events", events, 202)
    more = [{"event": "HEARTBEAT", "job_id": "job-0", "owner": "alice"} for _ in range(8)]
    ids = (await alice.post("/v1/events", more, 202))["ids"]
    assert [job["id"] for job in await alice.all("/v1/jobs", 2)] == [f"job-{n}" for n in reversed(range(9))]
    history = [item["id"] for item in await alice.all("/v1/jobs/job-0/history", 4)]
    assert history[:-1] == ids[::-1]
    assert len(history) == 9


@pytest.mark.parametrize("path", ["/v1/jobs/job-1", "/v1/jobs/job-1/history"])
async def test_a_job_of_somebody_else_is_not_there(alice: Caller, bob: Caller, path: str) -> None:
    await alice.publish()
    assert (await bob.ask("GET", path)).status == 404
    await alice.publish("PERMISSION_GRANT", data={"username": "bob"})
    assert (await bob.ask("GET", path)).status == 200


@pytest.mark.parametrize("job_id", ["a/b", "a b", "ünïcode", "100%", "?#"])
async def test_a_job_id_may_hold_what_must_be_encoded_in_a_path(alice: Caller, job_id: str) -> None:
    await alice.publish(job_id=job_id)
    assert (await alice.get(f"/v1/jobs/{quote(job_id, safe='')}"))["id"] == job_id
    assert (await alice.get(f"/v1/jobs/{quote(job_id, safe='')}/history"))["items"][0]["event"] == "FINISHED"


async def test_a_job_id_that_no_job_can_have_is_not_found(alice: Caller) -> None:
    for job_id in ("%00", "%0a", "x" * 2000, "%ff"):
        assert (await alice.ask("GET", f"/v1/jobs/{job_id}")).status == 404
