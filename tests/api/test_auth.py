"""Keys: who may do what, and how keys are made and removed."""

from __future__ import annotations

import pytest

from dispatcher.api.auth import ensure_admin_key
from dispatcher.store.filters import Window
from dispatcher.store.store import Store
from tests.api.conftest import ADMIN_KEY, Api, Caller, Reply, serving


@pytest.mark.parametrize(
    ("authorization", "said"),
    [
        (None, "a key is needed"),
        ("Bearer wrong", "not known"),
        ("Bearer", "not understood"),
        ("Basic YWxpY2U6cGFzcw==", "not understood"),
        (ADMIN_KEY, "not understood"),
        (f"Bearer {ADMIN_KEY[:-1]}", "not known"),
        ("Bearer \N{LATIN SMALL LETTER E WITH ACUTE}", "not known"),
    ],
)
async def test_without_a_good_key_the_answer_is_401(api: Api, authorization: str | None, said: str) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    reply = await api.anonymous.ask("GET", "/v1/events", **headers)
    assert reply.status == 401
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")
    assert said in reply.json["detail"]


async def test_the_scheme_of_the_header_has_no_case(api: Api) -> None:
    assert (await api.anonymous.ask("GET", "/v1/events", Authorization=f"bearer  {ADMIN_KEY}")).status == 200


async def test_a_key_is_asked_for_before_anything_else_is_looked_at(api: Api) -> None:
    reply = await api.anonymous.ask("POST", "/v1/subscriptions?what=ever", b"nonsense")
    assert reply.status == 401


@pytest.mark.parametrize(
    ("scopes", "method", "path", "needed"),
    [
        (["publish"], "GET", "/v1/events", "subscribe"),
        (["publish"], "POST", "/v1/subscriptions", "subscribe"),
        (["subscribe"], "POST", "/v1/events", "publish"),
        (["publish", "subscribe"], "GET", "/v1/keys", "admin"),
        (["publish", "subscribe"], "POST", "/v1/keys", "admin"),
    ],
)
async def test_an_error_names_the_scope_that_a_key_lacks(
    api: Api, scopes: list[str], method: str, path: str, needed: str
) -> None:
    caller = await api.caller("carol", *scopes)
    reply = await caller.ask(method, path)
    assert reply.status == 403
    assert f"scope {needed}" in reply.json["detail"]


async def test_an_admin_may_do_everything(api: Api) -> None:
    root = await api.caller("root", "admin")
    await root.publish()
    await root.subscribe()
    assert (await root.ask("GET", "/v1/keys")).status == 200


async def test_a_key_is_shown_once_and_works_until_it_is_removed(api: Api, admin: Caller) -> None:
    reply = await admin.ask("POST", "/v1/keys", {"name": "a flow", "owner": "alice", "scopes": ["subscribe"]})
    made = reply.json
    assert (reply.status, reply.headers["Cache-Control"]) == (201, "no-store")
    assert (made["owner"], made["tenant"], made["scopes"]) == ("alice", "default", ["subscribe"])
    caller = api.with_key(made["key"])
    assert (await caller.ask("GET", "/v1/events")).status == 200
    listed = await admin.ask("GET", "/v1/keys")
    assert [key["id"] for key in listed.json["items"]] == [made["id"]]
    assert made["key"].encode() not in listed.body
    assert (await admin.ask("DELETE", f"/v1/keys/{made['id']}")).status == 204
    assert (await caller.ask("GET", "/v1/events")).status == 401
    assert (await admin.ask("DELETE", f"/v1/keys/{made['id']}")).status == 404


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"owner": "*"}, "owner"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["all"]}, "scopes[0]"),
        ({"name": ""}, "name"),
        ({"tenant": "x" * 65}, "tenant"),
    ],
)
async def test_a_key_that_makes_no_sense_is_not_made(
    admin: Caller, fields: dict[str, object], field: str
) -> None:
    reply = await admin.ask("POST", "/v1/keys", {"name": "n", "owner": "o", "scopes": ["publish"]} | fields)
    assert (reply.status, list(reply.faults)) == (400, [field])


async def test_admins_of_a_tenant_manage_the_keys_of_theirs_only(api: Api, admin: Caller) -> None:
    other = await api.caller("root", "admin", tenant="other")
    body = {"name": "n", "owner": "o", "scopes": ["publish"]}
    own = await other.post("/v1/keys", body, 201)
    assert own["tenant"] == "other"
    assert (await other.ask("POST", "/v1/keys", body | {"tenant": "default"})).status == 403
    foreign = await admin.post("/v1/keys", body, 201)
    assert (await other.ask("DELETE", f"/v1/keys/{foreign['id']}")).status == 404
    assert {key["tenant"] for key in (await other.get("/v1/keys"))["items"]} == {"other"}
    assert {key["tenant"] for key in (await admin.get("/v1/keys"))["items"]} == {"other", "default"}


async def test_all_keys_are_listed_page_by_page_without_gap_or_repeat(admin: Caller) -> None:
    body = {"name": "n", "owner": "o", "scopes": ["publish"]}
    ids = [(await admin.post("/v1/keys", body, 201))["id"] for _ in range(5)]
    assert [key["id"] for key in await admin.all("/v1/keys", 2)] == ids[::-1]


async def test_the_first_start_makes_an_admin_key_once(store: Store) -> None:
    text = await ensure_admin_key(store, None)
    assert text is not None
    assert await ensure_admin_key(store, None) is None
    [key] = (await store.keys.page(None, Window())).items
    assert (key.owner, key.tenant, key.admin) == ("admin", "default", True)
    async with serving(store, admin_key=None) as api:
        reply: Reply = await api.with_key(text).ask("GET", "/v1/keys")
        assert reply.status == 200
        assert (await api.admin.ask("GET", "/v1/keys")).status == 401


async def test_with_a_key_in_the_settings_none_is_made(store: Store) -> None:
    assert await ensure_admin_key(store, ADMIN_KEY) is None
    assert (await store.keys.page(None, Window())).items == []
