"""Quotas: what one owner, one key and one tenant may use, and that no race gets around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from dispatcher.api.owner_quotas import OwnerQuotas
from dispatcher.domain.quotas import QuotaOverride, Quotas
from dispatcher.store.store import Store
from tests.api.conftest import HOOK, Api, Caller, opened, serving

SMALL = Quotas(subscriptions=4, destinations=2, events_per_minute=3, stored_mib=1)


@pytest.fixture
async def api(store: Store) -> AsyncIterator[Api]:
    async with serving(store, quotas=OwnerQuotas(store, SMALL, tenant_subscriptions=6)) as running:
        yield running


def to(host: str) -> dict[str, str]:
    return {"kind": "webhook", "url": f"https://{host}/hook"}


def document(**fields: object) -> dict[str, object]:
    return {"events": ["*"], "target": {"kind": "webhook", "url": HOOK}} | fields


async def test_subscriptions_of_an_owner_have_an_end_that_is_named(alice: Caller, bob: Caller) -> None:
    for number in range(4):
        await alice.subscribe(job_id=f"job-{number}")
    reply = await alice.ask("POST", "/v1/subscriptions", document(job_id="job-5"))

    assert reply.status == 403
    assert reply.faults == {"quota.subscriptions": "the quota subscriptions of alice is 4: remove one first"}
    await bob.subscribe()


async def test_one_that_is_removed_makes_room(alice: Caller) -> None:
    made = [await alice.subscribe(job_id=f"job-{number}") for number in range(4)]
    await alice.ask("DELETE", f"/v1/subscriptions/{made[0]['id']}")
    await alice.subscribe(job_id="job-5")


async def test_destinations_of_an_owner_have_an_end_for_new_and_changed_ones(alice: Caller) -> None:
    first = await alice.subscribe(target=to("203.0.113.1") | {"url": "https://127.0.0.1:1/"})
    await alice.subscribe(target={"kind": "webhook", "url": "https://127.0.0.1:2/"})
    third = {"target": {"kind": "webhook", "url": "https://127.0.0.1:3/"}}
    refused = await alice.ask("POST", "/v1/subscriptions", document(**third))

    assert refused.status == 403
    assert list(refused.faults) == ["quota.destinations"]
    await alice.subscribe(target={"kind": "webhook", "url": "https://127.0.0.1:2/other"})
    await alice.patch(f"/v1/subscriptions/{first['id']}", third)  # it gives its own up
    last = await alice.subscribe(target={"kind": "webhook", "url": "https://127.0.0.1:2/last"})
    more = {"target": {"kind": "webhook", "url": "https://127.0.0.1:4/"}}
    assert (await alice.ask("PATCH", f"/v1/subscriptions/{last['id']}", more)).status == 403


async def test_a_tenant_has_an_end_too(api: Api, alice: Caller, bob: Caller) -> None:
    for number in range(3):
        await alice.subscribe(job_id=f"job-{number}")
        await bob.subscribe(job_id=f"job-{number}")
    refused = await bob.ask("POST", "/v1/subscriptions", document(job_id="job-5"))

    assert list(refused.faults) == ["quota.tenant_subscriptions"]
    elsewhere = await api.caller("carol", "subscribe", tenant="other")
    await elsewhere.subscribe()


async def test_an_admin_has_no_quota(admin: Caller) -> None:
    for number in range(7):
        await admin.subscribe(job_id=f"job-{number}")
        await admin.publish()


async def test_a_key_that_publishes_too_much_hears_when_to_go_on(
    api: Api, alice: Caller, bob: Caller
) -> None:
    for _ in range(3):
        await alice.publish()
    event = {"event": "RUNNING", "job_id": "job-1"}
    refused = await alice.ask("POST", "/v1/events", event)

    assert refused.status == 429
    assert list(refused.faults) == ["quota.events_per_minute"]
    assert 1 <= int(refused.headers["Retry-After"]) <= 20
    assert (await bob.ask("POST", "/v1/events", event)).status == 202
    trusted = await api.caller("service", "publish:any")
    for _ in range(5):
        await trusted.publish()


async def test_what_a_key_has_published_is_counted_over_all_processes(
    store: Store, api: Api, alice: Caller
) -> None:
    other = OwnerQuotas(store, SMALL)
    async with serving(store, quotas=other) as second:
        beside = second.with_key(alice.headers["Authorization"].removeprefix("Bearer "))
        statuses = [
            (await caller.ask("POST", "/v1/events", {"event": "RUNNING", "job_id": "j"})).status
            for caller in (alice, beside, alice, beside)
        ]
    assert statuses == [202, 202, 202, 429]


async def test_an_owner_who_has_stored_too_much_publishes_no_more(
    api: Api, alice: Caller, bob: Caller
) -> None:
    await api.store.quotas.note_stored({("default", "alice"): 2 << 20, ("default", "bob"): 1000})
    refused = await alice.ask("POST", "/v1/events", {"event": "RUNNING", "job_id": "j"})

    assert refused.status == 403
    assert list(refused.faults) == ["quota.stored_mib"]
    assert (await bob.ask("POST", "/v1/events", {"event": "RUNNING", "job_id": "j"})).status == 202


async def test_an_admin_sets_the_quotas_of_an_owner_and_takes_them_back(admin: Caller, alice: Caller) -> None:
    set_ = await admin.ask("PUT", "/v1/quotas/alice", {"subscriptions": 1, "events_per_minute": 0})
    assert set_.json == {
        "owner": "alice",
        "subscriptions": 1,
        "destinations": 2,
        "events_per_minute": 0,
        "deliveries_per_minute": 3_000_000,
        "stored_mib": 1,
        "waiters": 1_000,
    }
    assert (await admin.get("/v1/quotas"))["items"] == [set_.json]
    await alice.subscribe()
    assert (await alice.ask("POST", "/v1/subscriptions", document())).status == 403
    for _ in range(5):
        await alice.publish()

    assert (await admin.ask("DELETE", "/v1/quotas/alice")).status == 204
    assert (await admin.get("/v1/quotas/alice"))["subscriptions"] == 4
    assert (await admin.ask("DELETE", "/v1/quotas/alice")).status == 404


@pytest.mark.parametrize("body", [{"subscriptions": -1}, {"subscriptions": 1 << 60}, {"other": 1}])
async def test_quotas_have_a_floor_and_a_ceiling(admin: Caller, body: dict[str, int]) -> None:
    assert (await admin.ask("PUT", "/v1/quotas/alice", body)).status == 400


async def test_quotas_are_an_admins(alice: Caller) -> None:
    assert (await alice.ask("PUT", "/v1/quotas/alice", {"subscriptions": 0})).status == 403
    assert (await alice.ask("GET", "/v1/quotas/alice")).status == 403


async def race(api: Api) -> list[int]:
    alice = await api.caller("alice", "publish", "subscribe")
    asked = (alice.ask("POST", "/v1/subscriptions", document(job_id=f"job-{number}")) for number in range(20))
    return sorted(reply.status for reply in await asyncio.gather(*asked))


async def test_requests_at_the_same_moment_do_not_get_around_a_quota(api: Api) -> None:
    assert await race(api) == [201] * 4 + [403] * 16


async def test_nor_do_they_on_postgresql(postgres_url: str) -> None:
    async with (
        opened(postgres_url) as store,
        serving(store, quotas=OwnerQuotas(store, SMALL)) as api,
    ):
        assert await race(api) == [201] * 4 + [403] * 16
        await store.quotas.set_override("default", "alice", QuotaOverride(subscriptions=5))
        await store.quotas.note_stored({("default", "alice"): 1 << 20})
        await store.quotas.note_stored({("default", "alice"): 1 << 20})
        assert await store.quotas.stored_mib("default", "alice") == 2


async def test_requests_at_the_same_moment_waste_nothing_of_a_quota(store: Store) -> None:
    """Each took a share of the minute from the store, and all but one of the shares were lost."""
    async with serving(store, quotas=OwnerQuotas(store, Quotas(events_per_minute=600))) as api:
        alice = await api.caller("alice", "publish")
        asked = (alice.ask("POST", "/v1/events", {"event": "RUNNING", "job_id": f"j{n}"}) for n in range(150))
        statuses = [reply.status for reply in await asyncio.gather(*asked)]
    assert statuses == [202] * 150


async def test_a_pause_does_not_get_around_the_quota_of_deliveries(store: Store) -> None:
    one_a_minute = OwnerQuotas(store, Quotas(deliveries_per_minute=1))
    async with serving(store, quotas=one_a_minute) as running:
        alice = await running.caller("alice", "publish", "subscribe")
        made = await alice.subscribe()
        await alice.post(f"/v1/subscriptions/{made['id']}/pause")
        for _ in range(3):
            await alice.publish()
        await alice.post(f"/v1/subscriptions/{made['id']}/resume")
        held = await alice.all("/v1/deliveries", 500)
        assert [one["reason"] for one in held] == ["over the quota of 1 deliveries a minute"] * 2 + [None]
        assert held[0]["due_at"] > held[1]["due_at"] > held[2]["due_at"]
