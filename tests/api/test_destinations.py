"""Destinations: how they are, and what operators do with them."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from dispatcher.domain.events import utc_now
from tests.api.conftest import Api, Caller
from tests.breakers import open_breaker
from tests.store.helpers import FUTURE, PAST

KEY = "https://127.0.0.1:443"
PATH = f"/v1/destinations/{quote(KEY, safe='')}"


async def test_a_destination_that_works_is_shown_with_a_closed_breaker(alice: Caller) -> None:
    await alice.subscribe()
    assert await alice.get(PATH) == {
        "key": KEY,
        "breaker": "closed",
        "reason": None,
        "opened_at": None,
        "next_probe_at": None,
        "failed_probes": 0,
        "paused_at": None,
        "paused_reason": None,
        "rate_limit": None,
        "waiting": 0,
        "lane": None,
    }


async def test_an_open_breaker_says_why_since_when_and_what_waits(api: Api, alice: Caller) -> None:
    await alice.subscribe()
    await alice.publish("FINISHED")
    await open_breaker(api.store, KEY, FUTURE, "answered 503")
    shown = await alice.get(PATH)
    assert (shown["breaker"], shown["reason"], shown["waiting"]) == ("open", "answered 503", 1)
    assert shown["opened_at"] <= utc_now().isoformat()
    assert shown["next_probe_at"] is not None


async def test_a_breaker_whose_time_has_come_is_half_open(api: Api, alice: Caller) -> None:
    await alice.subscribe()
    await open_breaker(api.store, KEY, PAST, "answered 503")
    assert (await alice.get(PATH))["breaker"] == "half_open"


async def test_operators_pause_and_resume(api: Api, admin: Caller, alice: Caller) -> None:
    await alice.subscribe()
    await open_breaker(api.store, KEY, FUTURE, "answered 503")
    paused = await admin.post(f"{PATH}/pause", {"reason": "maintenance"}, 200)
    assert (paused["paused_reason"], paused["next_probe_at"]) == ("maintenance", None)
    resumed = await admin.post(f"{PATH}/resume", None, 200)
    assert (resumed["paused_at"], resumed["breaker"]) == (None, "closed")


async def test_no_target_is_tried_whose_destination_is_paused(admin: Caller, alice: Caller) -> None:
    made = await alice.subscribe()
    await admin.post(f"{PATH}/pause", {"reason": "maintenance"}, 200)
    reply = await alice.ask("POST", f"/v1/subscriptions/{made['id']}/test")
    assert (reply.status, reply.json["detail"]) == (409, f"{KEY} is paused: maintenance")


async def test_operators_limit_and_lift_the_limit(admin: Caller, alice: Caller) -> None:
    await alice.subscribe()
    limited = await admin.ask("PATCH", PATH, {"rate_limit": {"per_second": 10, "burst": 20}})
    assert limited.json["rate_limit"] == {"per_second": 10, "burst": 20}
    assert (await admin.ask("PATCH", PATH, {"rate_limit": None})).json["rate_limit"] is None
    wrong = await admin.ask("PATCH", PATH, {"rate_limit": {"per_second": -1}})
    assert (wrong.status, list(wrong.faults)) == (400, ["rate_limit.per_second"])


@pytest.mark.parametrize("what", ["pause", "resume"])
async def test_others_may_not(alice: Caller, what: str) -> None:
    await alice.subscribe()
    assert (await alice.ask("POST", f"{PATH}/{what}")).status == 403


async def test_an_admin_of_another_tenant_decides_nothing_for_all(api: Api, alice: Caller) -> None:
    await alice.subscribe()
    other = await api.caller("root", "admin", tenant="other")
    assert (await other.ask("POST", f"{PATH}/pause")).status == 403
    assert (await other.get("/v1/destinations"))["items"] == []


async def test_no_owner_sees_where_others_send_to(alice: Caller, bob: Caller, admin: Caller) -> None:
    await alice.subscribe()
    assert (await bob.ask("GET", PATH)).status == 404
    assert (await bob.get("/v1/destinations"))["items"] == []
    assert [one["key"] for one in (await admin.get("/v1/destinations"))["items"]] == [KEY]


async def test_they_are_listed_in_pages(api: Api, admin: Caller) -> None:
    for name in "abc":
        await api.store.destinations.pause(f"https://{name}:443", "no")
    first = await admin.get("/v1/destinations?limit=2")
    rest = await admin.get(f"/v1/destinations?limit=2&cursor={quote(first['next'], safe='')}")
    keys = [one["key"] for one in first["items"] + rest["items"]]
    assert (keys, rest["next"]) == (["https://a:443", "https://b:443", "https://c:443"], None)
