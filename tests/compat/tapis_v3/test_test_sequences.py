"""Test sequences of Tapis v3, from their beginning to what the callback got; and whether the service is well."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from tests.compat.tapis_v3.conftest import Caller, Site, event, until


async def ended(jobs: Caller, name: str, count: int) -> Any:
    """The sequence, once the callback has got so many notifications."""

    async def enough() -> bool:
        found = await jobs.get(f"/test/{name}")
        return int(found["notificationCount"]) >= count

    await until(enough)
    return await jobs.get(f"/test/{name}")


async def test_a_sequence_is_delivered_to_ourselves_and_recorded(jobs: Caller) -> None:
    begun = await jobs.ask("POST", "/test/begin?numberOfEvents=3&subscriptionTTL=5")
    assert begun.status == 201
    name = begun.result["name"]
    assert begun.result["typeFilter"] == "notifications.test.*"
    assert begun.result["subjectFilter"] == begun.result["uuid"] == name
    assert begun.result["ttlMinutes"] == 5
    assert begun.result["deliveryTargets"] == [
        {"deliveryMethod": "WEBHOOK", "deliveryAddress": f"{jobs.url}/v3/notifications/test/callback/{name}"}
    ]
    found = await ended(jobs, name, 3)
    assert (found["tenant"], found["owner"], found["subscriptionName"]) == ("dev", "alice", name)
    assert found["startCount"] == 3
    events = sorted(
        (one["event"] for one in found["receivedNotifications"]), key=lambda one: one["seriesSeqCount"]
    )
    types = ["notifications.test.begin", "notifications.test.number002", "notifications.test.number003"]
    assert [one["type"] for one in events] == types
    assert [one["seriesSeqCount"] for one in events] == [1, 2, 3]
    assert [one["endSeries"] for one in events] == [False, False, True]


async def test_a_sequence_is_removed_with_what_it_got(jobs: Caller) -> None:
    name = (await jobs.post("/test/begin", status=201))["name"]
    await ended(jobs, name, 1)
    assert await jobs.delete(f"/test/{name}") == {"changes": 1}
    assert (await jobs.ask("GET", f"/test/{name}")).status == 404
    assert (await jobs.ask("GET", f"/subscriptions/byName/{name}")).status == 404


async def test_a_user_may_try_too_and_others_do_not_see_it(site: Site) -> None:
    alice = site.user("alice")
    name = (await alice.post("/test/begin", status=201))["name"]
    await ended(alice, name, 1)
    assert (await site.user("bob").ask("GET", f"/test/{name}")).status == 404


async def test_a_subscription_is_no_test_sequence(jobs: Caller) -> None:
    await jobs.subscribe("https://127.0.0.1/hook", name="s1")
    for method in ("GET", "DELETE"):
        reply = await jobs.ask(method, "/test/s1")
        assert (reply.status, reply.message) == (400, "name: the subscription s1 is no test sequence")
    assert await jobs.get("/subscriptions/byName/s1")


async def test_a_sequence_is_bounded(jobs: Caller) -> None:
    for query in ("numberOfEvents=0", "numberOfEvents=101", "numberOfEvents=x", "endSeries=maybe"):
        reply = await jobs.ask("POST", f"/test/begin?{query}")
        assert (reply.status, query.partition("=")[0] in reply.message) == (400, True)


def notification(**changes: object) -> dict[str, object]:
    return {
        "uuid": str(uuid4()),
        "tenant": "dev",
        "subscriptionName": "x",
        "deliveryTarget": {"deliveryMethod": "WEBHOOK", "deliveryAddress": "https://x.example/"},
        "event": event() | {"uuid": str(uuid4()), "tenant": "dev", "user": "alice"},
        "created": "2026-05-04T12:00:00Z",
    } | changes


async def test_the_callback_needs_the_name_of_a_sequence_and_a_whole_notification(
    jobs: Caller, site: Site
) -> None:
    anonymous = Caller(site.session, site.url)
    name = (await jobs.post("/test/begin", status=201))["name"]
    await ended(jobs, name, 1)
    callback = f"/test/callback/{name}"
    notified = notification()
    for _ in range(2):
        assert (await anonymous.ask("POST", callback, notified)).status == 200
    assert (await jobs.get(f"/test/{name}"))["notificationCount"] == 2
    assert (await anonymous.ask("POST", f"/test/callback/{uuid4()}", notified)).status == 404
    assert (await anonymous.ask("POST", "/test/callback/x", notified)).status == 404
    bad: tuple[dict[str, object], ...] = (
        {"uuid": "x"},
        {"event": {}},
        {"deliveryTarget": None},
        {"created": ""},
    )
    assert (await anonymous.ask("POST", callback, b" " * 20_000)).status == 400
    for wrong in bad:
        assert (await anonymous.ask("POST", callback, notification(**wrong))).status == 400
    await jobs.subscribe("https://127.0.0.1/hook", name="s1")
    uuid = (await jobs.get("/subscriptions/byName/s1"))["uuid"]
    reply = await anonymous.ask("POST", f"/test/callback/{uuid}", notified)
    assert (reply.status, "is no test sequence" in reply.message) == (400, True)


async def test_health_is_shown_without_a_token(site: Site) -> None:
    anonymous = Caller(site.session, site.url)
    assert (await anonymous.ask("GET", "/healthcheck")).message == "the service is alive"
    assert (await anonymous.ask("GET", "/readycheck")).message == "the service is ready"
