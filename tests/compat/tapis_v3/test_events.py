"""Events in the shape of Tapis v3: published over HTTP, in series, and what is sent for them."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from uuid import UUID

from aiohttp import web

from dispatcher.client import verify
from tests.compat.tapis_v3.conftest import Caller, Site, event
from tests.receiver import Arrived, Receiver


def event_in(arrived: Arrived) -> dict[str, Any]:
    """The event in a notification."""
    found: Any = arrived.event["event"]
    assert isinstance(found, dict)
    return found


async def test_a_notification_is_what_tapis_sends(jobs: Caller, receiver: Receiver) -> None:
    await jobs.subscribe(f"{receiver.url}/hook", name="s1")
    await jobs.publish()
    [arrived] = await receiver.count(1)
    assert arrived.headers["content-type"] == "application/json"
    body: dict[str, Any] = dict(arrived.event)
    assert str(UUID(body.pop("uuid"))).replace("-", "") == arrived.id.removeprefix("dlv_")
    added = body["event"]
    assert body.pop("eventUuid") == added.pop("uuid")
    assert body.pop("created").endswith("Z")
    assert added.pop("received").endswith("Z")
    assert body == {
        "tenant": "dev",
        "subscriptionName": "s1",
        "deliveryTarget": {"deliveryMethod": "WEBHOOK", "deliveryAddress": f"{receiver.url}/hook"},
        "event": event()
        | {
            "endSeries": False,
            "deleteSubscriptionsMatchingSubject": False,
            "tenant": "dev",
            "user": "alice",
            "seriesSeqCount": 1,
        },
    }


async def test_an_event_that_is_not_quite_json_is_read_as_it_was_meant(
    jobs: Caller, receiver: Receiver
) -> None:
    await jobs.subscribe(f"{receiver.url}/hook")
    odd = event(data="wrote \udcff.txt")
    body = b"\xef\xbb\xbf" + json.dumps(odd).encode()
    assert (await jobs.ask("POST", "/events/publish", body)).status == 200
    [arrived] = await receiver.count(1)
    assert event_in(arrived)["data"] == "wrote \ufffd.txt"


async def test_subject_and_type_decide_who_is_notified(jobs: Caller, site: Site, receiver: Receiver) -> None:
    for name, filters in {
        "any": {},
        "job-1": {"subjectFilter": "job-1"},
        "job-2": {"subjectFilter": "job-2"},
        "failed": {"typeFilter": "jobs.JOB_NEW_STATUS.FAILED"},
        "finished": {"typeFilter": "jobs.*.FINISHED"},
        "files": {"typeFilter": "files.*.*"},
    }.items():
        await jobs.subscribe(f"{receiver.url}/{name}", name=name, **filters)
    await site.jobs(tenant="prod").subscribe(f"{receiver.url}/prod", name="prod")
    await jobs.publish()
    arrived = await receiver.count(3)
    assert {one.path for one in arrived} == {"/any", "/job-1", "/finished"}


async def test_the_events_of_a_series_are_numbered_until_it_ends(jobs: Caller, receiver: Receiver) -> None:
    await jobs.subscribe(receiver.url)

    async def number(**changes: Any) -> int:
        arrived_before = len(receiver.arrived)
        await jobs.publish(**changes)
        arrived = await receiver.count(arrived_before + 1)
        return int(event_in(arrived[-1])["seriesSeqCount"])

    assert [await number(), await number()] == [1, 2]
    assert await number(seriesId=None) == -1
    assert await number(source="Others", type="jobs.JOB_NEW_STATUS.QUEUED") == 1
    series = {"source": "Jobs", "subject": "job-1", "seriesId": "job-1"}
    assert await jobs.post("/events/endSeries", series) == {"changes": 1}
    assert await jobs.post("/events/endSeries", series) == {"changes": 0}
    assert await number(endSeries=True) == 1
    assert await number() == 1


async def test_the_events_of_a_job_arrive_in_their_order(jobs: Caller, receiver: Receiver) -> None:
    async def slow(arrived: Arrived) -> web.Response:
        # A sender that does not wait for this answer is found out.
        await asyncio.sleep(0.05 if event_in(arrived)["seriesSeqCount"] == 1 else 0)
        answered.append(event_in(arrived)["seriesSeqCount"])
        return web.Response()

    answered: list[int] = []
    receiver.answer = slow
    await jobs.subscribe(receiver.url)
    for status in ("PENDING", "QUEUED", "RUNNING", "FINISHED"):
        await jobs.publish(status)
    arrived = await receiver.count(4)
    assert [event_in(one)["seriesSeqCount"] for one in arrived] == [1, 2, 3, 4]
    assert answered[:3] == [1, 2, 3]


async def test_an_event_may_end_the_subscriptions_to_its_subject(jobs: Caller, receiver: Receiver) -> None:
    await jobs.subscribe(f"{receiver.url}/job-1", name="one", subjectFilter="job-1")
    await jobs.subscribe(f"{receiver.url}/any", name="any")
    await jobs.publish(deleteSubscriptionsMatchingSubject=True)
    await receiver.count(2)
    assert [one["name"] for one in await jobs.get("/subscriptions")] == ["any"]
    await jobs.publish("FAILED")
    arrived = await receiver.count(3)
    assert sorted(one.path for one in arrived) == ["/any", "/any", "/job-1"]


async def test_events_that_came_in_another_form_are_sent_in_this_one(
    jobs: Caller, site: Site, receiver: Receiver
) -> None:
    await jobs.subscribe(receiver.url)
    plain = {
        "event": "FINISHED",
        "job": {"id": "job-9", "name": "mine", "owner": "bob"},
        "message": "done",
        "time": "2026-05-04T12:00:00Z",
    }
    key = await site.key("jobs", "publish:any")
    headers = {"Authorization": f"Bearer {key}"}
    async with site.session.post(f"{site.url}/v1/events", json=plain, headers=headers) as answer:
        assert answer.status == 202
    [arrived] = await receiver.count(1)
    found = event_in(arrived)
    assert json.loads(found.pop("data")) == {
        "jobName": "mine",
        "jobUuid": "job-9",
        "jobOwner": "bob",
        "message": "done",
        "newJobStatus": "FINISHED",
    }
    assert str(UUID(found["uuid"])) == found.pop("uuid")
    assert found.pop("received")
    assert found == {
        "source": "/jobs",
        "type": "jobs.JOB_NEW_STATUS.FINISHED",
        "timestamp": "2026-05-04T12:00:00Z",
        "subject": "job-9",
        "endSeries": False,
        "deleteSubscriptionsMatchingSubject": False,
        "tenant": "dev",
        "user": "bob",
        "seriesSeqCount": -1,
    }


async def test_a_published_event_is_an_event_of_its_job_for_everybody_else(jobs: Caller, site: Site) -> None:
    await jobs.publish("CANCELLED")
    headers = {"X-Tapis-Token": "", "Authorization": f"Bearer {await site.key('alice', 'subscribe')}"}
    async with site.session.get(f"{site.url}/v1/jobs/job-1", headers=headers) as answer:
        job = await answer.json()
    assert (job["status"], job["terminal"], job["name"], job["owner"]) == ("KILLED", True, "a run", "alice")


async def test_a_service_publishes_its_own_types_and_for_any_tenant(site: Site, receiver: Receiver) -> None:
    jobs = site.jobs()
    await site.jobs(tenant="prod").subscribe(f"{receiver.url}/prod")
    reply = await jobs.ask("POST", "/events", event(type="files.TRANSFER.COMPLETED"))
    assert (reply.status, reply.message) == (
        400,
        "type: expected it to begin with jobs., the service that publishes it",
    )
    await jobs.post("/events?tenant=prod", event())
    [arrived] = await receiver.count(1)
    assert event_in(arrived)["tenant"] == "prod"


async def test_who_is_no_service_does_not_publish(site: Site) -> None:
    reply = await site.user().ask("POST", "/events/publish", event())
    assert (reply.status, reply.message) == (
        401,
        "this needs a service's token, or a key with the scope publish",
    )


async def test_a_key_publishes_in_its_own_tenant(site: Site, receiver: Receiver) -> None:
    await site.jobs().subscribe(receiver.url)
    publisher = site.with_token(await site.key("jobs", "publish:any"))
    await publisher.publish()
    await receiver.count(1)
    reply = await publisher.ask("POST", "/events?tenant=prod", event())
    assert (reply.status, "only services may publish for another" in reply.message) == (401, True)


async def test_what_is_wrong_with_an_event_is_answered_with_400_and_counts_nothing(
    jobs: Caller, receiver: Receiver
) -> None:
    await jobs.subscribe(receiver.url)
    for changes, problem in (
        ({"type": "jobs.A"}, "type: expected <service>.<category>.<detail>"),
        ({"timestamp": "soon"}, "timestamp: expected a time"),
        ({"timestamp": None}, "timestamp: is missing"),
        ({"subject": "x" * 300}, "subject: expected at most 255 characters"),
        ({"data": {}}, "data: expected string"),
        ({"endSeries": "yes"}, "endSeries: expected boolean"),
    ):
        reply = await jobs.ask("POST", "/events/publish", event(**changes))
        assert (reply.status, problem in reply.message) == (400, True), (changes, reply.message)
    await jobs.publish()
    [arrived] = await receiver.count(1)
    assert event_in(arrived)["seriesSeqCount"] == 1


async def test_a_notification_is_signed_like_every_webhook(
    jobs: Caller, site: Site, receiver: Receiver
) -> None:
    await jobs.subscribe(receiver.url, name="s1")
    headers = {"Authorization": f"Bearer {await site.key('root', 'admin')}"}
    async with site.session.get(f"{site.url}/v1/subscriptions", headers=headers) as answer:
        [native] = (await answer.json())["items"]
    assert (native["name"], native["target"]["format"]) == ("s1", "tapis-v3")
    rotate = f"{site.url}/v1/subscriptions/{native['id']}/rotate-secret"
    async with site.session.post(rotate, headers=headers) as answer:
        secret = (await answer.json())["secret"]
    await jobs.publish()
    [arrived] = await receiver.count(1)
    verify([secret], arrived.headers, arrived.body, time.time())
