"""How many subscriptions one subscriber may have for the same jobs."""

from __future__ import annotations

import asyncio

import pytest

from dispatcher.api import owner_quotas
from dispatcher.domain.quotas import Caps
from tests.api.conftest import HOOK, Api, Caller

TARGET = {"kind": "webhook", "url": HOOK}


@pytest.fixture(autouse=True)
def _two_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner_quotas, "Caps", lambda **others: Caps(alike=2, **others))


async def refused(caller: Caller, method: str, path: str, body: object = None) -> bool:
    reply = await caller.ask(method, path, body)
    assert reply.status in (200, 201, 409), reply.body
    return reply.status == 409


async def test_no_event_of_a_subscribers_jobs_has_to_go_to_any_number_of_them(alice: Caller) -> None:
    new = {"events": ["*"], "target": TARGET}
    for _ in range(2):
        assert not await refused(alice, "POST", "/v1/subscriptions", new)
        assert not await refused(alice, "POST", "/v1/subscriptions", new | {"job_id": "job-1"})

    assert await refused(alice, "POST", "/v1/subscriptions", new)
    assert await refused(alice, "POST", "/v1/subscriptions", new | {"job_id": "job-1"})
    assert not await refused(alice, "POST", "/v1/subscriptions", new | {"job_id": "job-2"})


async def test_neither_a_change_nor_resuming_gets_around_it(alice: Caller) -> None:
    first, second = await alice.subscribe(persistent=False), await alice.subscribe()
    other = await alice.subscribe(job_id="job-1")
    path = f"/v1/subscriptions/{other['id']}"

    assert await refused(alice, "PATCH", path, {"job_id": None})
    assert not await refused(alice, "PATCH", path, {"name": "still mine"})
    assert not await refused(alice, "PATCH", f"/v1/subscriptions/{first['id']}", {"name": "still mine"})
    assert not await refused(alice, "POST", f"/v1/subscriptions/{second['id']}/pause")
    assert not await refused(alice, "POST", f"/v1/subscriptions/{second['id']}/resume")


async def test_one_that_ended_finds_no_room_when_others_have_it_now(api: Api, alice: Caller) -> None:
    ended = await alice.subscribe()
    await api.store.subscriptions.end(ended["id"], "completed", "delivered once, as asked")
    for _ in range(2):
        await alice.subscribe()

    assert await refused(alice, "POST", f"/v1/subscriptions/{ended['id']}/resume")


async def test_admins_and_others_have_separate_limits(admin: Caller, alice: Caller, bob: Caller) -> None:
    for _ in range(2):
        await alice.subscribe(job_id="job-1")
        await bob.subscribe(job_id="job-1")
    for _ in range(3):
        await admin.subscribe(job_id="job-1")


async def test_requests_at_the_same_moment_cannot_all_fit(alice: Caller) -> None:
    new = {"events": ["*"], "target": TARGET}
    asked = [refused(alice, "POST", "/v1/subscriptions", new) for _ in range(8)]
    assert sorted(await asyncio.gather(*asked)) == [False] * 2 + [True] * 6
