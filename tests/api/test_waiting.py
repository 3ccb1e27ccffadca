"""Waiting for a job: the answer comes with the event, to those who may see it, and to so many only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import event as sql_event

from dispatcher.api import waiters as waiting
from dispatcher.api.owner_quotas import OwnerQuotas
from dispatcher.api.waiters import Waiters
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.quotas import QuotaOverride, Quotas
from dispatcher.store.store import Store
from dispatcher.store.waits import Seen
from tests.api.conftest import Api, Caller, Reply, serving

STATUS = "/v1/jobs/job-1/status"


@pytest.fixture(autouse=True)
def _keys_are_checked_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "KEY_SECONDS", 0.1)


async def until(holds: Callable[[], bool]) -> None:
    """Return when something holds."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def places(api: Api) -> int:
    return len(api.services.waiters._waiting)


async def waits(api: Api, asking: Awaitable[Any], others: int = 0) -> asyncio.Task[Any]:
    """Return a request that waits by now, beside so many others."""
    task = asyncio.ensure_future(asking)
    async with asyncio.timeout(20):
        while places(api) <= others:
            assert not task.done(), task.result()
            await asyncio.sleep(0.005)
    return task


async def test_without_waiting_it_says_what_is_known(alice: Caller) -> None:
    first = await alice.publish("RUNNING", message="runs")
    assert await alice.get(STATUS) == {
        "job_id": "job-1",
        "status": "RUNNING",
        "terminal": False,
        "reached": False,
        "event_id": first,
        "time": (await alice.get(f"/v1/events/{first}"))["time"],
        "message": "runs",
    }
    last = await alice.publish("FINISHED")
    await alice.publish("UPDATED")
    found = await alice.get(STATUS)
    assert (found["status"], found["terminal"], found["reached"], found["event_id"]) == (
        "FINISHED",
        True,
        True,
        last,
    )


async def test_a_job_that_is_not_known_is_404_without_waiting_and_waited_for_else(
    api: Api, alice: Caller
) -> None:
    assert (await alice.ask("GET", STATUS)).status == 404
    nothing = await alice.get(f"{STATUS}?wait=0")
    assert nothing == dict.fromkeys(["status", "event_id", "time", "message"]) | {
        "job_id": "job-1",
        "terminal": False,
        "reached": False,
    }
    task = await waits(api, alice.get(f"{STATUS}?wait=30"))
    last = await alice.publish("FINISHED")
    found = await task
    assert (found["reached"], found["status"], found["event_id"]) == (True, "FINISHED", last)
    assert places(api) == 0


async def test_it_answers_after_the_time_with_what_there_is(alice: Caller) -> None:
    await alice.publish("RUNNING")
    found = await alice.get(f"{STATUS}?wait=0.05")
    assert (found["reached"], found["status"]) == (False, "RUNNING")


async def test_a_change_is_an_event_newer_than_the_last_one(api: Api, alice: Caller) -> None:
    first = await alice.publish("RUNNING")
    assert (await alice.get(f"{STATUS}?wait=30&until=change"))["event_id"] == first
    task = await waits(api, alice.get(f"{STATUS}?wait=30&until=change&after={first}"))
    second = await alice.publish("UPDATED")
    found = await task
    assert (found["reached"], found["event_id"], found["status"]) == (True, second, "RUNNING")


async def test_named_events_are_waited_for_with_the_patterns_of_subscriptions(
    api: Api, alice: Caller
) -> None:
    last = await alice.publish("ARCHIVING_FINISHED")
    assert (await alice.get(f"{STATUS}?wait=30&until=RUNNING,ARCHIVING*"))["event_id"] == last
    task = await waits(api, alice.get(f"{STATUS}?wait=30&until=RUNNING,site.own"))
    await alice.publish("FINISHED")
    own = await alice.publish("site.own")
    assert (await task)["event_id"] == own
    task = await waits(api, alice.get(f"{STATUS}?wait=30&until=@terminal&after={own}"))
    failed = await alice.publish("FAILED")
    assert (await task)["event_id"] == failed


async def test_a_named_event_is_found_behind_any_number_of_others(api: Api, alice: Caller) -> None:
    wanted = await alice.publish("RUNNING")
    many = [{"event": "HEARTBEAT", "job_id": "job-1"}] * 40
    await alice.post("/v1/events", many, 202)
    assert (await alice.get(f"{STATUS}?until=RUNNING"))["event_id"] == wanted
    assert not (await alice.get(f"{STATUS}?until=RUNNING&after={wanted}"))["reached"]
    task = await waits(api, alice.get(f"{STATUS}?wait=30&until=PAUSED"))
    ids = (await alice.post("/v1/events", [{"event": "PAUSED", "job_id": "job-1"}, *many], 202))["ids"]
    assert (await task)["event_id"] == ids[0]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("wait=61", "wait"),
        ("wait=-1", "wait"),
        ("wait=nan", "wait"),
        ("wait=inf", "wait"),
        ("wait=soon", "wait"),
        ("until=", "until"),
        ("until=RUN*ING", "until[0]"),
        ("until=RUNNING,", "until[1]"),
        (f"until={','.join(['A'] * 65)}", "until"),
        ("until=change&after=5", "after"),
        ("until=change&after=evt_1", "after"),
        ("timeout=5", "timeout"),
    ],
)
async def test_what_is_asked_for_wrongly_is_named(alice: Caller, query: str, field: str) -> None:
    await alice.publish("RUNNING")
    refused = await alice.ask("GET", f"{STATUS}?{query}")
    assert refused.status == 400
    assert list(refused.faults) == [field]


async def test_somebody_elses_job_is_as_one_that_is_not_known(
    api: Api, admin: Caller, alice: Caller, bob: Caller
) -> None:
    await admin.publish("RUNNING")
    assert (await bob.ask("GET", STATUS)).status == 404
    task = await waits(api, bob.get(f"{STATUS}?wait=30&until=change"))
    await admin.publish("FINISHED")
    await admin.publish("PERMISSION_GRANT", data={"username": "bob"})
    found = await task
    assert (found["reached"], found["status"]) == (True, "FINISHED")


async def test_it_ends_when_a_grant_is_revoked(api: Api, admin: Caller, bob: Caller) -> None:
    await admin.publish("RUNNING")
    await admin.publish("PERMISSION_GRANT", data={"username": "bob"})
    task = await waits(api, bob.ask("GET", f"{STATUS}?wait=30"))
    await admin.publish("PERMISSION_REVOKE", data={"username": "bob"})
    assert (await task).status == 404


async def test_it_ends_when_the_key_is_deleted(api: Api, admin: Caller, alice: Caller) -> None:
    task = await waits(api, alice.ask("GET", f"{STATUS}?wait=30"))
    watched = await waits(api, admin.ask("GET", f"{STATUS}?wait=30"), 1)
    [key] = (await admin.get("/v1/keys"))["items"]
    await admin.ask("DELETE", f"/v1/keys/{key['id']}")
    assert (await task).status == 401
    await admin.publish("FINISHED")
    assert (await watched).json["reached"]


async def test_it_needs_a_key_that_may_read(api: Api) -> None:
    assert (await api.anonymous.ask("GET", STATUS)).status == 401
    publisher = await api.caller("alice", "publish")
    assert (await publisher.ask("GET", f"{STATUS}?wait=30")).status == 403


@pytest.fixture
async def small(store: Store) -> AsyncIterator[Api]:
    """Yield an API with room for three, two of each owner."""
    quotas = OwnerQuotas(store, Quotas(waiters=2))
    async with serving(store, waiters=Waiters(store, 3), quotas=quotas) as running:
        yield running


async def test_an_owner_has_so_many_places_and_the_process_too(small: Api) -> None:
    alice, bob = [await small.caller(owner, "subscribe", "publish") for owner in ("alice", "bob")]
    path = f"{STATUS}?wait=30"
    tasks = [await waits(small, alice.get(path), number) for number in range(2)]
    over = await alice.ask("GET", path)
    assert over.status == 429
    assert list(over.faults) == ["quota.waiters"]
    assert int(over.headers["Retry-After"]) >= 1
    assert (await alice.ask("GET", f"{STATUS}?wait=0")).status == 200

    tasks.append(await waits(small, bob.get(path), 2))
    full = await small.admin.ask("GET", path)
    assert full.status == 503
    assert list(full.faults) == ["http.max_waiters"]
    assert int(full.headers["Retry-After"]) >= 1
    await small.admin.publish("FINISHED")
    assert [(await task)["reached"] for task in tasks[:2]] == [True, True]
    assert (await alice.get(path))["reached"]
    tasks[2].cancel()


async def test_an_admin_allows_an_owner_more(small: Api) -> None:
    await small.store.quotas.set_override("default", "alice", QuotaOverride(waiters=0))
    alice = await small.caller("alice", "subscribe", "publish")
    tasks = [await waits(small, alice.get(f"{STATUS}?wait=30"), number) for number in range(3)]
    await alice.publish("FINISHED")
    assert all([(await task)["reached"] for task in tasks])


async def test_a_wait_is_answered_when_the_service_stops(api: Api, alice: Caller) -> None:
    await alice.publish("RUNNING")
    tasks = [await waits(api, alice.get(f"/v1/jobs/job-{n}/status?wait=30"), n) for n in range(2)]
    api.services.waiters.stop()
    found = [await task for task in tasks]
    assert [(one["reached"], one["status"]) for one in found] == [(False, None), (False, "RUNNING")]
    refused: Reply = await alice.ask("GET", f"{STATUS}?wait=30")
    assert refused.status == 503


async def test_an_event_that_another_process_stores_is_heard_of(
    api: Api, alice: Caller, store: Store
) -> None:
    async with serving(store) as other:
        beside = other.with_key(alice.headers["Authorization"].removeprefix("Bearer "))
        task = await waits(api, alice.get(f"{STATUS}?wait=30"))
        await beside.publish("RUNNING")
        await beside.publish("FINISHED")
        assert (await task)["reached"]


async def test_the_store_is_not_asked_without_waiting_callers_and_once_a_tick_for_all(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(waiting, "KEY_SECONDS", 60.0)
    asked: list[str] = []
    for worker in (store.session._writer, store.session._readers):  # type: ignore[attr-defined]  # the SQLite store's
        sql_event.listen(worker._engine, "before_cursor_execute", lambda *args: asked.append(args[2]))
    async with serving(store) as api:
        alice = await api.caller("alice", "subscribe", "publish")
        await alice.get("/v1/jobs")
        asked.clear()
        await asyncio.sleep(0.2)
        assert asked == []
        tasks = [await waits(api, alice.get(f"/v1/jobs/job-{n}/status?wait=30"), n) for n in range(20)]
        asked.clear()
        await until(lambda: len(asked) >= 8)
        assert {statement for statement in asked if "json_each" not in statement} <= {"begin"}
        assert asked.count("begin") <= len(asked) // 2 + 1
        for task in tasks:
            task.cancel()
        await until(lambda: places(api) == 0)


async def test_a_store_that_is_away_for_a_moment_ends_no_waiting(
    api: Api, alice: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0.05)
    task = await waits(api, alice.get(f"{STATUS}?wait=30"))
    beside = await waits(api, alice.get("/v1/jobs/job-2/status?wait=30"), 1)
    seen, failures = api.store.waits.seen, 0

    async def fails_at_first(*asked: Any) -> Seen:
        nonlocal failures
        failures += 1
        if failures == 1:
            raise StoreUnavailable("away")
        if failures == 2:
            raise ZeroDivisionError  # an error of ours ends no other's waiting either
        return await seen(*asked)

    monkeypatch.setattr(api.store.waits, "seen", fails_at_first)
    await alice.publish("FINISHED")
    await until(lambda: failures >= 2)
    await alice.publish("FINISHED", job_id="job-2")
    assert [(await one)["reached"] for one in (task, beside)] == [True, True]
