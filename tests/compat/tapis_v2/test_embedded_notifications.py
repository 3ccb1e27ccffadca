"""Notifications in a job's document."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.compat.tapis_v2.conftest import JOB, Running, Tapis, decoded
from tests.receiver import Receiver

NOTIFICATIONS = "/notifications/v2"
URL = "http://127.0.0.1:9/hook"


def job(*notifications: object, **fields: Any) -> dict[str, Any]:
    """A job document with notifications."""
    return {"id": JOB, "name": "pyplot", "notifications": list(notifications)} | fields


def wanted(url: str = URL, **fields: Any) -> dict[str, Any]:
    """A notification as it stands in a job document."""
    return {"url": url, "event": "*", "persistent": True} | fields


async def test_they_are_subscriptions_from_the_jobs_first_event_on(alice: Tapis, receiver: Receiver) -> None:
    await alice.publish("PENDING", job=job(wanted(f"{receiver.url}/${{EVENT}}")))
    await alice.publish("RUNNING", job=job(wanted(f"{receiver.url}/${{EVENT}}")))

    arrived = await receiver.count(2)

    assert {one.path for one in arrived} == {"/PENDING", "/RUNNING"}
    assert decoded(arrived[0].body)["id"] == JOB
    [notification] = await alice.result("GET", NOTIFICATIONS)
    assert (notification["associatedUuid"], notification["event"]) == (JOB, "*")


async def test_a_plain_address_is_notified_once_of_each_end(alice: Tapis) -> None:
    await alice.publish("PENDING", job=job(URL))

    listed = await alice.result("GET", NOTIFICATIONS)
    details = [await alice.result("GET", f"{NOTIFICATIONS}/{one['id']}") for one in listed]

    assert {one["event"] for one in details} == {"FINISHED", "FAILED", "STOPPED"}
    assert not any(one["persistent"] for one in details)


async def test_a_policy_is_kept(alice: Tapis) -> None:
    policy = {"retryStrategy": "DELAYED", "retryDelay": 3, "retryLimit": 2}
    await alice.publish("PENDING", job=job(wanted(policy=policy)))

    [one] = await alice.result("GET", NOTIFICATIONS)
    shown = await alice.result("GET", f"{NOTIFICATIONS}/{one['id']}")

    assert shown["policy"] == policy | {"retryRate": 5, "saveOnFailure": False}


async def test_one_that_was_removed_does_not_come_back_with_the_next_event(alice: Tapis) -> None:
    await alice.publish("PENDING", job=job(wanted()))
    [one] = await alice.result("GET", NOTIFICATIONS)
    await alice.result("DELETE", f"{NOTIFICATIONS}/{one['id']}")

    await alice.publish("RUNNING", job=job(wanted()))

    assert await alice.result("GET", NOTIFICATIONS) == []


async def test_two_first_events_at_the_same_moment_make_one_subscription(alice: Tapis) -> None:
    await asyncio.gather(*(alice.publish(name, job=job(wanted())) for name in ("CREATED", "PENDING")))

    assert len(await alice.result("GET", NOTIFICATIONS)) == 1


async def test_those_that_an_admin_posts_are_the_job_owners(admin: Tapis, alice: Tapis) -> None:
    await admin.publish("PENDING", owner="alice", job=job(wanted()))

    [one] = await alice.result("GET", NOTIFICATIONS)
    assert (await alice.result("GET", f"{NOTIFICATIONS}/{one['id']}"))["owner"] == "alice"
    [subscription] = (await admin.native.get("/v1/subscriptions"))["items"]
    assert (subscription["owner"], subscription["subscriber"]) == ("alice", "alice")


async def test_no_owner_subscribes_to_anothers_job_by_publishing_about_it(
    admin: Tapis, alice: Tapis, bob: Tapis
) -> None:
    plain = {"event": "PENDING", "owner": "alice", "job": job(wanted("http://127.0.0.1:9/bobs"))}
    assert (await bob.ask("POST", "/v1/events", plain)).status == 403

    assert await bob.result("GET", NOTIFICATIONS) == []
    assert (await admin.native.get("/v1/subscriptions"))["items"] == []


async def test_a_key_that_may_only_publish_makes_no_subscription(service: Running, admin: Tapis) -> None:
    publisher = await service.caller("alice", "publish")
    await publisher.publish("PENDING", job=job(wanted()))

    assert (await admin.native.get("/v1/subscriptions"))["items"] == []


async def test_one_that_is_wrong_refuses_the_event_and_makes_nothing(alice: Tapis) -> None:
    for notification, field, problem in (
        (wanted(persistant=True), "job.notifications[1]", "Unknown property persistant"),
        (wanted("ftp://example.org/"), "job.notifications[1].url", "expected an http or https URL"),
        (wanted("http://10.0.0.1/"), "job.notifications[1].url", "blocked"),
        (wanted(event="NO-NAME"), "job.notifications[1].event", "must contain only letters"),
        (7, "job.notifications[1]", "expected a notification object"),
    ):
        plain = {"event": "PENDING", "owner": "alice", "job": job(wanted(), notification)}
        refused = await alice.ask("POST", "/v1/events", plain)
        assert refused.status == 400
        assert problem in refused.faults[field]
        batch = await alice.ask("POST", "/v1/events", [{"event": "PENDING", "job_id": "other"}, plain])
        assert list(batch.faults) == [f"[1].{field}"]

    assert await alice.result("GET", NOTIFICATIONS) == []
    assert (await alice.ask("GET", f"/v1/jobs/{JOB}")).status == 404


async def test_too_many_and_no_array_are_refused(alice: Tapis) -> None:
    for notifications, problem in (([URL] * 101, "expected at most 100, got 101"), (7, "expected an array")):
        plain = {"event": "PENDING", "job": {"id": JOB, "notifications": notifications}}
        refused = await alice.ask("POST", "/v1/events", plain)
        assert problem in refused.faults["job.notifications"]


async def test_the_events_of_one_request_cannot_ask_for_any_number(alice: Tapis) -> None:
    events = [
        {"event": "PENDING", "job": {"id": f"job-{n}", "notifications": [URL] * 100}} for n in range(11)
    ]
    refused = await alice.ask("POST", "/v1/events", events)
    assert refused.faults == {"[10].job.notifications": "expected at most 3000 in all events together"}
    assert await alice.result("GET", NOTIFICATIONS) == []


async def test_somebody_elses_subscription_to_the_new_job_takes_the_place_of_none(
    alice: Tapis, bob: Tapis
) -> None:
    await bob.result(
        "POST", NOTIFICATIONS, {"url": URL, "event": "FINISHED", "associatedUuid": JOB}, status=201
    )
    await alice.publish("PENDING", job=job({"url": URL, "event": "FINISHED"}))
    assert len(await alice.result("GET", NOTIFICATIONS)) == 1
