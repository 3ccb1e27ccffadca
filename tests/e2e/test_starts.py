"""How the service starts, and what stops a start."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aio_pika
import aiohttp
import pytest

from tests.e2e.service import Service
from tests.receiver import Receiver
from tests.servers import PostgreSQL, free_port

pytestmark = pytest.mark.timeout(120)


async def test_a_database_that_comes_late_is_waited_for(tmp_path: Path, own_postgresql: PostgreSQL) -> None:
    url = await own_postgresql.create_database()
    await asyncio.to_thread(own_postgresql.stop)
    service = Service(tmp_path, database_url=url)
    await service.start()
    waits = await service.says("the database does not answer yet")
    assert "error" in waits
    await own_postgresql.start_async()
    await service.serving()
    assert (await service.call("GET", "/health/ready"))["status"] == "ok"
    assert await service.terminate() == 0


async def test_a_queue_with_other_arguments_stops_the_start_and_is_named(
    tmp_path: Path, amqp_url: str
) -> None:
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel()
        await channel.declare_queue("dispatcher.intake", durable=True)
    code, said = await Service(tmp_path, amqp_url=amqp_url).ends()
    assert code == 2
    assert "dispatcher.intake" in said
    assert "DISPATCHER_AMQP_QUEUE" in said


async def test_a_broker_that_is_away_leaves_the_api_up_and_not_ready(tmp_path: Path) -> None:
    unreachable = f"amqp://guest:guest@127.0.0.1:{free_port()}/"
    async with Service(tmp_path, consumes=False, amqp_url=unreachable) as service:
        await service.says("not consuming")
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{service.url}/health/live") as live:
                assert live.status == 200
            async with session.get(f"{service.url}/health/ready") as ready:
                assert ready.status == 503
                assert "broker" in await ready.text()


@pytest.mark.long
async def test_an_embedded_service_that_was_killed_goes_on_after_its_restart(tmp_path: Path) -> None:
    receiver = Receiver(port=free_port())
    retry = {"strategy": "delayed", "delay": 1, "limit": 100}
    async with Service(tmp_path) as first:
        await first.subscribe(f"{receiver.url}/hook", retry=retry)
        events = [{"event": "FINISHED", "job_id": f"job-{n}", "id": f"event-{n}"} for n in range(100)]
        answer = await first.call("POST", "/v1/events", events)
        assert answer["accepted"] == 100
        await first.kill()
    async with receiver, Service(tmp_path):
        await receiver.count(100)
    assert {a.event["id"] for a in receiver.arrived} == {f"event-{n}" for n in range(100)}


async def test_the_first_admin_key_is_shown_once_and_works(tmp_path: Path) -> None:
    async with Service(tmp_path, auth_admin_key="") as service:
        text = "\n".join(str(line.get("text", "")) for line in service.lines)
        (key,) = [word for word in text.split() if word.startswith("dspk_")]
        authorized = aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"})
        async with authorized as session, session.get(f"{service.url}/v1/keys") as answer:
            assert answer.status == 200
            assert key not in await answer.text()
    async with Service(tmp_path, auth_admin_key="") as again:
        assert not [line for line in again.lines if "dspk_" in str(line)]
