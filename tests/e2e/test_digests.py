"""Digests through the whole service: an array of ten thousand jobs, two processes, a webhook's batches."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from standardwebhooks import Webhook

from tests.e2e.service import Service
from tests.e2e.test_faults import all_delivered
from tests.receiver import Arrived, Receiver
from tests.targets.email.relay import Mail, Relay, relay

pytestmark = pytest.mark.timeout(120)

ANN = "ann@example.org"
LEASE = 5
SETTINGS: dict[str, Any] = {
    "smtp_trusted_domains": "example.org",
    "delivery_lease": LEASE,
    "delivery_timeout": LEASE / 2,
    "smtp_timeout": LEASE / 2,
}


async def subscribe(service: Service, **digest: object) -> None:
    document = {"events": ["*"], "target": {"kind": "email", "to": [ANN]}, "digest": digest}
    await service.call("POST", "/v1/subscriptions", document)


async def publish(service: Service, numbers: Iterable[int]) -> None:
    """One event of each of these jobs of an array, of which every tenth fails."""
    events = [
        {"event": "FAILED" if number % 10 == 0 else "FINISHED", "job_id": f"job-{number}", "owner": "alice"}
        for number in numbers
    ]
    for first in range(0, len(events), 500):
        await service.call("POST", "/v1/events", events[first : first + 500])


def distinct(mails: Iterable[Mail]) -> list[Mail]:
    """The mails without those that came again after a crash."""
    return list({str(mail.message["Message-ID"]): mail for mail in mails}.values())


def counts(mails: Iterable[Mail]) -> Counter[str]:
    """How many jobs these digests tell of, by status. A job that has one event is in one of them."""
    return sum((_counts(mail) for mail in mails), Counter())


def _counts(mail: Mail) -> Counter[str]:
    found = re.findall(r"^([A-Z]+): (\d+)$", mail.text, re.MULTILINE)
    if not found:
        # A single event gets the usual message.
        return Counter([str(mail.message["Subject"]).split()[0]])
    assert f"{found[0][1]} {found[0][0]}" in str(mail.message["Subject"])
    return Counter({status: int(count) for status, count in found})


def most(began: float, interval: float) -> float:
    """How many digests there can be of one group: one at once, and then one in each interval."""
    return 2 + (time.monotonic() - began) / interval


async def digests_of(server: Relay, wanted: Counter[str], seconds: float = 60) -> list[Mail]:
    """The digests, once they tell of so many jobs."""
    async with asyncio.timeout(seconds):
        while True:
            mails = distinct(await server.received(len(server.mails)))
            if counts(mails).total() >= wanted.total():
                return mails
            await server.received(len(server.mails) + 1)


@pytest.mark.long
async def test_an_array_of_ten_thousand_jobs_makes_a_handful_of_mails_though_the_service_is_killed(
    tmp_path: Path,
) -> None:
    wanted, began = Counter({"FAILED": 1000, "FINISHED": 9000}), time.monotonic()
    async with relay() as server:
        settings = SETTINGS | {"smtp_url": f"smtp://{server.url}"}
        async with Service(tmp_path, **settings) as service:
            await subscribe(service, interval=2, group_by=["owner"], max_rows=5)
            await publish(service, range(5000))
            await server.received(1)
            await service.kill()
        async with Service(tmp_path, **settings) as service:
            await publish(service, range(5000, 10_000))
            mails = await digests_of(server, wanted)
            await asyncio.wait_for(all_delivered(service, 10_000), 30)
    assert counts(mails) == wanted
    assert 2 <= len(mails) <= most(began, 2)


@pytest.mark.long
async def test_two_processes_tell_of_every_job_in_one_mail_only(tmp_path: Path, postgres_url: str) -> None:
    began = time.monotonic()
    async with relay() as server:
        settings = SETTINGS | {"smtp_url": f"smtp://{server.url}", "database_url": postgres_url}
        async with Service(tmp_path, **settings) as one, Service(tmp_path, **settings) as other:
            await subscribe(one, interval=1, max_rows=1000)
            for first in range(0, 600, 100):
                await asyncio.gather(
                    publish(one, range(first, first + 50)), publish(other, range(first + 50, first + 100))
                )
            await digests_of(server, Counter({"FAILED": 60, "FINISHED": 540}))
            await asyncio.wait_for(all_delivered(one, 600), 30)
    named = Counter(
        line.split()[-1]
        for mail in server.mails
        for line in mail.text.splitlines()
        if re.search(r" UTC  \w+  job-\d+$", line)
    )
    subjects = [str(mail.message["Subject"]) for mail in server.mails]
    # A single event gets the usual message.
    alone = Counter(subject.split()[1] for subject in subjects if "jobs)" not in subject)
    assert named + alone == Counter({f"job-{number}": 1 for number in range(600)})
    assert len(server.mails) == len(distinct(server.mails)) <= most(began, 1)


async def test_a_webhook_gets_signed_batches_with_every_event_once(tmp_path: Path) -> None:
    async with Receiver() as receiver, Service(tmp_path) as service:
        made = await service.subscribe(
            f"{receiver.url}/hook", digest={"wait": 1, "interval": 1, "max_rows": 40}
        )
        await publish(service, range(100))
        arrived = await receiver.until(lambda arrived: len(_events(arrived)) >= 100)
        await asyncio.wait_for(all_delivered(service, 100), 30)
        items = (await service.call("GET", "/v1/deliveries?limit=500"))["items"]
        details = [await service.call("GET", f"/v1/deliveries/{item['id']}") for item in items[:3]]
    assert Counter(event["subject"] for event in _events(arrived)) == Counter(
        {f"job-{number}": 1 for number in range(100)}
    )
    assert all(len(_batch(one)) <= 40 for one in arrived)
    for one in arrived:
        Webhook(made["secret"]).verify(one.body, one.headers)
    batches = [one for one in arrived if one.headers["content-type"] == "application/cloudevents-batch+json"]
    assert {len(_batch(one)) for one in batches} >= {40}
    assert {one.id for one in arrived} < {item["id"] for item in items}
    # Each event's delivery has the attempt that reported it.
    assert [[attempt["status"] for attempt in one["latest_attempts"]] for one in details] == [[204]] * 3


def _events(arrived: Iterable[Arrived]) -> list[dict[str, Any]]:
    return [event for one in arrived for event in _batch(one)]


def _batch(one: Arrived) -> list[dict[str, Any]]:
    """The events of a request: one that is alone is no batch."""
    body: Any = msgspec.json.decode(one.body)
    return body if isinstance(body, list) else [body]
