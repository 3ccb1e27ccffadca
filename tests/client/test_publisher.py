"""Publisher: events are published for certain, or an error says which are not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aio_pika
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from dispatcher.client import NO_RETRIES, NotPublished, Publisher, outgoing
from dispatcher.intake.amqp.connection import connect
from dispatcher.intake.amqp.topology import Topology, prepare
from tests.intake.amqp.test_dialing import NAME, SILENT, resolve_to, silent
from tests.intake.wire import Wire

EVENT: dict[str, object] = {"event": "FINISHED", "job_id": "job-1", "owner": "alice"}
EXCHANGE, QUEUE = "dispatcher.events", "dispatcher.intake"


async def declared(url: str) -> None:
    async with await connect(url, "tests") as connection:
        await prepare(connection, Topology(exchange=EXCHANGE, queue=QUEUE))


async def arrived(url: str) -> list[aio_pika.abc.AbstractIncomingMessage]:
    found = []
    async with await aio_pika.connect(url) as connection:
        queue = await (await connection.channel()).get_queue(QUEUE)
        while (message := await queue.get(fail=False, no_ack=True)) is not None:
            found.append(message)
    return found


Handler = Callable[[web.Request], Awaitable[web.Response]]


@asynccontextmanager
async def service(handler: Handler) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/events", handler)
    async with TestServer(app) as server:
        yield str(server.make_url("/"))


def accepted() -> web.Response:
    return web.json_response({"accepted": 2, "duplicates": 0, "ids": ["evt_1", "evt_2"]}, status=202)


async def test_an_event_is_in_the_queue_when_the_call_returns(amqp_url: str) -> None:
    await declared(amqp_url)
    async with Publisher.amqp(amqp_url) as publisher:
        event_id = await publisher.publish(EVENT)
    (message,) = await arrived(amqp_url)
    assert msgspec.json.decode(message.body) == EVENT | {"id": event_id}
    assert (message.routing_key, message.content_type) == ("job.FINISHED", "application/json")
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT


async def test_a_byte_of_a_file_name_that_is_no_utf_8_holds_no_event_back(amqp_url: str) -> None:
    await declared(amqp_url)
    event = EVENT | {"event": "wrote", "message": "wrote \udcff.txt", "data": {"files": ["\udcff", "é"]}}
    async with Publisher.amqp(amqp_url) as publisher:
        event_id = await publisher.publish(event | {"type": "\udcff"})
    (message,) = await arrived(amqp_url)
    expected = {"id": event_id, "type": "\ufffd", "message": "wrote \ufffd.txt"}
    assert msgspec.json.decode(message.body) == event | expected | {"data": {"files": ["\ufffd", "é"]}}


async def test_a_silent_address_of_the_broker_does_not_keep_us_from_the_next_one(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await declared(amqp_url)
    resolve_to(monkeypatch, SILENT, "127.0.0.1")
    async with Wire(amqp_url) as wire:
        with silent(urlsplit(wire.url).port or 0):
            async with Publisher.amqp(wire.url.replace("127.0.0.1", NAME)) as publisher:
                await publisher.publish(EVENT)
    assert len(await arrived(amqp_url)) == 1


async def test_events_keep_their_order_and_their_own_ids(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outgoing, "BATCH", 7)
    await declared(amqp_url)
    names = [f"e-{n}" for n in range(50)]
    async with Publisher.amqp(amqp_url) as publisher:
        assert await publisher.publish_many(EVENT | {"id": name} for name in names) == names
    assert [msgspec.json.decode(message.body)["id"] for message in await arrived(amqp_url)] == names


async def test_a_cloudevent_is_routed_by_its_type(amqp_url: str) -> None:
    await declared(amqp_url)
    async with Publisher.amqp(amqp_url) as publisher:
        await publisher.publish(
            {"specversion": "1.0", "type": "org.example.DONE", "source": "/", "subject": "j"}
        )
    (message,) = await arrived(amqp_url)
    assert message.routing_key == "org.example.DONE"


async def test_an_event_that_no_queue_takes_is_an_error(amqp_url: str) -> None:
    async with await aio_pika.connect(amqp_url) as connection:
        await (await connection.channel()).declare_exchange(EXCHANGE, "topic", durable=True)
    async with Publisher.amqp(amqp_url) as publisher:
        with pytest.raises(NotPublished, match=r"the exchange dispatcher\.events has no queue for the event"):
            await publisher.publish(EVENT)


async def test_a_missing_exchange_is_an_error_that_says_who_makes_it(amqp_url: str) -> None:
    with pytest.raises(NotPublished, match=r"no exchange dispatcher\.events: `dispatcher serve` makes it"):
        async with Publisher.amqp(amqp_url):
            pass


async def test_a_broker_that_cannot_be_reached_is_an_error() -> None:
    with pytest.raises(NotPublished, match=r"the broker cannot be reached: .*Connect call failed"):
        async with Publisher.amqp("amqp://127.0.0.1:1/"):
            pass


async def test_a_connection_that_is_lost_is_an_error(amqp_url: str) -> None:
    await declared(amqp_url)
    async with Wire(amqp_url) as wire, Publisher.amqp(wire.url) as publisher:
        wire.cut()
        with pytest.raises(NotPublished, match="the broker did not confirm"):
            await publisher.publish_many([EVENT, EVENT])


async def test_events_go_to_the_service_as_one_array_with_the_key() -> None:
    seen: list[tuple[str, Any]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.headers["Authorization"], await request.json()))
        return accepted()

    async with service(handler) as url, Publisher.http(url, key="secret") as publisher:
        ids = await publisher.publish_many([EVENT | {"id": "a"}, EVENT])
    assert ids[0] == "a"
    assert seen == [("Bearer secret", [EVENT | {"id": "a"}, EVENT | {"id": ids[1]}])]


async def test_large_events_go_in_requests_that_the_service_takes() -> None:
    sizes: list[int] = []

    async def handler(request: web.Request) -> web.Response:
        sizes.append(len(await request.read()))
        return accepted()

    async with service(handler) as url, Publisher.http(url, key="secret") as publisher:
        await publisher.publish_many(EVENT | {"message": "x" * 200_000} for _ in range(5))
    assert len(sizes) == 3
    assert max(sizes) < 1 << 20


async def test_an_answer_that_refuses_says_why_and_how_many_went_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outgoing, "BATCH", 2)
    answers = iter([accepted(), web.Response(status=400, text="[1].job_id: expected the id of the job")])

    async def handler(_: web.Request) -> web.Response:
        return next(answers)

    async with service(handler) as url, Publisher.http(url, key="secret") as publisher:
        with pytest.raises(NotPublished, match=r"refused with 400: \[1\].job_id") as refused:
            await publisher.publish_many([EVENT] * 4)
    assert refused.value.confirmed == 2


async def test_a_service_that_cannot_be_reached_is_an_error() -> None:
    async with Publisher.http("http://127.0.0.1:1", key="secret", retries=NO_RETRIES) as publisher:
        with pytest.raises(NotPublished, match="the service did not answer"):
            await publisher.publish(EVENT)
