"""A queue that is split by job, as docs/scaling.md says: a consistent-hash exchange before several queues."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aio_pika
import msgspec
import pytest
from aio_pika import ExchangeType, Message

from tests.e2e.service import Service
from tests.e2e.test_order import accepted
from tests.receiver import Receiver

pytestmark = pytest.mark.timeout(120)

JOBS, EVENTS = 20, 7


@pytest.mark.long
async def test_all_events_of_a_job_go_to_one_of_two_groups_and_each_is_delivered_once(
    tmp_path: Path, amqp_url: str, postgres_url: str
) -> None:
    def settings(group: int) -> dict[str, Any]:
        return {
            "amqp_url": amqp_url,
            "database_url": postgres_url,
            "amqp_exchange": f"dispatcher.events.{group}",
            "amqp_queue": f"dispatcher.intake.{group}",
        }

    async with (
        Receiver() as receiver,
        Service(tmp_path, **settings(1)) as one,
        Service(tmp_path, **settings(2)) as other,
    ):
        await one.subscribe(f"{receiver.url}/hook")
        await publish(amqp_url)
        await receiver.count(JOBS * EVENTS)
        taken = [int(await accepted(service)) for service in (one, other)]
    assert sum(taken) == JOBS * EVENTS
    assert all(count > 0 and count % EVENTS == 0 for count in taken)


async def publish(url: str) -> None:
    """Bind the groups' exchanges as the page says, and publish with each job's id as routing key."""
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        events = await channel.declare_exchange("dispatcher.events", ExchangeType.TOPIC, durable=True)
        split = await channel.declare_exchange(
            "dispatcher.split", ExchangeType.X_CONSISTENT_HASH, durable=True
        )
        await split.bind(events, "#")
        for group in (1, 2):
            # Declared by the group's processes when they consume.
            exchange = await channel.declare_exchange(
                f"dispatcher.events.{group}", ExchangeType.TOPIC, durable=True
            )
            await exchange.bind(split, "1")
        async with asyncio.TaskGroup() as publishing:
            for number in range(EVENTS):
                for job in range(JOBS):
                    body = msgspec.json.encode({"event": f"E{number}", "job_id": f"job-{job}"})
                    publishing.create_task(events.publish(Message(body), f"job-{job}"))
