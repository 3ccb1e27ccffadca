"""The guarantees, while processes are killed and servers restarted: real RabbitMQ, PostgreSQL and HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import web

from dispatcher.client import Publisher
from tests.e2e.service import Service
from tests.receiver import Arrived, Receiver
from tests.servers import PostgreSQL, RabbitMQ, free_port

pytestmark = pytest.mark.timeout(120)

LEASE = 5


async def publish(url: str, first: int, count: int) -> None:
    async with Publisher.amqp(url) as publisher:
        await publisher.publish_many(
            {"event": "RUNNING", "job_id": f"job-{n}", "id": f"event-{n}", "source": "/tests"}
            for n in range(first, first + count)
        )


async def test_a_killed_process_loses_nothing_and_repeats_only_what_was_in_flight(
    tmp_path: Path, amqp_url: str, postgres_url: str
) -> None:
    async def slowly(_: Arrived) -> web.Response:
        await asyncio.sleep(0.02)
        return web.Response(status=204)

    settings: dict[str, Any] = {
        "amqp_url": amqp_url,
        "database_url": postgres_url,
        "delivery_lease": LEASE,
        "delivery_timeout": LEASE / 2,
    }
    async with Receiver(slowly) as receiver:
        async with Service(tmp_path, **settings) as first:
            await first.subscribe(f"{receiver.url}/hook")
            async with asyncio.TaskGroup() as group:
                group.create_task(publish(amqp_url, 0, 2000))
                await receiver.count(500)
                await first.kill()
        in_flight = await unfinished(postgres_url)
        async with Service(tmp_path, **settings) as second:
            await receiver.count(2000, seconds=60)
            await asyncio.wait_for(all_delivered(second, 2000), 30)
    assert {a.event["id"] for a in receiver.arrived} == {f"event-{n}" for n in range(2000)}
    assert receiver.repeats <= in_flight


async def unfinished(postgres_url: str) -> set[str]:
    """The ids of the deliveries that a process had claimed and not finished."""
    connection = await asyncpg.connect(postgres_url)
    try:
        rows = await connection.fetch("select id from deliveries where claimed_by is not null")
    finally:
        await connection.close()
    return {f"dlv_{row['id'].hex}" for row in rows}


async def all_delivered(service: Service, count: int) -> None:
    """Return once so many deliveries are delivered and none is anything else."""
    while True:
        states = {"delivered": 0, "pending": 0, "delivering": 0, "exhausted": 0}
        for state in states:
            answer = await service.call("POST", "/v1/deliveries/retry", {"state": state, "dry_run": True})
            states[state] = answer["count"]
        if states == {"delivered": count, "pending": 0, "delivering": 0, "exhausted": 0}:
            return
        await asyncio.sleep(0.2)


@pytest.mark.long
async def test_a_restarted_broker_is_found_again_by_itself(
    tmp_path: Path, own_rabbitmq: RabbitMQ, postgres_url: str
) -> None:
    url = await own_rabbitmq.create_vhost()
    async with Receiver() as receiver, Service(tmp_path, amqp_url=url, database_url=postgres_url) as s:
        await s.subscribe(f"{receiver.url}/hook")
        await publish(url, 0, 200)
        await receiver.count(200)
        await asyncio.to_thread(own_rabbitmq.restart)
        await publish(url, 200, 200)
        await receiver.count(400, seconds=60)
        assert await s.terminate() == 0
    assert {a.event["id"] for a in receiver.arrived} == {f"event-{n}" for n in range(400)}


async def test_a_restarted_database_loses_nothing_and_needs_no_hand(
    tmp_path: Path, amqp_url: str, own_postgresql: PostgreSQL
) -> None:
    url = await own_postgresql.create_database()
    async with Receiver() as receiver, Service(tmp_path, amqp_url=amqp_url, database_url=url) as s:
        await s.subscribe(f"{receiver.url}/hook")
        await publish(amqp_url, 0, 300)
        await receiver.count(300)
        await asyncio.to_thread(own_postgresql.kill)
        await publish(amqp_url, 300, 300)
        await asyncio.to_thread(own_postgresql.start)
        await receiver.count(600, seconds=60)
        await asyncio.wait_for(all_delivered(s, 600), 30)
        assert await s.terminate() == 0
    assert {a.event["id"] for a in receiver.arrived} == {f"event-{n}" for n in range(600)}


async def test_a_receiver_that_comes_back_gets_what_it_missed(
    tmp_path: Path, amqp_url: str, postgres_url: str
) -> None:
    receiver = Receiver(port=free_port())
    async with Service(tmp_path, amqp_url=amqp_url, database_url=postgres_url) as service:
        retry = {"strategy": "delayed", "delay": 1, "limit": 100}
        await service.subscribe(f"{receiver.url}/hook", retry=retry)
        await publish(amqp_url, 0, 50)
        await service.says("attempt")
        async with receiver:
            await receiver.count(50)
            await asyncio.wait_for(all_delivered(service, 50), 30)
    assert not receiver.repeats


async def test_a_clean_stop_sends_nothing_twice_and_gives_back_what_waits(
    tmp_path: Path, amqp_url: str, postgres_url: str
) -> None:
    async def slowly(_: Arrived) -> web.Response:
        await asyncio.sleep(0.05)
        return web.Response(status=204)

    settings: dict[str, Any] = {"amqp_url": amqp_url, "database_url": postgres_url}
    async with Receiver(slowly) as receiver:
        async with Service(tmp_path, **settings) as first:
            await first.subscribe(f"{receiver.url}/hook")
            await publish(amqp_url, 0, 1000)
            await receiver.count(200)
            assert await first.terminate() == 0
        assert not await unfinished(postgres_url)
        async with Service(tmp_path, **settings) as second:
            await receiver.count(1000)
            await asyncio.wait_for(all_delivered(second, 1000), 30)
    assert not receiver.repeats
