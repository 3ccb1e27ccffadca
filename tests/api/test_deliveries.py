"""Seeing deliveries, sending them again, cancelling them."""

from __future__ import annotations

from typing import Any

from dispatcher.domain.deliveries import State
from tests.api.conftest import HOOK, Api, Caller
from tests.claiming import claim


async def test_a_delivery_is_shown_with_its_attempts(api: Api, alice: Caller) -> None:
    made = await alice.subscribe()
    event_id = await alice.publish()
    [delivery_id] = await api.settle(State.EXHAUSTED, "answered 500")
    shown = await alice.get(f"/v1/deliveries/{delivery_id}")
    [attempt] = shown.pop("latest_attempts")
    expected = {
        "id": delivery_id,
        "event_id": event_id,
        "event": "FINISHED",
        "job_id": "job-1",
        "subscription_id": made["id"],
        "destination": "https://127.0.0.1:443",
        "state": "exhausted",
        "attempts": 1,
        "due_at": None,
        "reason": "answered 500",
    }
    assert {name: shown[name] for name in expected} == expected
    assert attempt.pop("started_at").endswith("Z")
    assert attempt == {
        "number": 1,
        "duration": 0.25,
        "request": f"POST {HOOK}",
        "status": 500,
        "error": "answered 500",
        "answer": "no",
    }


async def test_deliveries_are_listed_by_everything_that_they_have(api: Api, alice: Caller) -> None:
    one = await alice.subscribe()
    two = await alice.subscribe(target={"kind": "webhook", "url": "http://127.0.0.1:81/"}, events=["RUNNING"])
    first = await alice.publish("FINISHED")
    await api.settle(State.DELIVERED)
    await alice.publish("RUNNING", job_id="job-2")

    async def listed(query: str) -> list[tuple[str, str]]:
        items = (await alice.get(f"/v1/deliveries?{query}"))["items"]
        return sorted((item["subscription_id"], item["event"]) for item in items)

    ones, twos = (one["id"], "FINISHED"), (two["id"], "RUNNING")
    both = sorted([ones, twos, (one["id"], "RUNNING")])
    assert await listed("") == both
    assert await listed("state=delivered") == [ones]
    assert await listed("job_id=job-1") == [ones]
    assert await listed(f"event_id={first}") == [ones]
    assert await listed(f"subscription_id={two['id']}") == [twos]
    assert await listed("destination=http://127.0.0.1:81") == [twos]
    assert await listed("since=2020-01-01T00:00:00Z") == both
    assert await listed("since=2999-01-01T00:00:00Z") == []


async def test_all_deliveries_are_listed_page_by_page_without_gap_or_repeat(alice: Caller) -> None:
    for _ in range(3):
        await alice.subscribe()
    for number in range(4):
        await alice.publish(job_id=f"job-{number}")
    found = await alice.all("/v1/deliveries?state=pending", 5)
    ids = [item["id"] for item in found]
    assert len(set(ids)) == len(ids) == 12
    assert ids == sorted(ids, reverse=True)


async def test_deliveries_of_somebody_else_are_not_there(api: Api, alice: Caller, bob: Caller) -> None:
    await alice.subscribe()
    await alice.publish()
    [delivery_id] = await api.settle(State.EXHAUSTED)
    for method, action in [("GET", ""), ("POST", "/retry"), ("POST", "/cancel")]:
        assert (await bob.ask(method, f"/v1/deliveries/{delivery_id}{action}")).status == 404
    assert (await bob.get("/v1/deliveries"))["items"] == []
    assert (await bob.post("/v1/deliveries/retry", {}))["count"] == 0
    assert (await alice.get(f"/v1/deliveries/{delivery_id}"))["state"] == "exhausted"


async def test_an_exhausted_delivery_is_sent_again_under_its_id(api: Api, alice: Caller) -> None:
    await alice.subscribe()
    await alice.publish()
    [delivery_id] = await api.settle(State.EXHAUSTED, "answered 500")
    again = await alice.post(f"/v1/deliveries/{delivery_id}/retry")
    assert (again["state"], again["reason"], again["attempts"]) == ("pending", None, 1)
    assert api.woken == 1
    assert await api.settle(State.DELIVERED) == [delivery_id]
    assert len((await alice.get(f"/v1/deliveries/{delivery_id}"))["latest_attempts"]) == 2


async def test_a_delivery_under_way_is_neither_sent_again_nor_cancelled(api: Api, alice: Caller) -> None:
    await alice.subscribe()
    await alice.publish()
    [claimed] = await claim(api.store, api.services.engine.lease_id, 10)
    for action in ("retry", "cancel"):
        reply = await alice.ask("POST", f"/v1/deliveries/{claimed.id}/{action}")
        assert reply.status == 409
        assert "deliver" in reply.json["detail"]


async def test_a_waiting_delivery_is_cancelled_and_can_be_sent_again(alice: Caller) -> None:
    await alice.subscribe()
    await alice.publish()
    [delivery] = (await alice.get("/v1/deliveries"))["items"]
    path = f"/v1/deliveries/{delivery['id']}"
    cancelled = await alice.post(f"{path}/cancel")
    assert (cancelled["state"], cancelled["reason"]) == ("cancelled", "cancelled by request")
    reply = await alice.ask("POST", f"{path}/cancel")
    assert (reply.status, "is cancelled" in reply.json["detail"]) == (409, True)
    assert (await alice.post(f"{path}/retry"))["state"] == "pending"


async def test_a_delivery_of_a_removed_subscription_is_still_seen_but_not_sent_again(alice: Caller) -> None:
    made = await alice.subscribe()
    await alice.publish()
    await alice.ask("DELETE", f"/v1/subscriptions/{made['id']}")
    [delivery] = (await alice.get("/v1/deliveries"))["items"]
    assert (await alice.get(f"/v1/deliveries/{delivery['id']}"))["state"] == "cancelled"
    reply = await alice.ask("POST", f"/v1/deliveries/{delivery['id']}/retry")
    assert (reply.status, "removed" in reply.json["detail"]) == (409, True)


async def test_many_are_counted_first_and_then_sent_again(api: Api, alice: Caller, bob: Caller) -> None:
    await alice.subscribe()
    await bob.subscribe()
    for number in range(3):
        await alice.publish(job_id=f"job-{number}")
    await bob.publish(job_id="of-bob", owner="bob")
    await api.settle(State.EXHAUSTED)

    async def retried(**fields: Any) -> int:
        return int((await alice.post("/v1/deliveries/retry", fields))["count"])

    assert await retried(dry_run=True) == 3
    assert await retried(dry_run=True, job_id="job-1") == 1
    assert await retried(state="cancelled") == 0
    assert await retried(limit=2) == 2
    assert await retried() == 1
    assert await retried() == 0
    assert await retried(dry_run=True, state="pending") == 3
    assert len(await api.settle(State.DELIVERED)) == 3


async def test_only_what_has_failed_is_sent_again(alice: Caller) -> None:
    reply = await alice.ask("POST", "/v1/deliveries/retry", {"state": "delivered"})
    assert (reply.status, list(reply.faults)) == (400, ["state"])
