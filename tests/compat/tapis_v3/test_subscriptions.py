"""Subscriptions in the shape of Tapis v3."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web

from tests.compat.tapis_v3.conftest import Caller, Site, subscription, until
from tests.receiver import Arrived, Receiver

ADDRESS = "https://127.0.0.1/hook"


async def test_a_subscription_shows_what_it_was_made_with(jobs: Caller) -> None:
    made = await jobs.ask("POST", "/subscriptions", subscription(ADDRESS, name="s1", description="mine"))
    assert made.status == 201
    assert made.result == {"url": f"{jobs.url}/v3/notifications/subscriptions/s1"}
    shown = await jobs.get("/subscriptions/byName/s1")
    assert str(UUID(shown["uuid"])) == shown.pop("uuid")
    for time in ("created", "updated", "expiry"):
        assert shown.pop(time).endswith("Z")
    assert shown == {
        "tenant": "dev",
        "name": "s1",
        "description": "mine",
        "owner": "alice",
        "enabled": True,
        "typeFilter": "jobs.JOB_NEW_STATUS.*",
        "subjectFilter": "*",
        "deliveryTargets": [{"deliveryMethod": "WEBHOOK", "deliveryAddress": ADDRESS}],
        "ttlMinutes": 10080,
    }


async def test_it_is_found_by_its_uuid_too(jobs: Caller, site: Site) -> None:
    await jobs.subscribe(ADDRESS, name="s1")
    shown = await jobs.get("/subscriptions/byName/s1")
    by_uuid = f"/subscriptions/byUuid/{shown['uuid']}"
    assert await jobs.get(by_uuid) == shown
    assert (await site.jobs(tenant="prod").ask("GET", by_uuid)).status == 404
    assert (await site.user("bob").ask("GET", by_uuid)).status == 404
    assert (await jobs.ask("GET", "/subscriptions/byUuid/none")).status == 400
    assert await jobs.delete(by_uuid) == {"changes": 1}
    assert await jobs.delete(by_uuid) == {"changes": 0}


async def test_an_owner_has_a_name_once(jobs: Caller, site: Site) -> None:
    tries = [jobs.ask("POST", "/subscriptions", subscription(ADDRESS, name="same")) for _ in range(4)]
    statuses = sorted([reply.status for reply in await asyncio.gather(*tries)])
    assert statuses == [201, 409, 409, 409]
    await site.jobs("bob").subscribe(ADDRESS, name="same")
    await site.jobs(tenant="prod").subscribe(ADDRESS, name="same")


async def test_a_name_is_made_up_when_none_is_given(jobs: Caller) -> None:
    name = await jobs.subscribe(ADDRESS, subjectFilter="job/1 x")
    assert name.startswith("jobs~alice~dev~job-1-x~")
    assert (await jobs.get(f"/subscriptions/byName/{name}"))["name"] == name


async def test_a_patch_changes_what_it_names(jobs: Caller) -> None:
    await jobs.subscribe(ADDRESS, name="s1", description="before")
    before = await jobs.get("/subscriptions/byName/s1")
    await jobs.patch("/subscriptions/byName/s1", {"subjectFilter": "job-1", "typeFilter": "jobs.*.FAILED"})
    after = await jobs.get("/subscriptions/byName/s1")
    changed = {name for name, value in after.items() if value != before[name]}
    assert changed == {"subjectFilter", "typeFilter", "updated"}


async def test_put_replaces_what_can_be_changed(jobs: Caller) -> None:
    await jobs.subscribe(ADDRESS, name="s1", description="before", ttlMinutes=60)
    other = "https://127.0.0.1/other"
    reply = await jobs.ask("PUT", "/subscriptions/byName/s1", subscription(other, subjectFilter="job-2"))
    assert reply.status == 200
    shown = await jobs.get("/subscriptions/byName/s1")
    assert "description" not in shown
    assert (shown["subjectFilter"], shown["ttlMinutes"]) == ("job-2", 60)
    assert [target["deliveryAddress"] for target in shown["deliveryTargets"]] == [other]


async def test_targets_are_kept_added_and_removed(jobs: Caller, site: Site, receiver: Receiver) -> None:
    def targets(*paths: str) -> list[dict[str, str]]:
        return [{"deliveryMethod": "WEBHOOK", "deliveryAddress": f"{receiver.url}{path}"} for path in paths]

    await jobs.subscribe(ADDRESS, name="s1", deliveryTargets=targets("/a", "/b"))
    await jobs.publish()
    await receiver.count(2)
    await jobs.patch("/subscriptions/byName/s1", {"deliveryTargets": targets("/c", "/a")})
    shown = await jobs.get("/subscriptions/byName/s1")
    assert shown["deliveryTargets"] == targets("/c", "/a")
    await jobs.publish()
    arrived = await receiver.count(4)
    assert sorted(one.path for one in arrived) == ["/a", "/a", "/b", "/c"]


async def test_a_secret_in_an_address_is_hidden_and_kept_when_it_comes_back_so(
    jobs: Caller, receiver: Receiver
) -> None:
    await jobs.subscribe(f"{receiver.url}/hook?token=hunter22", name="s1")
    shown = await jobs.get("/subscriptions/byName/s1")
    assert "hunter22" not in str(shown)
    await jobs.patch("/subscriptions/byName/s1", {"deliveryTargets": shown["deliveryTargets"]})
    await jobs.publish()
    [arrived] = await receiver.count(1)
    assert arrived.path == "/hook?token=hunter22"


async def test_it_can_be_disabled_and_enabled(jobs: Caller, receiver: Receiver) -> None:
    await jobs.subscribe(receiver.url, name="s1")
    assert await jobs.get("/subscriptions/s1/isEnabled") == {"aBool": True}
    assert await jobs.post("/subscriptions/s1/disable") == {"changes": 1}
    assert await jobs.get("/subscriptions/s1/isEnabled") == {"aBool": False}
    await jobs.publish("RUNNING")
    assert await jobs.post("/subscriptions/s1/enable") == {"changes": 1}
    await jobs.publish("FINISHED")
    [arrived] = await receiver.count(1)
    assert arrived.event["event"]["type"] == "jobs.JOB_NEW_STATUS.FINISHED"  # type: ignore[index]


async def test_one_that_was_made_disabled_wants_nothing(jobs: Caller, receiver: Receiver) -> None:
    await jobs.subscribe(f"{receiver.url}/off", name="off", enabled=False)
    await jobs.subscribe(f"{receiver.url}/on", name="on")
    await jobs.publish()
    [arrived] = await receiver.count(1)
    assert arrived.path == "/on"


async def test_a_ttl_moves_the_end_and_none_means_never(jobs: Caller) -> None:
    await jobs.subscribe(ADDRESS, name="s1", ttlMinutes=1)
    first = await jobs.get("/subscriptions/byName/s1")
    assert await jobs.post("/subscriptions/s1/updateTTL/120") == {"changes": 1}
    later = await jobs.get("/subscriptions/byName/s1")
    assert later["expiry"] > first["expiry"]
    assert later["ttlMinutes"] == 120
    for ttl in ("0", "-5"):
        await jobs.post(f"/subscriptions/s1/updateTTL/{ttl}")
        assert "expiry" not in await jobs.get("/subscriptions/byName/s1")


async def test_removing_by_subject_takes_those_with_this_filter(jobs: Caller, site: Site) -> None:
    for name, subject in (("a", "job-1"), ("b", "job-1"), ("c", "*")):
        await jobs.subscribe(ADDRESS, name=name, subjectFilter=subject)
    await site.jobs("bob").subscribe(ADDRESS, name="d", subjectFilter="job-1")
    assert await jobs.delete("/subscriptions/bySubject/job-1") == {"changes": 2}
    assert await jobs.delete("/subscriptions/bySubject/job-1?anyOwner=true") == {"changes": 1}
    assert [one["name"] for one in await jobs.get("/subscriptions")] == ["c"]


async def test_what_is_removed_is_gone(jobs: Caller) -> None:
    await jobs.subscribe(ADDRESS, name="s1")
    assert await jobs.delete("/subscriptions/byName/s1") == {"changes": 1}
    assert await jobs.delete("/subscriptions/byName/s1") == {"changes": 0}
    reply = await jobs.ask("GET", "/subscriptions/byName/s1")
    assert (reply.status, reply.message) == (404, "alice has no subscription with the name 's1'")
    for path in ("isEnabled", "enable", "disable", "updateTTL/5"):
        method = "GET" if path == "isEnabled" else "POST"
        assert (await jobs.ask(method, f"/subscriptions/s1/{path}")).status == 404


async def test_a_list_shows_a_summary_unless_more_is_asked_for(jobs: Caller) -> None:
    await jobs.subscribe(ADDRESS, name="s1")
    assert await jobs.get("/subscriptions") == [
        {"name": "s1", "owner": "alice", "typeFilter": "jobs.JOB_NEW_STATUS.*", "subjectFilter": "*"}
    ]
    [whole] = await jobs.get("/subscriptions?select=allAttributes")
    assert whole == await jobs.get("/subscriptions/byName/s1")
    assert await jobs.get("/subscriptions?select=enabled,ttlMinutes") == [
        {"name": "s1", "enabled": True, "ttlMinutes": 10080}
    ]


@pytest.fixture
async def several(jobs: Caller) -> Caller:
    """Who has four subscriptions."""
    for name, subject, ttl in (("alpha", "*", 0), ("beta", "job-1", 60), ("beta2", "job-2", 90)):
        await jobs.subscribe(ADDRESS, name=name, subjectFilter=subject, ttlMinutes=ttl)
    await jobs.subscribe(ADDRESS, name="off", enabled=False, description="it's [off]")
    return jobs


SEARCHES = [
    ("?search=(name.like.beta*)~(enabled.eq.true)", ["beta", "beta2"]),
    ("?search=name.eq.alpha", ["alpha"]),
    ("?search=enabled.eq.false", ["off"]),
    ("?search=ttlMinutes.between.60,90", ["beta", "beta2"]),
    ("?search=(subject_filter.in.job-1,job-2)", ["beta", "beta2"]),
    ("?search=(name.like.b!ta)", ["beta"]),
    ("?search=(expiry.gt.2020-01-01T00:00:00Z)", ["beta", "beta2", "off"]),
    ("?search=(description.like.*[off])", ["off"]),
    ("?search=", ["alpha", "beta", "beta2", "off"]),
    ("/search?name.eq=beta", ["beta"]),
    ("/search?name=beta", ["beta"]),
    ("/search?name.nin=alpha,off&ttlMinutes.lt=90", ["beta"]),
]


async def test_a_search_finds_what_it_describes(several: Caller) -> None:
    for query, names in SEARCHES:
        found = await several.get(f"/subscriptions{query}{'&' if '?' in query else '?'}orderBy=name")
        assert [one["name"] for one in found] == names, query


SQL: list[tuple[list[str], list[str]]] = [
    (["name = 'beta'"], ["beta"]),
    (["name LIKE 'beta%'", "and ttl_minutes > 60"], ["beta2"]),
    (["(name = 'alpha' OR enabled = false) AND NOT owner = 'bob'"], ["alpha", "off"]),
    (["subjectFilter in ('job-1', 'job-2') and name <> 'beta'"], ["beta2"]),
    (["expiry IS NULL"], ["alpha"]),
    (["description is not null"], ["off"]),
    (["description = 'it''s [off]'"], ["off"]),
    (["ttlMinutes not between 0 and 89"], ["beta2", "off"]),
]


async def test_a_condition_in_sql_finds_what_it_describes(several: Caller) -> None:
    for parts, names in SQL:
        found = await several.post("/subscriptions/search?orderBy=name", {"search": parts})
        assert [one["name"] for one in found] == names, parts


async def test_a_list_is_sorted_skipped_limited_and_counted(several: Caller) -> None:
    async def names(query: str) -> list[str]:
        return [one["name"] for one in await several.get(f"/subscriptions?{query}")]

    assert await names("orderBy=name(desc)") == ["off", "beta2", "beta", "alpha"]
    assert await names("orderBy=enabled,name(desc)") == ["off", "beta2", "beta", "alpha"]
    assert await names("orderBy=ttlMinutes(asc)&limit=2") == ["alpha", "beta"]
    assert await names("orderBy=name&skip=1&limit=2") == ["beta", "beta2"]
    assert await names("orderBy=name&startAfter=beta") == ["beta2", "off"]
    assert await names("orderBy=ttlMinutes(desc)&startAfter=90") == ["beta", "alpha"]
    assert len(await names("limit=-1")) == 4
    reply = await several.ask("GET", "/subscriptions?limit=1&orderBy=name&computeTotal=true")
    assert reply.document["metadata"] == {
        "recordCount": 1,
        "recordLimit": 1,
        "recordsSkipped": 0,
        "orderBy": "name",
        "startAfter": None,
        "totalCount": 4,
    }


BAD: list[tuple[str, str, Any, str]] = [
    (
        "POST",
        "/subscriptions",
        subscription(ADDRESS, typefilter="x"),
        "typefilter: unknown field; did you mean typeFilter?",
    ),
    ("POST", "/subscriptions", subscription(ADDRESS, typeFilter="jobs.X"), "typeFilter: expected <service>."),
    ("POST", "/subscriptions", subscription(ADDRESS, name="-x"), "name: expected a letter or digit"),
    ("POST", "/subscriptions", subscription(ADDRESS, deliveryTargets=[]), "deliveryTargets: "),
    ("POST", "/subscriptions", subscription(ADDRESS, subjectFilter=""), "subjectFilter: "),
    ("POST", "/subscriptions", subscription(ADDRESS, ttlMinutes=10**9), "ttlMinutes: expected at most"),
    ("POST", "/subscriptions", subscription("ftp://x.example/"), "deliveryTargets[0].deliveryAddress: "),
    (
        "POST",
        "/subscriptions",
        subscription("http://10.0.0.1/"),
        "deliveryTargets[0].deliveryAddress: blocked",
    ),
    ("POST", "/subscriptions", b"{", "expected a JSON document"),
    ("POST", "/subscriptions", {"typeFilter": "a.b.c"}, "subjectFilter: is missing"),
    ("PATCH", "/subscriptions/byName/s1", {"enabled": False}, "enabled: unknown field"),
    ("PATCH", "/subscriptions/byName/s1", {"typeFilter": "*.A.B"}, "typeFilter: expected"),
    ("GET", "/subscriptions?search=nam.eq.x", None, "no attribute 'nam' to search for; did you mean name?"),
    ("GET", "/subscriptions?search=name.is.x", None, "'is' is no operator"),
    ("GET", "/subscriptions?search=name", None, "expected <attribute>.<operator>.<value>"),
    ("GET", "/subscriptions?search=ttlMinutes.like.x", None, "like compares texts"),
    ("GET", "/subscriptions?search=enabled.eq.maybe", None, "true or false"),
    ("GET", "/subscriptions?search=name.between.a", None, "between takes two values, got 1"),
    ("GET", "/subscriptions?orderBy=colour", None, "no attribute 'colour'"),
    ("GET", "/subscriptions?select=colour", None, "no attribute 'colour'"),
    ("GET", "/subscriptions?limit=-2", None, "limit: expected a whole number from -1 on"),
    ("GET", "/subscriptions?limit=1&limit=2", None, "limit: is given more than once"),
    ("GET", "/subscriptions?startAfter=x", None, "startAfter: expected orderBy beside it"),
    ("POST", "/subscriptions/search", {"search": ["name = "]}, "expected a text in single quotes"),
    ("POST", "/subscriptions/search", {"search": ["name = 'x' name"]}, "expected AND, OR or the end"),
    ("POST", "/subscriptions/search", {"search": ["name ~ 'x'"]}, "not understood: "),
    ("POST", "/subscriptions/search", {"search": ["(" * 5000]}, "deep"),
    ("POST", "/subscriptions/search", {"search": ["NOT " * 2000]}, "deep"),
    (
        "POST",
        "/subscriptions/search",
        {"search": ["name = 'x'", *["OR name = 'x'"] * 50]},
        "at most 50 conditions",
    ),
    ("POST", "/subscriptions/s1/updateTTL/soon", None, "ttlMinutes: expected a whole number"),
]


async def test_what_is_wrong_is_answered_with_400(jobs: Caller) -> None:
    await jobs.subscribe(ADDRESS, name="s1")
    for method, path, body, problem in BAD:
        reply = await jobs.ask(method, path, body)
        assert (reply.status, problem in reply.message) == (400, True), (method, path, body, reply)


async def test_a_target_of_a_kind_that_is_not_there_is_refused(jobs: Caller, site: Site) -> None:
    target = {"deliveryMethod": "EMAIL", "deliveryAddress": "a@example.org"}
    reply = await jobs.ask("POST", "/subscriptions", subscription(ADDRESS, deliveryTargets=[target]))
    assert reply.status == 400
    assert reply.message.startswith("deliveryTargets[0].")


async def test_a_receiver_that_is_gone_for_good_is_shown(jobs: Caller, receiver: Receiver) -> None:
    async def gone(_: Arrived) -> web.Response:
        return web.Response(status=410)

    async def is_off() -> bool:
        return not (await jobs.get("/subscriptions/s1/isEnabled"))["aBool"]

    receiver.answer = gone
    await jobs.subscribe(receiver.url, name="s1")
    await jobs.publish()
    await until(is_off)
    assert await jobs.post("/subscriptions/s1/enable") == {"changes": 1}
    assert await jobs.get("/subscriptions/s1/isEnabled") == {"aBool": True}


async def test_what_the_native_api_does_to_a_target_is_seen(
    jobs: Caller, site: Site, receiver: Receiver
) -> None:
    targets = [
        {"deliveryMethod": "WEBHOOK", "deliveryAddress": f"{receiver.url}{path}"} for path in ("/a", "/b")
    ]
    await jobs.subscribe("", name="s1", deliveryTargets=targets)
    headers = {"Authorization": f"Bearer {await site.key('root', 'admin')}"}
    native = f"{site.url}/v1/subscriptions"
    async with site.session.get(native, headers=headers) as answer:
        by_url = {one["target"]["url"]: one["id"] for one in (await answer.json())["items"]}
    async with site.session.delete(
        f"{native}/{by_url[targets[0]['deliveryAddress']]}", headers=headers
    ) as answer:
        assert answer.status == 204
    shown = await jobs.get("/subscriptions/byName/s1")
    assert (shown["deliveryTargets"], shown["enabled"]) == (targets[1:], True)
    pause = f"{native}/{by_url[targets[1]['deliveryAddress']]}/pause"
    async with site.session.post(pause, headers=headers) as answer:
        assert answer.status == 200
    assert await jobs.get("/subscriptions/s1/isEnabled") == {"aBool": False}
    await jobs.patch("/subscriptions/byName/s1", {"deliveryTargets": targets})
    await jobs.publish()
    [arrived] = await receiver.count(1)
    assert arrived.path == "/a"
