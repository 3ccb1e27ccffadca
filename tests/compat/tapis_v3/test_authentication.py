"""Who may call in the shape of Tapis v3: tokens, keys, and what either may not do."""

from __future__ import annotations

import time
from pathlib import Path

import jwt
import pytest
from aiohttp import ClientSession

from dispatcher.app import running
from tests.compat.tapis_v3.conftest import (
    GUESTS,
    STRANGER,
    Caller,
    Site,
    event,
    read,
    subscription,
    token,
)
from tests.receiver import Receiver

ADDRESS = "https://127.0.0.1/hook"


async def refused(caller: Caller) -> str:
    reply = await caller.ask("GET", "/subscriptions")
    assert reply.status == 401
    return reply.message


async def test_without_a_token_nothing_is_shown(site: Site) -> None:
    missing = "X-Tapis-Token is missing: expected a token of Tapis or an API key"
    assert await refused(Caller(site.session, site.url)) == missing


async def test_bad_tokens_are_refused_with_the_reason(site: Site) -> None:
    claims = jwt.decode(token("alice"), options={"verify_signature": False})
    whole, _, signature = token("alice").rpartition(".")
    for text, problem in (
        (token("alice", exp=time.time() - 60), "it has expired"),
        (token("alice", key=STRANGER), "its signature is of none of the configured keys"),
        (f"{whole}.{token('bob').rpartition('.')[2]}", "its signature is of none of the configured keys"),
        (jwt.encode(claims, "", "none"), "its algorithm is 'none'"),
        (jwt.encode(claims, "s" * 32, "HS256"), "its algorithm is 'HS256'"),
        (token("alice", iss="https://evil.example"), "its issuer is none of tapis.issuers"),
        (token("alice", "dev", key=GUESTS), "its key signs tokens of guests only, not of 'dev'"),
        ("a.b.c", "it is no JWT"),
    ):
        message = await refused(site.with_token(text))
        assert message.startswith(f"the token is not accepted: {problem}"), message
        assert signature not in message
    assert await refused(site.with_token("no key")) == "this key is not known: it was mistyped or removed"


async def test_a_token_acts_in_its_own_tenant(site: Site) -> None:
    message = await refused(site.with_token(token("alice"), X_Tapis_Tenant="prod"))
    assert message == "X-Tapis-Tenant: expected dev, the tenant of the token"
    guest = token("jobs", "guests", service=True, key=GUESTS)
    assert await site.with_token(guest).get("/subscriptions") == []
    message = await refused(site.with_token(guest, X_Tapis_Tenant="dev"))
    assert message == "X-Tapis-Tenant: expected one of guests, got 'dev'"


async def test_only_services_act_for_others(site: Site) -> None:
    message = await refused(site.with_token(token("alice"), X_Tapis_User="bob"))
    assert message == "X-Tapis-User: expected alice; only services act for others"
    await site.jobs("bob").subscribe(ADDRESS, name="s1")
    assert [one["owner"] for one in await site.user("bob").get("/subscriptions")] == ["bob"]


async def test_no_user_has_the_name_that_means_every_owner(site: Site) -> None:
    for caller in (site.user("*"), site.jobs("*")):
        assert await refused(caller) == "* is no user: it means every owner"


async def test_a_user_sees_and_changes_what_is_the_users_own(site: Site) -> None:
    jobs, alice = site.jobs("alice"), site.user("alice")
    await jobs.subscribe(ADDRESS, name="hers")
    await site.jobs("bob").subscribe(ADDRESS, name="his")
    assert [one["name"] for one in await alice.get("/subscriptions")] == ["hers"]
    for path in ("?ownedBy=bob", "?anyOwner=true", "/byName/his?ownedBy=bob", "/his/isEnabled?ownedBy=bob"):
        assert (await alice.ask("GET", f"/subscriptions{path}")).status == 401
    assert (await alice.ask("DELETE", "/subscriptions/byName/his?ownedBy=bob")).status == 401
    assert (await alice.ask("DELETE", "/subscriptions/bySubject/*?anyOwner=true")).status == 401
    assert len(await jobs.get("/subscriptions?anyOwner=true")) == 2
    assert [one["name"] for one in await jobs.get("/subscriptions?ownedBy=bob")] == ["his"]
    assert await alice.post("/subscriptions/hers/disable") == {"changes": 1}


async def test_a_user_who_subscribes_is_notified_of_own_jobs_only(site: Site, receiver: Receiver) -> None:
    jobs, alice = site.jobs(), site.user("alice")
    await alice.subscribe(f"{receiver.url}/hers", name="hers")
    await jobs.subscribe(f"{receiver.url}/all", name="all")
    reply = await alice.ask("POST", "/subscriptions", subscription(ADDRESS, owner="bob"))
    assert (reply.status, "only services and admins may name another" in reply.message) == (401, True)
    await jobs.publish(subject="job-2", data='{"jobOwner": "bob"}')
    await receiver.count(1)
    await jobs.publish()
    arrived = await receiver.count(3)
    assert [one.path for one in arrived].count("/hers") == 1
    assert sorted(one.path for one in arrived) == ["/all", "/all", "/hers"]


async def test_a_service_may_name_the_owner(site: Site) -> None:
    jobs = site.jobs("alice")
    await jobs.subscribe(ADDRESS, name="s1", owner="bob")
    await jobs.subscribe(ADDRESS, name="s1", owner="${apiUserId}")
    assert {one["owner"] for one in await jobs.get("/subscriptions?anyOwner=true")} == {"alice", "bob"}


async def test_an_administrator_of_the_tenant_may_name_another_owner(site: Site, receiver: Receiver) -> None:
    alice, boss = site.user("alice"), site.user("boss")
    await alice.subscribe(ADDRESS, name="hers")
    assert [one["name"] for one in await boss.get("/subscriptions?ownedBy=alice")] == ["hers"]
    shown = await boss.get("/subscriptions/byName/hers?ownedBy=alice")
    assert (await boss.get(f"/subscriptions/byUuid/{shown['uuid']}"))["owner"] == "alice"
    await boss.patch("/subscriptions/byName/hers?ownedBy=alice", {"description": "seen to"})
    assert await boss.post("/subscriptions/hers/disable?ownedBy=alice") == {"changes": 1}
    assert await boss.delete("/subscriptions/byName/hers?ownedBy=alice") == {"changes": 1}

    await boss.subscribe(receiver.url, name="made", owner="alice")
    assert [one["name"] for one in await alice.get("/subscriptions")] == ["made"]
    await site.jobs().publish(data='{"jobOwner": "bob"}')
    await receiver.count(1)


async def test_an_administrator_of_a_tenant_is_neither_a_service_nor_one_of_another_tenant(
    site: Site,
) -> None:
    boss = site.user("boss")
    published = await boss.ask("POST", "/events", event())
    assert (published.status, "a service's token" in published.message) == (401, True)
    assert (await boss.ask("GET", "/subscriptions?anyOwner=true")).status == 401
    message = await refused(site.with_token(token("boss"), X_Tapis_User="alice"))
    assert message == "X-Tapis-User: expected boss; only services act for others"
    for other in (site.user("boss", "prod"), site.user("chief"), site.user("Boss")):
        assert (await other.ask("GET", "/subscriptions?ownedBy=alice")).status == 401


async def test_a_key_serves_in_the_place_of_a_token(site: Site) -> None:
    key = await site.key("alice", "subscribe")
    for caller in (site.with_token(key), Caller(site.session, site.url, Authorization=f"Bearer {key}")):
        assert await caller.get("/subscriptions") == []
    message = await refused(site.with_token(key, X_Tapis_Tenant="prod"))
    assert message == "X-Tapis-Tenant: expected dev, the tenant of the key"
    publisher = site.with_token(await site.key("alice", "publish"))
    assert "the scope subscribe" in await refused(publisher)
    admin = site.with_token(await site.key("root", "admin"), X_Tapis_User="alice")
    await admin.subscribe(ADDRESS, name="s1")
    assert [one["name"] for one in await site.user("alice").get("/subscriptions")] == ["s1"]


@pytest.mark.parametrize("header", ["X_Tapis_Tenant", "X_Tapis_User"])
async def test_a_name_in_a_header_is_no_long_text(site: Site, header: str) -> None:
    service = token("jobs", "admin", service=True)
    reply = await site.with_token(service, **{header: "x" * 300}).ask("GET", "/subscriptions")
    assert reply.status == 400


async def test_without_configured_keys_no_token_is_accepted(settings: dict[str, str], tmp_path: Path) -> None:
    del settings["DISPATCHER_TAPIS_KEYS"]
    async with running(read(settings, tmp_path)) as app, ClientSession() as session:
        message = await refused(Site(app, session).user())
    assert message == "X-Tapis-Token: no tokens of Tapis are accepted here, only API keys (see tapis.keys)"
