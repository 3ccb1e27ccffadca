"""What operators, the admins of the tenant `default`, see of other tenants, and no other key."""

from __future__ import annotations

import pytest

from dispatcher.api import tenants
from tests.api.conftest import Api, Caller


@pytest.fixture
async def dev(api: Api) -> Caller:
    """Yield an admin of the tenant dev."""
    return await api.caller("root", "admin", tenant="dev")


@pytest.fixture
async def prod(api: Api) -> Caller:
    """Yield an admin of the tenant prod."""
    return await api.caller("root", "admin", tenant="prod")


async def test_an_operator_names_the_tenant_of_what_is_listed(admin: Caller, dev: Caller) -> None:
    subscription = (await dev.subscribe())["id"]
    event = await dev.publish(job_id="job-1")
    for path in ("events", "jobs", "deliveries", "subscriptions"):
        own, other = await dev.get(f"/v1/{path}"), await admin.get(f"/v1/{path}?tenant=dev")
        assert other == own
        assert len(own["items"]) == 1
        assert (await admin.get(f"/v1/{path}?tenant=*"))["items"] == own["items"]
        assert (await admin.get(f"/v1/{path}?tenant=none"))["items"] == []
    delivery = (await dev.get("/v1/deliveries"))["items"][0]["id"]
    for path in (
        *(f"events/{event}", f"subscriptions/{subscription}", f"deliveries/{delivery}"),
        *("jobs/job-1", "jobs/job-1/history", "jobs/job-1/status"),
    ):
        own = await dev.get(f"/v1/{path}")
        assert await admin.get(f"/v1/{path}?tenant=dev") == own
        assert await admin.get(f"/v1/{path}?tenant=*") == own
        assert (await admin.ask("GET", f"/v1/{path}?tenant=prod")).status == 404


async def test_a_list_of_every_tenant_is_newest_first_without_gap_or_repeat(
    admin: Caller, dev: Caller, prod: Caller
) -> None:
    made = []
    for number in range(12):
        caller = (admin, dev, dev, prod)[number % 4]
        made.append(await caller.publish(job_id=f"job-{number}"))
    for limit in (1, 2, 5, 100):
        listed = await admin.all("/v1/events?tenant=*", limit)
        assert [one["id"] for one in listed] == made[::-1]
        jobs = await admin.all("/v1/jobs?tenant=*", limit)
        assert [(one["id"], one["first_event"]) for one in jobs] == [
            (f"job-{number}", made[number]) for number in range(11, -1, -1)
        ]
    assert {one["tenant"] for one in await admin.all("/v1/jobs?tenant=*", 5)} == {"default", "dev", "prod"}


async def test_what_several_tenants_have_is_named_with_its_tenant(
    admin: Caller, dev: Caller, prod: Caller
) -> None:
    await dev.publish("RUNNING")
    await prod.publish("FINISHED")
    reply = await admin.ask("GET", "/v1/jobs/job-1?tenant=*")
    assert reply.status == 400
    assert reply.faults == {"tenant": "expected the name of one: dev, prod have this"}
    assert (await admin.get("/v1/jobs/job-1?tenant=prod"))["status"] == "FINISHED"
    waiting = await admin.ask("GET", "/v1/jobs/job-1/status?tenant=*&wait=1")
    assert waiting.faults == {"tenant": "expected the name of one: a job is waited for in one tenant"}
    assert (await admin.get("/v1/jobs/job-1/status?tenant=prod&wait=1"))["reached"] is True


async def test_only_admins_of_the_default_tenant_name_another(api: Api, alice: Caller, dev: Caller) -> None:
    await dev.publish()
    for caller, tenant in ((alice, "dev"), (alice, "*"), (dev, "default"), (dev, "*")):
        for path in ("/v1/jobs", "/v1/jobs/job-1"):
            reply = await caller.ask("GET", f"{path}?tenant={tenant}")
            assert (reply.status, "only admins of the tenant default" in reply.json["detail"]) == (403, True)
    assert (await dev.get("/v1/jobs/job-1?tenant=dev"))["tenant"] == "dev"
    assert (await api.anonymous.ask("GET", "/v1/jobs?tenant=dev")).status == 401


async def test_an_operator_who_sees_nothing_is_shown_the_names_of_other_tenants(
    api: Api, admin: Caller, alice: Caller, dev: Caller
) -> None:
    hint = "this is of the tenant default only; there are others: dev (name one with tenant, or * for all)"
    await dev.publish()
    for path in ("events", "jobs", "deliveries", "subscriptions"):
        assert await admin.get(f"/v1/{path}") == {"items": [], "next": None, "hint": hint}
        for other in (alice, dev):
            assert "hint" not in await other.get(f"/v1/{path}?limit=1")
        assert "hint" not in await admin.get(f"/v1/{path}?tenant=none")
    missing = await admin.ask("GET", "/v1/jobs/job-1")
    assert missing.json["detail"] == f"there is no job 'job-1' that had an event; {hint}"
    assert "tenant" not in (await alice.ask("GET", "/v1/jobs/job-1")).json["detail"]
    await admin.publish(job_id="own")
    assert "hint" not in await admin.get("/v1/jobs")
    last = (await admin.get("/v1/jobs"))["items"][0]["first_event"]
    assert await admin.get(f"/v1/jobs?cursor={last}") == {"items": [], "next": None}


async def test_without_other_tenants_there_is_no_hint(admin: Caller, alice: Caller) -> None:
    assert await admin.get("/v1/jobs") == {"items": [], "next": None}
    assert "tenant" not in (await admin.ask("GET", "/v1/jobs/none")).json["detail"]


async def test_more_tenants_than_one_list_looks_at_have_to_be_named(
    admin: Caller, dev: Caller, prod: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await dev.publish()
    await prod.publish()
    monkeypatch.setattr(tenants, "MAX_TENANTS", 1)
    reply = await admin.ask("GET", "/v1/jobs?tenant=*")
    assert reply.faults == {"tenant": "there are more than 1 tenants: name one"}


@pytest.mark.parametrize("query", ["tenant=", f"tenant={'x' * 65}", "tenant=a&tenant=b", "tenant=a%00b"])
async def test_a_tenant_is_a_short_text(admin: Caller, query: str) -> None:
    assert (await admin.ask("GET", f"/v1/jobs?{query}")).status == 400
