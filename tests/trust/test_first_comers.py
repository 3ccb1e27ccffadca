"""The first to name a job does not own it: a trusted publisher says whose it is."""

from __future__ import annotations

from typing import Any

import pytest

from dispatcher.domain.deliveries import State
from tests.api.conftest import Api, Caller

LATER = "2100-01-01T00:00:00Z"


async def events(caller: Caller, job_id: str = "future") -> list[tuple[str, str | None]]:
    """What somebody sees of a job, newest first: events and their owners."""
    found = (await caller.get(f"/v1/events?job_id={job_id}"))["items"]
    assert found == [one for one in (await caller.get("/v1/events"))["items"] if one["job_id"] == job_id]
    return [(one["event"], one["owner"]) for one in found]


async def status(caller: Caller, path: str) -> int:
    return (await caller.ask("GET", path)).status


async def jobs(caller: Caller) -> list[Any]:
    found: list[Any] = (await caller.get("/v1/jobs"))["items"]
    return found


async def test_a_job_is_whose_a_trusted_publisher_says_and_not_the_first_comers(
    admin: Caller, alice: Caller, mallory: Caller
) -> None:
    forged = await mallory.publish("FINISHED", job_id="future", owner="mallory", message="hm", time=LATER)
    assert (await mallory.get("/v1/jobs/future"))["owner"] == "mallory"

    real = await admin.publish("RUNNING", job_id="future", message="secret")

    job = await alice.get("/v1/jobs/future")
    assert (job["owner"], job["status"], job["message"], job["events"]) == ("alice", "RUNNING", "secret", 1)
    assert job == await admin.get("/v1/jobs/future")
    assert [one["id"] for one in await jobs(alice)] == [one["id"] for one in await jobs(admin)] == ["future"]
    assert await jobs(mallory) == []
    assert await events(alice) == [("RUNNING", "alice")]
    assert await events(mallory) == [("FINISHED", "mallory")]
    assert await status(mallory, f"/v1/events/{real}") == 404
    assert await status(alice, f"/v1/events/{forged}") == 404
    for path in ("/v1/jobs/future", "/v1/jobs/future/history", "/jobs/v2/future", "/jobs/v2/future/status"):
        assert await status(mallory, path) == 404
        assert await status(alice, path) == 200


async def test_the_owner_of_a_job_is_not_shut_out_by_a_first_comer(alice: Caller, mallory: Caller) -> None:
    await mallory.publish("FAILED", job_id="future", owner="mallory", time=LATER)
    await alice.publish("RUNNING", job_id="future")
    assert (await alice.get("/v1/jobs/future"))["status"] == "RUNNING"
    assert (await mallory.get("/v1/jobs/future"))["status"] == "FAILED"
    assert await events(alice) == [("RUNNING", "alice")]
    assert [one["owner"] for one in await jobs(alice)] == ["alice"]


async def test_an_admin_sees_what_each_owner_says_of_an_unclaimed_job(
    admin: Caller, alice: Caller, mallory: Caller
) -> None:
    await mallory.publish("FAILED", job_id="future", owner="mallory")
    await alice.publish("RUNNING", job_id="future")
    assert [one["owner"] for one in await jobs(admin)] == ["alice", "mallory"]
    assert [one["owner"] for one in (await admin.get("/v1/jobs?owner=mallory"))["items"]] == ["mallory"]
    assert [one["owner"] for one in (await admin.get("/v1/jobs?status=RUNNING"))["items"]] == ["alice"]
    assert (await admin.get("/v1/jobs/future"))["owner"] == "mallory"
    paged = await admin.all("/v1/jobs", 1)
    assert [one["owner"] for one in paged] == ["alice", "mallory"]


@pytest.mark.parametrize("owner", ["alice", "mallory", None])
async def test_an_owner_says_nothing_of_a_job_that_was_given_to_somebody_else(
    admin: Caller, alice: Caller, mallory: Caller, owner: str | None
) -> None:
    await alice.subscribe()
    await admin.publish("RUNNING", job_id="hers")
    before = await alice.get("/v1/jobs/hers")
    for name in ("FAILED", "FINISHED", "PERMISSION_GRANT", "UPDATED"):
        event = {"event": name, "job_id": "hers", "owner": owner, "data": {"username": "mallory"}}
        plain = await mallory.ask("POST", "/v1/events", event)
        batch = await mallory.ask(
            "POST", "/v1/events", [event | {"job_id": "other", "owner": "mallory"}, event]
        )
        assert (plain.status, batch.status) == (403, 403)
    assert await alice.get("/v1/jobs/hers") == before
    assert await events(alice, "hers") == [("RUNNING", "alice")]
    assert await events(mallory, "other") == []
    assert len((await alice.get("/v1/deliveries"))["items"]) == 1


async def test_the_owner_of_a_claimed_job_goes_on_with_the_own_key(admin: Caller, alice: Caller) -> None:
    await alice.publish("QUEUED", job_id="future", message="by hand", time="2026-05-04T12:00:00Z")
    await admin.publish("RUNNING", job_id="future", message="by the service", time="2026-05-04T12:00:01Z")
    await alice.publish("FINISHED", job_id="future", message="done", time="2026-05-04T12:00:02Z")
    job = await alice.get("/v1/jobs/future")
    assert (job["status"], job["message"], job["events"]) == ("FINISHED", "done", 2)
    assert len(await events(alice)) == 3


async def test_an_event_without_an_owner_is_the_key_owners(alice: Caller, mallory: Caller) -> None:
    plain = {"event": "RUNNING", "job_id": "1"}
    cloud = {"specversion": "1.0", "id": "1", "source": "/x", "type": "job.FINISHED", "subject": "1"}
    await alice.post("/v1/events", plain, 202)
    reply = await alice.ask("POST", "/v1/events", cloud, content_type="application/cloudevents+json")
    assert reply.status == 202
    assert await events(alice, "1") == [("FINISHED", "alice"), ("RUNNING", "alice")]
    assert await events(mallory, "1") == []
    [newest, _] = (await alice.get("/v1/events"))["items"]
    assert (await alice.get(f"/v1/events/{newest['id']}"))["document"] == cloud


async def test_a_trusted_event_without_an_owner_claims_nothing(
    admin: Caller, alice: Caller, mallory: Caller
) -> None:
    unowned = {"event": "RUNNING", "job_id": "future", "message": "secret"}
    event_id = (await admin.post("/v1/events", unowned, 202))["ids"][0]
    for caller in (alice, mallory):
        assert await status(caller, "/v1/jobs/future") == 404
        assert await status(caller, f"/v1/events/{event_id}") == 404
        assert await jobs(caller) == []
    await mallory.publish("FAILED", job_id="future", owner="mallory")
    assert await events(mallory) == [("FAILED", "mallory")]
    assert (await mallory.get("/v1/jobs/future"))["message"] is None

    await admin.publish("FINISHED", job_id="future", message="done")

    assert await status(alice, f"/v1/events/{event_id}") == 200
    assert await status(mallory, f"/v1/events/{event_id}") == 404
    assert (await alice.get("/v1/jobs/future"))["events"] == 2
    history = (await alice.get("/v1/jobs/future/history"))["items"]
    assert [one["event"] for one in history] == ["FINISHED", "RUNNING"]
    assert (await mallory.ask("POST", "/v1/events", unowned)).status == 403


async def test_who_guesses_an_id_does_not_make_the_real_event_a_duplicate(
    admin: Caller, alice: Caller, mallory: Caller
) -> None:
    known = {"id": "0001-FINISHED", "source": "/jobs"}
    first = await mallory.publish(job_id="future", owner="mallory", **known)
    assert await mallory.publish(job_id="future", owner="mallory", **known) == first
    own = await alice.publish(job_id="mine", **known)
    real = await admin.publish(job_id="future", **known)
    assert len({first, own, real}) == 3
    assert await admin.publish(job_id="future", **known) == real
    assert (await alice.get("/v1/jobs/future"))["status"] == "FINISHED"


async def test_a_forged_status_goes_to_no_subscription_of_the_owner(
    api: Api, admin: Caller, alice: Caller, mallory: Caller
) -> None:
    for fields in ({"job_id": "future"}, {}):
        await alice.subscribe(**fields)
    await mallory.subscribe(job_id="future")
    await mallory.publish("FINISHED", job_id="future", owner="mallory")
    assert len(await api.settle(State.DELIVERED)) == 1
    assert (await alice.get("/v1/deliveries"))["items"] == []
    await admin.publish("FINISHED", job_id="future")
    assert len(await api.settle(State.DELIVERED)) == 2
    assert len((await alice.get("/v1/deliveries"))["items"]) == 2
    assert len((await mallory.get("/v1/deliveries"))["items"]) == 1


async def test_a_replay_shows_no_one_what_is_anothers(
    api: Api, admin: Caller, alice: Caller, mallory: Caller
) -> None:
    await mallory.publish("PENDING", job_id="future", owner="mallory")
    real = await admin.publish("RUNNING", job_id="future")
    await mallory.subscribe()
    made = await mallory.subscribe(job_id="other")
    body = {"subscription_id": made["id"]}
    assert (await mallory.ask("POST", f"/v1/events/{real}/replay", body)).status == 404
    await alice.subscribe()
    sent = await admin.post(f"/v1/events/{real}/replay", {}, 202)
    assert len(sent["deliveries"]) == 1
    assert (await mallory.get("/v1/deliveries"))["items"] == []


async def test_a_first_comer_does_not_suppress_the_notifications_of_the_real_job(
    admin: Caller, alice: Caller, mallory: Caller
) -> None:
    await mallory.publish("PENDING", job_id="future", owner="mallory")
    document = {"id": "future", "notifications": ["https://127.0.0.1/hook"]}
    await admin.publish("PENDING", job_id="future", job=document)
    assert len((await alice.get("/v1/subscriptions?job_id=future"))["items"]) == 3
    assert (await mallory.get("/v1/subscriptions"))["items"] == []


async def test_a_job_of_the_same_id_suppresses_no_notifications_of_an_owners_own(
    alice: Caller, mallory: Caller
) -> None:
    await mallory.publish("PENDING", job_id="future", owner="mallory")
    grant = {"username": "alice"}
    await mallory.publish("PERMISSION_GRANT", job_id="future", owner="mallory", data=grant)
    document = {"id": "future", "notifications": ["https://127.0.0.1/hook"]}
    await alice.publish("PENDING", job_id="future", job=document)
    assert len((await alice.get("/v1/subscriptions?job_id=future"))["items"]) == 3


async def test_another_tenants_key_names_no_job_of_ours(api: Api, admin: Caller, alice: Caller) -> None:
    await admin.publish("RUNNING", job_id="hers")
    for scopes in (["publish", "subscribe"], ["publish:any", "subscribe"], ["admin"]):
        other = await api.caller("alice", *scopes, tenant="other")
        event = {"event": "FAILED", "job_id": "hers", "owner": "alice"}
        assert (await other.ask("POST", "/v1/events", event | {"tenant": "default"})).status == 400
        await other.post("/v1/events", event, 202)
    assert (await alice.get("/v1/jobs/hers"))["status"] == "RUNNING"
