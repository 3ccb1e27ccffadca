"""`/v3/jobs`: what is known of jobs, subscriptions to one job, events of users, and a sentence for everything else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.compat.tapis_v3.conftest import Caller, Site
from tests.receiver import Receiver

JOBS = "/v3/jobs"
ADDRESS = "https://127.0.0.1/hook"


def target(address: str = ADDRESS) -> list[dict[str, str]]:
    return [{"deliveryMethod": "WEBHOOK", "deliveryAddress": address}]


async def publish(site: Site, job: str, *statuses: str, owner: str = "alice") -> None:
    """Events of a job, one a second."""
    for second, status in enumerate(statuses):
        data = json.dumps({"jobOwner": owner, "jobName": f"run of {job}", "message": f"now {status}"})
        await site.jobs().publish(
            status, subject=job, seriesId=job, data=data, timestamp=f"2026-05-04T12:00:{second:02}Z"
        )


async def uuids(caller: Caller, path: str, body: object = None) -> list[str]:
    if body is None:
        return [one["uuid"] for one in await caller.get(f"{JOBS}{path}")]
    return [one["uuid"] for one in await caller.post(f"{JOBS}{path}", body)]


async def test_a_job_is_what_its_events_say_of_it(site: Site) -> None:
    await publish(site, "job-1", "PENDING", "RUNNING", "CANCELLED")
    alice = site.user()
    job = await alice.get(f"{JOBS}/job-1?pretty=true")
    assert {name: value for name, value in job.items() if name not in ("created", "lastUpdated")} == {
        "uuid": "job-1",
        "name": "run of job-1",
        "owner": "alice",
        "tenant": "dev",
        "appId": None,
        "appVersion": None,
        "status": "CANCELLED",
        "condition": None,
        "remoteSubmitted": None,
        "remoteStarted": "2026-05-04T12:00:01Z",
        "ended": "2026-05-04T12:00:02Z",
        "execSystemId": None,
        "archiveSystemId": None,
        "lastMessage": "now CANCELLED",
    }
    assert await alice.get(f"{JOBS}/job-1/status") == {"status": "CANCELLED", "condition": None}
    history = await alice.get(f"{JOBS}/job-1/history")
    assert [(one["event"], one["eventDetail"]) for one in history] == [
        ("JOB_NEW_STATUS", "PENDING"),
        ("JOB_NEW_STATUS", "RUNNING"),
        ("JOB_NEW_STATUS", "CANCELLED"),
    ]
    assert (history[0]["created"], "now PENDING" in history[0]["description"]) == (
        "2026-05-04T12:00:00Z",
        True,
    )
    [second] = await alice.get(f"{JOBS}/job-1/history?limit=1&skip=1")
    assert second["eventDetail"] == "RUNNING"


async def test_a_job_that_came_in_another_form_has_the_properties_of_its_document(site: Site) -> None:
    job = {
        "id": "27",
        "name": "fold",
        "appId": "pyplot",
        "executionSystem": "hpc",
        "nodeCount": 4,
        "owner": "alice",
        "report_token": "s3cret",
    }
    document = {
        "event": "RUNNING",
        "tenant": "dev",
        "job": job | {"notifications": [{"url": ADDRESS, "event": "FINISHED"}]},
    }
    headers = {"Authorization": f"Bearer {await site.key('alice', 'publish')}"}
    async with site.session.post(f"{site.url}/v1/events", json=document, headers=headers) as answer:
        assert answer.status == 202
    shown = await site.user().get(f"{JOBS}/27")
    assert (shown["appId"], shown["execSystemId"], shown["nodeCount"]) == ("pyplot", "hpc", 4)
    assert shown["report_token"] == "***"
    assert "notifications" not in shown
    assert "id" not in shown
    [step] = await site.user().get(f"{JOBS}/27/history")
    assert (step["event"], step["eventDetail"]) == ("JOB_NEW_STATUS", "RUNNING")


async def test_a_history_shows_no_secret_of_an_event(site: Site) -> None:
    await site.jobs().publish("RUNNING", data='{"jobOwner": "alice", "callback_token": "s3cret"}')
    await site.jobs().publish(
        "RUNNING", data="as text", type="jobs.JOB_USER_EVENT.A", timestamp="2026-05-04T12:00:01Z"
    )
    said = [one["description"] for one in await site.user("boss").get(f"{JOBS}/job-1/history")]
    assert [json.loads(said[0])["callback_token"], said[1]] == ["***", "as text"]


async def test_a_job_of_somebody_else_is_not_found(site: Site) -> None:
    await publish(site, "job-1", "RUNNING")
    for path in ("/job-1", "/job-1/status", "/job-1/history", "/none", "/none/status"):
        reply = await site.user("bob").ask("GET", f"{JOBS}{path}")
        assert (reply.status, "there is no job" in reply.message) == (404, True)
    assert (await site.user("bob").ask("POST", f"{JOBS}/job-1/sendEvent", {"eventData": "x"})).status == 404
    assert (await site.user("boss").get(f"{JOBS}/job-1"))["owner"] == "alice"


async def test_lists_are_of_the_caller_unless_an_administrator_asks_for_all(site: Site) -> None:
    await publish(site, "job-1", "RUNNING")
    await publish(site, "job-2", "FINISHED")
    await publish(site, "job-3", "RUNNING", owner="bob")
    assert await uuids(site.user(), "/list") == ["job-2", "job-1"]
    assert await uuids(site.user(), "/list?listType=ALL_JOBS") == ["job-2", "job-1"]
    assert await uuids(site.user("boss"), "/list") == []
    assert await uuids(site.user("boss"), "/list?listType=ALL_JOBS") == ["job-3", "job-2", "job-1"]
    assert (await site.user().ask("GET", f"{JOBS}/list?listType=MINE")).status == 400


async def test_what_was_granted_is_shared(site: Site) -> None:
    await publish(site, "job-1", "RUNNING")
    headers = {"Authorization": f"Bearer {await site.key('alice', 'publish')}"}
    grant = {
        "event": "PERMISSION_GRANT",
        "job_id": "job-1",
        "data": {"username": "bob", "permission": "READ"},
    }
    async with site.session.post(f"{site.url}/v1/events", json=grant, headers=headers) as answer:
        assert answer.status == 202
    assert await uuids(site.user("bob"), "/list") == []
    assert await uuids(site.user("bob"), "/list?listType=SHARED_JOBS") == ["job-1"]
    assert await uuids(site.user("bob"), "/list?listType=ALL_JOBS") == ["job-1"]
    assert await uuids(site.user(), "/list?listType=SHARED_JOBS") == []


async def test_jobs_are_searched_by_parameters_and_by_a_condition(site: Site) -> None:
    await publish(site, "job-1", "RUNNING")
    await publish(site, "job-2", "RUNNING", "FINISHED")
    alice = site.user()
    assert await uuids(alice, "/search?status=RUNNING") == ["job-1"]
    assert await uuids(alice, "/search?status.in=RUNNING,FINISHED&orderBy=uuid(asc)&limit=1&skip=1") == [
        "job-2"
    ]
    assert await uuids(alice, "/search?ended.gt=2026-05-04T12:00:00Z") == ["job-2"]
    sql = {"search": ["status = 'RUNNING'", "OR name LIKE '%-2' AND last_message = 'now FINISHED'"]}
    assert await uuids(alice, "/search?orderBy=uuid", sql) == ["job-1", "job-2"]
    assert await alice.get(f"{JOBS}/search?select=status&status=RUNNING") == [
        {"name": "run of job-1", "status": "RUNNING"}
    ]
    counted = await alice.ask("GET", f"{JOBS}/search?computeTotal=true&limit=1")
    assert (counted.document["metadata"]["totalCount"], len(counted.result)) == (2, 1)
    wrong = await alice.ask("GET", f"{JOBS}/search?state=RUNNING")
    assert (wrong.status, "did you mean status?" in wrong.message) == (400, True)


async def test_a_job_is_subscribed_to_until_it_has_ended(site: Site, receiver: Receiver) -> None:
    await publish(site, "job-1", "RUNNING")
    alice, new = (
        site.user(),
        {"eventCategoryFilter": "JOB_NEW_STATUS", "deliveryTargets": target(receiver.url)},
    )
    made = await alice.post(f"{JOBS}/subscribe/job-1", new | {"ttlminutes": 60, "description": "mine"})
    [shown] = await alice.get(f"{JOBS}/subscribe/job-1")
    assert made["url"].endswith(f"/v3/notifications/subscriptions/{shown['name']}")
    assert (shown["typeFilter"], shown["subjectFilter"], shown["ttlMinutes"], shown["description"]) == (
        *("jobs.JOB_NEW_STATUS.*", "job-1"),
        *(60, "mine"),
    )
    await publish(site, "job-2", "FINISHED")
    await publish(site, "job-1", "RUNNING", "FINISHED")
    arrived = await receiver.count(2)
    assert {one.event["event"]["subject"] for one in arrived} == {"job-1"}  # type: ignore[index]
    ended = await alice.ask("POST", f"{JOBS}/subscribe/job-1", new)
    assert (ended.status, "has ended: it is FINISHED" in ended.message) == (400, True)


async def test_subscriptions_to_a_job_are_deleted_one_by_one_and_together(site: Site) -> None:
    alice, bob = site.user(), site.user("bob")
    everything = {"eventCategoryFilter": "ALL", "deliveryTargets": target(), "ttlMinutes": 10**6}
    for _ in range(3):
        await alice.post(f"{JOBS}/subscribe/job-1", everything)
    await bob.post(f"{JOBS}/subscribe/job-1", everything)
    shown = await alice.get(f"{JOBS}/subscribe/job-1")
    assert {(one["typeFilter"], one["ttlMinutes"]) for one in shown} == {("jobs.*.*", 4 * 7 * 24 * 60)}
    assert len(await alice.get(f"{JOBS}/subscribe/job-1?limit=2&skip=2")) == 1
    one = shown[0]["uuid"]
    assert await bob.delete(f"{JOBS}/subscribe/{one}") == {"changes": 0}
    assert await alice.delete(f"{JOBS}/subscribe/{one}") == {"changes": 1}
    assert await alice.delete(f"{JOBS}/subscribe/job-1") == {"changes": 2}
    assert await alice.delete(f"{JOBS}/subscribe/job-1") == {"changes": 0}
    boss = site.user("boss")
    assert len(await boss.get(f"{JOBS}/subscribe/job-1")) == 1
    assert await boss.delete(f"{JOBS}/subscribe/job-1") == {"changes": 0}, "it is bob's"


@pytest.mark.parametrize(
    ("path", "changes"),
    [
        ("/subscribe/*", {}),
        ("/subscribe/job-1", {"eventCategoryFilter": "JOB_OLD_STATUS"}),
        ("/subscribe/job-1", {"deliveryTargets": [{"deliveryMethod": "QUEUE", "deliveryAddress": "queue"}]}),
        ("/subscribe/job-1", {"ttl": 60}),
    ],
)
async def test_what_is_no_subscription_to_one_job_is_refused(
    site: Site, path: str, changes: dict[str, Any]
) -> None:
    new = {"eventCategoryFilter": "ALL", "deliveryTargets": target()}
    assert (await site.user().ask("POST", f"{JOBS}{path}", new | changes)).status == 400
    assert await site.user().get("/subscriptions") == []


async def test_a_user_sends_an_event_to_a_running_job(site: Site, receiver: Receiver) -> None:
    await publish(site, "job-1", "RUNNING")
    alice = site.user()
    await alice.post(
        f"{JOBS}/subscribe/job-1",
        {"eventCategoryFilter": "JOB_USER_EVENT", "deliveryTargets": target(receiver.url)},
    )
    sent = await alice.ask(
        "POST", f"{JOBS}/job-1/sendEvent", {"eventData": "half", "eventDetail": "progress_1"}
    )
    assert (sent.status, sent.result) == (200, "half")
    await site.user("boss").post(f"{JOBS}/job-1/sendEvent", {"eventData": '{"jobOwner": "bob"}'})
    arrived = await receiver.count(2)
    assert {(one.event["event"]["type"], one.event["event"]["data"]) for one in arrived} == {  # type: ignore[index]
        ("jobs.JOB_USER_EVENT.progress_1", "half"),
        ("jobs.JOB_USER_EVENT.DEFAULT", '{"jobOwner": "bob"}'),
    }
    job = await alice.get(f"{JOBS}/job-1")
    assert (job["status"], job["owner"], job["lastMessage"]) == ("RUNNING", "alice", "now RUNNING")
    assert await uuids(site.user("bob"), "/list?listType=ALL_JOBS") == []

    await publish(site, "job-1", "RUNNING", "FINISHED")
    late = await alice.ask("POST", f"{JOBS}/job-1/sendEvent", {"eventData": "late"})
    assert (late.status, "the job job-1 has ended" in late.message) == (400, True)


async def test_a_key_sends_events_to_jobs_with_the_scope_publish_only(site: Site) -> None:
    await publish(site, "job-1", "RUNNING")
    event = {"eventData": "half"}
    subscriber = site.with_token(await site.key("alice", "subscribe"))
    refused = await subscriber.ask("POST", f"{JOBS}/job-1/sendEvent", event)
    assert (refused.status, "the scopes subscribe and publish" in refused.message) == (401, True)
    await site.with_token(await site.key("alice", "subscribe", "publish")).post(
        f"{JOBS}/job-1/sendEvent", event
    )


async def test_everything_else_is_refused_in_the_envelope_with_a_sentence(site: Site) -> None:
    alice = site.user()
    for method, path in (("POST", "/submit"), ("POST", "/job-1/cancel"), ("GET", "/job-1/output/list/a/b")):
        reply = await alice.ask(method, f"{JOBS}{path}", b"{}")
        assert (reply.status, "this service runs no jobs" in reply.message) == (404, True)
    for path in ("/v3/systems", "/v3/oauth2/tokens", "/v3/notifications/none", "/v3/jobs"):
        reply = await alice.ask("GET", path)
        assert (reply.status, f"there is nothing at {path}: of Tapis v3" in reply.message) == (404, True)
    reply = await alice.ask("PUT", f"{JOBS}/job-1")
    assert (reply.status, reply.message) == (405, "PUT is not possible here; possible are GET")
    for path in ("/healthcheck", "/readycheck", "/ready"):
        assert (await Caller(site.session, site.url).ask("GET", f"{JOBS}{path}")).status in (200, 503)
