"""Making and seeing subscriptions."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.api.conftest import HOOK, Api, Caller

TARGET: dict[str, Any] = {"kind": "webhook", "url": HOOK}


async def test_a_new_subscription_has_the_defaults_and_its_secret(alice: Caller) -> None:
    reply = await alice.ask("POST", "/v1/subscriptions", {"events": ["FINISHED"], "target": TARGET})
    made = reply.json
    assert reply.status == 201
    assert reply.headers["Location"] == f"/v1/subscriptions/{made['id']}"
    assert reply.headers["Cache-Control"] == "no-store"
    assert made["secret"].startswith("whsec_")
    assert made["retry"] == {
        "strategy": "exponential",
        "limit": 12,
        "delay": 5,
        "factor": 5,
        "max_delay": 86400,
        "jitter": 0.2,
        "max_age": 259200,
    }
    expected: dict[str, Any] = {
        "name": "",
        "status": "active",
        "events": ["FINISHED"],
        "job_id": None,
        "owner": "alice",
        "subscriber": "alice",
        "filters": [],
        "ordered": False,
        "persistent": True,
        "expires_at": None,
        "metadata": {},
        "rate_limit": None,
        "destination": "https://127.0.0.1:443",
    }
    assert {name: made[name] for name in expected} == expected


async def test_the_document_of_the_design_is_taken_as_it_stands(alice: Caller) -> None:
    made = await alice.post(
        "/v1/subscriptions",
        {
            "name": "resume my workflow",
            "events": ["FINISHED", "FAILED"],
            "job_id": None,
            "owner": None,
            "filters": [],
            "target": {
                "kind": "webhook",
                "url": "https://example.org/jobs/$<JOB_ID>?status=${EVENT}",
                "method": "POST",
                "headers": {},
                "body": None,
                "auth": None,
                "success": None,
            },
            "retry": {
                "strategy": "exponential",
                "limit": 12,
                "delay": 5,
                "factor": 5,
                "max_delay": 86400,
                "jitter": 0.2,
                "max_age": 259200,
            },
            "ordered": False,
            "persistent": True,
            "expires_at": None,
            "metadata": {},
        },
        201,
    )
    assert made["destination"] == "https://example.org:443"


async def test_the_secret_is_shown_once(alice: Caller) -> None:
    made = await alice.subscribe()
    shown = await alice.ask("GET", f"/v1/subscriptions/{made['id']}")
    listed = await alice.ask("GET", "/v1/subscriptions")
    assert shown.status == listed.status == 200
    assert b"whsec_" not in shown.body + listed.body
    assert "secret" not in shown.json


async def test_credentials_are_never_shown(alice: Caller) -> None:
    target = {
        "kind": "webhook",
        "url": f"{HOOK}?token=s3cret-1",
        "headers": {"X-Api-Key": "s3cret-2", "X-Note": "a note"},
        "auth": {"type": "bearer", "token": "s3cret-3"},
    }
    reply = await alice.ask("POST", "/v1/subscriptions", {"events": ["*"], "target": target})
    shown = await alice.ask("GET", f"/v1/subscriptions/{reply.json['id']}")
    assert b"s3cret" not in reply.body + shown.body
    assert shown.json["target"]["auth"] == {"type": "bearer", "token": "***"}
    assert shown.json["target"]["headers"] == {"X-Api-Key": "***", "X-Note": "a note"}


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"events": []}, "events", "length >= 1"),
        ({"events": ["FIN ISHED"]}, "events[0]", "event name"),
        ({"event": ["*"]}, "event", "did you mean events?"),
        ({"target": {"kind": "webhok", "url": HOOK}}, "target.kind", "webhook"),
        ({"target": {"kind": "webhook", "ulr": HOOK}}, "target.ulr", "did you mean url?"),
        ({"target": TARGET | {"url": f"{HOOK}/$<JOB_IDD>"}}, "target.url", "did you mean JOB_ID?"),
        ({"target": TARGET | {"method": "FETCH"}}, "target.method", "POST"),
        ({"target": TARGET | {"url": "http://10.0.0.1/"}}, "target.url", "private"),
        ({"target": TARGET | {"auth": {"type": "bearer", "token": "***"}}}, "target.auth.token", "***"),
        ({"filters": [{"exct": {"type": "x"}}]}, "filters[0]", "exact"),
        ({"retry": {"strategy": "never"}}, "retry.strategy", "exponential"),
        ({"retry": {"limit": 2000}}, "retry.limit", "1440"),
        ({"retry": {"strategy": {"schedule": []}}}, "retry.strategy.schedule", "length >= 1"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at", "future"),
        ({"expires_at": "2099-01-01T00:00:00"}, "expires_at", "offset"),
        ({"metadata": {"text": "x" * 20_000}}, "metadata", "16384 bytes"),
        ({"name": "line\nbreak"}, "name", "control character"),
        ({"job_id": ""}, "job_id", "1 to 255 characters"),
        ({"rate_limit": {"per_second": 0}}, "rate_limit.per_second", "> 0"),
        ({"rate_limit": {"per_second": 1, "burst": 0}}, "rate_limit.burst", ">= 1"),
        ({"digest": {"interval": 0}}, "digest.interval", ">= 1"),
        ({"digest": {"group_by": ["a b"]}}, "digest.group_by[0]", "data.array_id"),
        ({"digest": {"group_by": ["owner", "data.x", "owner"]}}, "digest.group_by[2]", "once"),
        ({"digest": {}, "ordered": True}, "digest", "null with `ordered`"),
        ({"digest": {}, "persistent": False}, "digest", "one delivery only"),
        ({"digest": {}, "target": TARGET | {"body": "x"}}, "digest", "batch of CloudEvents"),
        (
            {
                "digest": {},
                "target": {"kind": "argo", "server": "https://a.org", "namespace": "n", "workflow": "w"},
            },
            "digest",
            "webhook",
        ),
        ({"persistent": "yes"}, "persistent", "expected boolean, got string"),
    ],
)
async def test_what_is_wrong_is_named_with_what_would_be_right(
    alice: Caller, fields: dict[str, Any], field: str, said: str
) -> None:
    reply = await alice.ask("POST", "/v1/subscriptions", {"events": ["*"], "target": TARGET} | fields)
    assert reply.status == 400
    assert list(reply.faults) == [field]
    assert said in reply.faults[field]


async def test_metadata_that_is_nested_too_deeply_is_refused(alice: Caller) -> None:
    for depth in (40, 900, 5000):
        deep = b'{"metadata":{"a":' + b"[" * depth + b"]" * depth + b'},"events":["*"],"target":{}}'
        reply = await alice.ask("POST", "/v1/subscriptions", deep, Content_Type="application/json")
        assert reply.status == 400


async def test_metadata_and_schedules_are_kept_as_they_are(alice: Caller) -> None:
    made = await alice.subscribe(
        metadata={"ticket": 7, "big": 2**70, "nul": "\0", "nested": {"a": [1.5, None]}},
        retry={"strategy": {"schedule": [0, 5, 300]}},
        filters=[{"any": [{"prefix": {"type": "job."}}, {"not": {"exact": {"source": "x"}}}]}],
    )
    shown = await alice.get(f"/v1/subscriptions/{made['id']}")
    assert shown["metadata"] == {"ticket": 7, "big": 2**70, "nul": "\0", "nested": {"a": [1.5, None]}}
    assert shown["retry"]["strategy"] == {"schedule": [0, 5, 300]}
    assert shown["filters"] == [{"any": [{"prefix": {"type": "job."}}, {"not": {"exact": {"source": "x"}}}]}]


async def test_an_admin_means_every_job_and_may_name_an_owner(alice: Caller, admin: Caller) -> None:
    assert (await admin.subscribe())["owner"] == "*"
    assert (await admin.subscribe(owner="carol"))["owner"] == "carol"
    assert (await alice.subscribe(owner="alice"))["owner"] == "alice"


@pytest.mark.parametrize("owner", ["bob", "*"])
async def test_only_an_admin_may_name_another_owner(alice: Caller, owner: str) -> None:
    body = {"events": ["*"], "target": TARGET, "owner": owner}
    reply = await alice.ask("POST", "/v1/subscriptions", body)
    assert reply.status == 403
    assert "only an admin" in reply.json["detail"]


async def test_a_job_of_somebody_else_cannot_be_subscribed_to(
    admin: Caller, alice: Caller, bob: Caller
) -> None:
    body = {"events": ["*"], "target": TARGET, "job_id": "job-1"}
    await admin.publish()
    reply = await bob.ask("POST", "/v1/subscriptions", body)
    assert reply.status == 403
    assert "belongs to somebody else" in reply.json["detail"]
    await alice.publish("PERMISSION_GRANT", data={"username": "bob"})
    assert (await bob.ask("POST", "/v1/subscriptions", body)).status == 201


async def test_a_job_that_is_not_known_yet_can_be_subscribed_to(bob: Caller) -> None:
    assert (await bob.subscribe(job_id="to-come"))["job_id"] == "to-come"


async def test_a_job_is_not_taken_over_by_a_change(admin: Caller, bob: Caller) -> None:
    made = await bob.subscribe()
    await admin.publish()
    reply = await bob.ask("PATCH", f"/v1/subscriptions/{made['id']}", {"job_id": "job-1"})
    assert reply.status == 403


@pytest.mark.parametrize("action", ["", "/test", "/pause", "/resume", "/rotate-secret"])
async def test_subscriptions_of_somebody_else_are_not_there(alice: Caller, bob: Caller, action: str) -> None:
    path = f"/v1/subscriptions/{(await alice.subscribe())['id']}{action}"
    methods = ["POST"] if action else ["GET", "PATCH", "DELETE"]
    for method in methods:
        body: object = {} if method == "PATCH" else None
        assert (await bob.ask(method, path, body)).status == 404
    assert (await bob.get("/v1/subscriptions"))["items"] == []
    assert len((await alice.get("/v1/subscriptions"))["items"]) == 1


async def test_subscriptions_of_another_tenant_are_not_there_even_for_admins(api: Api, alice: Caller) -> None:
    made = await alice.subscribe()
    other = await api.caller("root", "admin", tenant="other")
    assert (await other.ask("GET", f"/v1/subscriptions/{made['id']}")).status == 404
    assert (await other.get("/v1/subscriptions"))["items"] == []


async def test_subscriptions_are_listed_by_job_and_status(alice: Caller) -> None:
    one, two = await alice.subscribe(job_id="job-1"), await alice.subscribe()
    await alice.post(f"/v1/subscriptions/{two['id']}/pause")

    async def listed(query: str) -> list[Any]:
        return [found["id"] for found in (await alice.get(f"/v1/subscriptions?{query}"))["items"]]

    assert await listed("") == [two["id"], one["id"]]
    assert await listed("job_id=job-1") == [one["id"]]
    assert await listed("status=paused") == [two["id"]]


async def test_all_subscriptions_are_listed_page_by_page_without_gap_or_repeat(alice: Caller) -> None:
    ids = [(await alice.subscribe())["id"] for _ in range(7)]
    assert [found["id"] for found in await alice.all("/v1/subscriptions", 2)] == ids[::-1]


async def test_a_removed_subscription_is_gone_and_what_waits_of_it_is_cancelled(alice: Caller) -> None:
    made = await alice.subscribe()
    await alice.publish()
    reply = await alice.ask("DELETE", f"/v1/subscriptions/{made['id']}")
    assert (reply.status, reply.body) == (204, b"")
    assert (await alice.ask("GET", f"/v1/subscriptions/{made['id']}")).status == 404
    assert (await alice.ask("DELETE", f"/v1/subscriptions/{made['id']}")).status == 404
    [delivery] = (await alice.get("/v1/deliveries"))["items"]
    assert delivery["state"] == "cancelled"


@pytest.mark.parametrize("per_second", [5e-324, 1e-300, 1 / 86_401])
async def test_a_rate_limit_slower_than_one_a_day_is_refused_with_the_lowest(
    admin: Caller, per_second: float
) -> None:
    made = await admin.subscribe(rate_limit={"per_second": 1 / 86_400})
    slow = {"rate_limit": {"per_second": per_second}}
    document = {"events": ["*"], "target": {"kind": "webhook", "url": HOOK}} | slow
    for reply in (
        await admin.ask("POST", "/v1/subscriptions", document),
        await admin.ask("PATCH", f"/v1/subscriptions/{made['id']}", slow),
        await admin.ask("PATCH", f"/v1/destinations/{quote(made['destination'], safe='')}", slow),
    ):
        assert reply.status == 400
        assert reply.faults["rate_limit.per_second"].startswith("expected at least 1.15741e-05 (one a day)")
