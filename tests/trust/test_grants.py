"""A grant belongs to the owner who made it, counts from its acceptance, and ends with a revocation."""

from __future__ import annotations

from dispatcher.domain.deliveries import State
from tests.api.conftest import Api, Caller

GRANT, REVOKE = "PERMISSION_GRANT", "PERMISSION_REVOKE"
TO_EVE = {"username": "eve"}


async def sees(caller: Caller, job_id: str = "future") -> bool:
    """Whether somebody sees a job, in every way or in none."""
    found = await caller.ask("GET", f"/v1/jobs/{job_id}")
    listed = [one["id"] for one in (await caller.get("/v1/jobs"))["items"]]
    history = await caller.ask("GET", f"/v1/jobs/{job_id}/history")
    assert (found.status, history.status) in ((200, 200), (404, 404))
    assert (job_id in listed) is (found.status == 200)
    return found.status == 200


async def test_a_grant_from_the_future_can_be_revoked_now(admin: Caller, eve: Caller) -> None:
    await admin.publish("RUNNING", job_id="future")
    await admin.publish(GRANT, job_id="future", data=TO_EVE, time="9999-01-01T00:00:00Z")
    assert await sees(eve)
    await admin.publish(REVOKE, job_id="future", data=TO_EVE)
    assert not await sees(eve)
    assert (await eve.get("/v1/events?job_id=future"))["items"] == []


async def test_a_grant_for_a_job_that_is_somebody_elses_in_the_end_is_void(
    admin: Caller, alice: Caller, mallory: Caller, eve: Caller
) -> None:
    for user in ("mallory", "eve"):
        await mallory.publish(GRANT, job_id="future", owner="mallory", data={"username": user})
    assert await sees(eve)

    await admin.publish("RUNNING", job_id="future")

    assert await sees(alice)
    for caller in (mallory, eve):
        assert not await sees(caller)
    assert (await eve.get("/v1/events?job_id=future"))["items"] == []
    assert (await eve.get("/v1/events"))["items"] == []


async def test_the_owners_own_early_grant_is_void_too_and_a_later_one_counts(
    admin: Caller, alice: Caller, eve: Caller
) -> None:
    await alice.publish(GRANT, job_id="future", data=TO_EVE)
    assert await sees(eve)
    await admin.publish("RUNNING", job_id="future")
    assert not await sees(eve)
    await alice.publish(GRANT, job_id="future", data=TO_EVE)
    assert await sees(eve)
    await alice.publish(REVOKE, job_id="future", data=TO_EVE)
    assert not await sees(eve)


async def test_what_an_owners_key_said_before_does_not_outlive_what_a_trusted_publisher_says(
    admin: Caller, alice: Caller, eve: Caller
) -> None:
    await alice.publish(REVOKE, job_id="future", data=TO_EVE)
    await admin.publish(GRANT, job_id="future", data=TO_EVE, time="2026-05-04T12:00:00Z")
    assert await sees(eve)


async def test_a_grant_shows_what_its_owner_has_of_the_job_only(
    api: Api, admin: Caller, mallory: Caller, eve: Caller
) -> None:
    await admin.publish("RUNNING", job_id="future")
    await admin.publish("RUNNING", job_id="future", owner="mallory", message="of another")
    await admin.publish(GRANT, job_id="future", owner="mallory", data=TO_EVE)
    seen = (await eve.get("/v1/events?job_id=future"))["items"]
    assert {one["owner"] for one in seen} == {"mallory"}
    assert seen == (await eve.get("/v1/events"))["items"]
    assert not await sees(eve)
    await eve.subscribe()
    await eve.subscribe(events=["RUNNING"])
    await admin.publish("RUNNING", job_id="future")
    assert await api.settle(State.DELIVERED) == []


async def test_a_trusted_grant_without_an_owner_is_the_claimed_jobs(admin: Caller, eve: Caller) -> None:
    unowned = {"event": GRANT, "job_id": "future", "data": TO_EVE}
    await admin.post("/v1/events", unowned, 202)
    await admin.publish("RUNNING", job_id="future")
    assert not await sees(eve), "the grant had no owner"
    await admin.post("/v1/events", unowned, 202)
    assert await sees(eve)
    await admin.post("/v1/events", unowned | {"event": REVOKE}, 202)
    assert not await sees(eve)


async def test_grants_and_revocations_of_one_request_count_in_their_order(admin: Caller, eve: Caller) -> None:
    grant, revoke = (
        {"event": name, "job_id": "future", "data": TO_EVE, "time": "2026-05-04T12:00:00Z"}
        for name in (GRANT, REVOKE)
    )
    named = {"owner": "alice"}
    await admin.post("/v1/events", [{"event": "RUNNING", "job_id": "future"} | named, grant], 202)
    assert await sees(eve)
    await admin.post("/v1/events", [grant | named, revoke], 202)
    assert not await sees(eve)
    await admin.post("/v1/events", [revoke, grant | named | {"time": "2026-05-04T12:00:01Z"}], 202)
    assert await sees(eve)


async def test_an_event_without_an_owner_is_not_shown_by_a_grant(
    admin: Caller, alice: Caller, eve: Caller
) -> None:
    await admin.publish("RUNNING", job_id="future")
    await admin.publish(GRANT, job_id="future", data=TO_EVE)
    unowned = (await admin.post("/v1/events", {"event": "UPDATED", "job_id": "future"}, 202))["ids"][0]
    assert (await alice.ask("GET", f"/v1/events/{unowned}")).status == 200
    assert (await eve.ask("GET", f"/v1/events/{unowned}")).status == 404
    for path in ("/v1/events", "/v1/events?job_id=future", "/v1/jobs/future/history"):
        assert unowned in [one["id"] for one in (await alice.get(path))["items"]]
        assert unowned not in [one["id"] for one in (await eve.get(path))["items"]]
