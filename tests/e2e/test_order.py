"""Ordered subscriptions with several processes on one queue, of which one dies."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from dispatcher.client import Publisher
from tests.e2e.service import Service
from tests.receiver import Arrived, Receiver

pytestmark = pytest.mark.timeout(120)

JOBS, EVENTS = 10, 30


async def publish(url: str, events: range) -> None:
    async with Publisher.amqp(url) as publisher:
        await publisher.publish_many(
            {"event": f"E{number:03}", "job_id": f"job-{job}", "id": f"{job}-{number}", "source": "/tests"}
            for number in events
            for job in range(JOBS)
        )


def first_arrivals(arrived: list[Arrived]) -> dict[str, list[str]]:
    """The events of each job in the order in which each came for the first time."""
    seen: dict[str, dict[str, None]] = {}
    for one in arrived:
        seen.setdefault(str(one.event["subject"]), {})[str(one.event["type"])] = None
    return {job: list(events) for job, events in seen.items()}


@pytest.mark.long
async def test_order_holds_with_failures_two_processes_and_the_death_of_the_one_that_consumes(
    tmp_path: Path, amqp_url: str, postgres_url: str
) -> None:
    failed: set[str] = set()

    async def every_seventh_fails_at_first(one: Arrived) -> web.Response:
        name = str(one.event["id"])
        if len(name) % 2 and name not in failed and int(name.split("-")[1]) % 7 == 3:
            failed.add(name)
            return web.Response(status=429)
        return web.Response(status=204)

    settings: dict[str, Any] = {
        "amqp_url": amqp_url,
        "database_url": postgres_url,
        "amqp_single_active_consumer": "true",
        "delivery_lease": 5,
        "delivery_timeout": 2.5,
    }
    async with Receiver(every_seventh_fails_at_first) as receiver, Service(tmp_path, **settings) as first:
        await first.subscribe(
            f"{receiver.url}/hook",
            ordered=True,
            retry={"strategy": "delayed", "delay": 0.05, "jitter": 0, "limit": 20},
        )
        async with Service(tmp_path, **settings):
            await publish(amqp_url, range(EVENTS // 2))
            await receiver.count(JOBS * 5)
            await first.kill()
            await publish(amqp_url, range(EVENTS // 2, EVENTS))
            await receiver.count(JOBS * EVENTS, seconds=60)
            assert failed
    expected = [f"job.E{number:03}" for number in range(EVENTS)]
    assert first_arrivals(receiver.arrived) == {f"job-{job}": expected for job in range(JOBS)}


async def test_one_process_consumes_while_the_others_stand_by(
    tmp_path: Path, amqp_url: str, postgres_url: str
) -> None:
    settings: dict[str, Any] = {
        "amqp_url": amqp_url,
        "database_url": postgres_url,
        "amqp_single_active_consumer": "true",
        "amqp_prefetch": 10,
    }
    async with Receiver() as receiver, Service(tmp_path, **settings) as one:
        await one.subscribe(f"{receiver.url}/hook")
        async with Service(tmp_path, **settings) as other:
            await publish(amqp_url, range(20))
            await receiver.count(JOBS * 20)
            taken = [await accepted(service) for service in (one, other)]
            assert taken == [JOBS * 20, 0]
            await one.kill()
            await publish(amqp_url, range(20, 30))
            async with asyncio.timeout(60):
                while await accepted(other) < JOBS * 10:  # noqa: ASYNC110 - another process, without notifications
                    await asyncio.sleep(0.05)


async def accepted(service: Service) -> float:
    """How many events a process has taken in."""
    page = await service.text("/metrics")
    name = 'dispatcher_events_total{result="accepted",source="amqp"} '
    lines = [line for line in page.splitlines() if line.startswith(name)]
    return float(lines[0].removeprefix(name)) if lines else 0.0
