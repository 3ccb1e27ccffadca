"""`/jobs/v2`: polling as the guide of Tapis v2 shows it."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from dispatcher.compat.tapis_v2.jobs import wait_for
from dispatcher.domain.events import utc_now
from dispatcher.domain.ids import lowest_id
from dispatcher.domain.jobs import Job
from tests.compat.tapis_v2.conftest import JOB, Running, Tapis

JOBS = "/jobs/v2"
DOCUMENT = {
    "id": JOB,
    "name": "demo-pyplot",
    "owner": "alice",
    "appId": "pyplot-0.1.0",
    "executionSystem": "ssh.execute.example.com",
    "nodeCount": 1,
    "archive": False,
    "status": "RUNNING",
    "submitTime": "2014-10-24T04:48:11.000-05:00",
    "inputs": {"table": ["agave://data.example.org/t.csv"]},
    "notifications": [{"url": "https://example.org/?token=secret", "event": "*", "persistent": True}],
    "_links": {"self": {"href": f"https://api.example.org/jobs/v2/{JOB}"}},
}


async def test_a_job_is_its_latest_document_with_what_its_events_say_since(
    service: Running, admin: Tapis, alice: Tapis
) -> None:
    await alice.publish("RUNNING", time="2014-10-24T09:48:12Z", job=DOCUMENT | {"notifications": []})
    await alice.publish("FINISHED", time="2014-10-24T09:48:15Z", message="Job completed.")

    job = await alice.result("GET", f"{JOBS}/{JOB}")

    assert {
        name: job[name] for name in ("id", "name", "owner", "appId", "nodeCount", "archive", "inputs")
    } == {name: DOCUMENT[name] for name in ("id", "name", "owner", "appId", "nodeCount", "archive", "inputs")}
    assert job["status"] == "FINISHED"
    assert job["submitTime"] == "2014-10-24T04:48:11.000-05:00"
    assert job["endTime"] == "2014-10-24T09:48:15.000+00:00"
    assert job["lastStatusMessage"] == "Job completed."
    assert "notifications" not in job
    assert job["_links"] == {
        "self": {"href": f"https://api.example.org/jobs/v2/{JOB}"},
        "history": {"href": f"{service.url}/jobs/v2/{JOB}/history"},
        "notifications": {"href": f"{service.url}/notifications/v2/?associatedUuid={JOB}"},
        "owner": {"href": f"{service.url}/profiles/v2/alice"},
    }


async def test_a_job_is_shown_without_the_secrets_in_its_document(alice: Tapis) -> None:
    await alice.publish("RUNNING", job=DOCUMENT | {"parameters": {"api_token": "s1"}, "archive_secret": "s2"})

    job = await alice.result("GET", f"{JOBS}/{JOB}")

    assert (job["parameters"], job["archive_secret"]) == ({"api_token": "***"}, "***")


async def test_the_status_is_a_small_answer(service: Running, alice: Tapis) -> None:
    await alice.publish("RUNNING")

    assert await alice.result("GET", f"{JOBS}/{JOB}/status") == {
        "id": JOB,
        "status": "RUNNING",
        "_links": {"self": {"href": f"{service.url}/jobs/v2/{JOB}"}},
    }


async def test_the_history_is_shown_from_the_beginning(alice: Tapis) -> None:
    await alice.publish("PENDING", time="2014-10-24T09:47:45Z")
    await alice.publish("STAGING_INPUTS", time="2014-10-24T09:47:48Z", data={"progress": {"totalFiles": 1}})
    await alice.publish("RUNNING", time="2014-10-24T09:48:08Z", message="on node 7")

    history = await alice.result("GET", f"{JOBS}/{JOB}/history")

    assert history == [
        {
            "created": "2014-10-24T09:47:45.000+00:00",
            "status": "PENDING",
            "description": "Job accepted and queued for submission.",
        },
        {
            "progress": {"totalFiles": 1},
            "created": "2014-10-24T09:47:48.000+00:00",
            "status": "STAGING_INPUTS",
            "description": "Transferring job input data to execution system",
        },
        {"created": "2014-10-24T09:48:08.000+00:00", "status": "RUNNING", "description": "on node 7"},
    ]
    assert await alice.result("GET", f"{JOBS}/{JOB}/history?limit=1&offset=1") == history[1:2]


async def test_a_list_has_the_callers_jobs_newest_first_and_can_be_searched(
    admin: Tapis, alice: Tapis, bob: Tapis
) -> None:
    await bob.publish("RUNNING", job_id="bobs")
    for number, name in enumerate(("RUNNING", "FINISHED", "FAILED")):
        await alice.publish(name, job_id=f"job-{number}", job={"name": f"n{number}", "appId": "pyplot"})

    async def listed(query: str) -> list[str]:
        return [job["id"] for job in await alice.result("GET", f"{JOBS}/?{query}")]

    assert await listed("") == ["job-2", "job-1", "job-0"]
    assert await listed("limit=1&offset=1") == ["job-1"]
    assert await listed("status=FAILED") == ["job-2"]
    assert await listed("status.in=failed,running&appId=pyplot") == ["job-2", "job-0"]
    assert await listed("name.like=*1") == ["job-1"]
    assert await listed("created.before=2020-01-01") == []
    assert [job["id"] for job in await alice.result("GET", f"{JOBS}/status/finished")] == ["job-1"]
    assert len(await admin.result("GET", JOBS)) == 4
    [job] = await alice.result("GET", f"{JOBS}?limit=1&filter=name,status")
    assert job == {"name": "n2", "status": "FAILED"}


@pytest.mark.parametrize("path", [JOB, f"{JOB}/status", f"{JOB}/history", ""])
async def test_who_has_the_answer_already_gets_no_body(path: str, alice: Tapis) -> None:
    await alice.publish("RUNNING")
    first = await alice.ask("GET", f"{JOBS}/{path}")
    tag = first.headers["ETag"]

    again = await alice.ask("GET", f"{JOBS}/{path}", If_None_Match=f'"other", W/{tag}')
    assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
    await alice.publish("FINISHED")
    changed = await alice.ask("GET", f"{JOBS}/{path}", If_None_Match=tag)

    assert changed.status == 200
    assert changed.headers["ETag"] != tag


async def test_an_answer_says_when_to_poll_again_until_the_job_has_ended(alice: Tapis) -> None:
    await alice.publish("RUNNING")
    for path in (JOB, f"{JOB}/status", f"{JOB}/history"):
        first = await alice.ask("GET", f"{JOBS}/{path}")
        again = await alice.ask("GET", f"{JOBS}/{path}", If_None_Match=first.headers["ETag"])
        assert re.fullmatch(r"\d+", first.headers["Retry-After"])
        assert re.fullmatch(r"\d+", again.headers["Retry-After"])
    await alice.publish("FINISHED")

    assert "Retry-After" not in (await alice.ask("GET", f"{JOBS}/{JOB}/status")).headers


@pytest.mark.parametrize(
    ("quiet", "wait"), [(0, 2), (3, 2), (4, 4), (9, 8), (100, 64), (300, 256), (600, 300), (86_400, 300)]
)
def test_the_wait_doubles_while_nothing_happens(quiet: int, wait: int) -> None:
    now = utc_now()
    key = lowest_id("evt", (now - timedelta(seconds=quiet)).timestamp())
    job = Job(tenant="default", id=JOB, status="RUNNING", first_event=key, last_event=key, updated_at=now)

    assert wait_for(job, now) == wait


async def test_somebody_elses_job_is_not_found(alice: Tapis, bob: Tapis) -> None:
    await alice.publish("RUNNING")
    for path in (JOB, f"{JOB}/status", f"{JOB}/history"):
        assert "there is no job" in await bob.refused("GET", f"{JOBS}/{path}", status=404)

    await alice.publish("PERMISSION_GRANT", data={"username": "bob"})

    assert (await bob.result("GET", f"{JOBS}/{JOB}/status"))["status"] == "RUNNING"


async def test_what_polling_does_not_offer_is_said_in_an_envelope(alice: Tapis) -> None:
    await alice.publish("RUNNING")

    assert "nothing" in await alice.refused("GET", f"{JOBS}/{JOB}/outputs/listings", status=404)
    assert "possible are GET" in await alice.refused("POST", JOBS, {"name": "x"}, 405)
    assert "Did you mean status?" in await alice.refused("GET", f"{JOBS}?statuses=X")
