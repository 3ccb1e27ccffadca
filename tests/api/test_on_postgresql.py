"""The same API over PostgreSQL: what differs between the databases must not be seen."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from dispatcher.domain.deliveries import State
from tests.api.conftest import Api, opened, serving


@pytest.fixture
async def api(postgres_url: str) -> AsyncIterator[Api]:
    """The API over a PostgreSQL database that is new and empty."""
    async with opened(postgres_url) as store, serving(store) as running:
        yield running


async def test_an_event_goes_its_way_and_is_seen_by_its_owner_only(api: Api) -> None:
    alice = await api.caller("alice", "publish", "subscribe")
    bob = await api.caller("bob", "subscribe")
    made = await alice.subscribe(metadata={"nul": "\0", "big": 2**70})
    event_id = await alice.publish(id="one", message="nul: \0")
    assert await alice.publish(id="one") == event_id
    [delivery_id] = await api.settle(State.EXHAUSTED, "answered 500")
    event = await alice.get(f"/v1/events/{event_id}")
    assert [delivery["id"] for delivery in event["deliveries"]] == [delivery_id]
    assert event["deliveries"][0]["why"] == ["owner is alice", "event FINISHED is in *"]
    assert (await alice.get(f"/v1/subscriptions/{made['id']}"))["metadata"] == {"nul": "\0", "big": 2**70}
    assert (await alice.get("/v1/jobs/job-1"))["terminal"] is True
    for path in (f"/v1/events/{event_id}", f"/v1/deliveries/{delivery_id}", "/v1/jobs/job-1"):
        assert (await bob.ask("GET", path)).status == 404
    for path in ("/v1/events", "/v1/deliveries", "/v1/jobs", "/v1/subscriptions"):
        assert len((await alice.get(path))["items"]) == 1
        assert (await bob.get(path))["items"] == []


async def test_failed_deliveries_are_counted_and_sent_again(api: Api) -> None:
    made = await api.admin.subscribe()
    for number in range(3):
        await api.admin.publish(job_id=f"job-{number}")
    await api.settle(State.EXHAUSTED, "answered 500")
    query = f"state=exhausted&subscription_id={made['id']}&destination=https://127.0.0.1:443"
    assert len((await api.admin.get(f"/v1/deliveries?{query}&since=2020-01-01T00:00:00Z"))["items"]) == 3
    assert (await api.admin.post("/v1/deliveries/retry", {"dry_run": True}))["count"] == 3
    assert (await api.admin.post("/v1/deliveries/retry", {"job_id": "job-1"}))["count"] == 1
    assert len(await api.settle(State.DELIVERED)) == 1


async def test_all_items_are_listed_page_by_page_without_gap_or_repeat(api: Api) -> None:
    for _ in range(2):
        await api.admin.subscribe()
    events = [{"event": "HEARTBEAT", "job_id": f"job-{n}", "owner": "alice"} for n in range(11)]
    ids = (await api.admin.post("/v1/events", events, 202))["ids"]
    assert [event["id"] for event in await api.admin.all("/v1/events", 3)] == ids[::-1]
    deliveries = [delivery["id"] for delivery in await api.admin.all("/v1/deliveries", 5)]
    assert len(set(deliveries)) == len(deliveries) == 22
    assert [job["id"] for job in await api.admin.all("/v1/jobs", 4)] == [
        f"job-{n}" for n in range(10, -1, -1)
    ]


async def test_what_one_subscriber_groups_by_refuses_no_event(api: Api) -> None:
    mallory, alice = (
        await api.caller("mallory", "publish", "subscribe"),
        await api.caller("alice", "subscribe"),
    )
    paths = ["data.a" + ".a" * depth for depth in range(8)]
    nested: object = "a" * 300_000
    for _ in range(8):
        nested = {"a": nested}
    await mallory.subscribe(digest={"wait": 0, "interval": 300, "group_by": paths, "max_rows": 10})
    await alice.subscribe()
    await api.admin.publish(data=nested, owner="mallory")
    await api.admin.publish(data=nested, owner="alice")
    assert len(await api.settle(State.DELIVERED)) == 2


async def test_texts_that_no_index_takes_are_stored_all_the_same(api: Api) -> None:
    longest = {
        "job_id": "\N{CAT}" * 255,
        "owner": "\N{DOG}" * 255,
        "source": "\N{COW}" * 1024,
        "id": "\N{ANT}" * 255,
    }
    await api.admin.subscribe(job_id=longest["job_id"], ordered=True, events=["*"])
    await api.admin.publish(**longest)
    await api.admin.publish("PERMISSION_GRANT", data={"username": "\N{PIG}" * 255}, **(longest | {"id": "2"}))
    assert len(await api.settle(State.DELIVERED)) == 1
    for time in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"):
        await api.admin.publish("RUNNING", time=time, job={"id": "job-1", "endTime": time, "startTime": time})
    assert (await api.admin.get("/v1/jobs/job-1"))["events"] == 2
