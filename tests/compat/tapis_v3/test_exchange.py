"""The exchange of Tapis v3, consumed as its notifications service declares it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel
from aiohttp import ClientSession

from dispatcher.app import running
from tests.compat.tapis_v3.conftest import Site, event, read, until
from tests.receiver import Receiver

EXCHANGE, QUEUE = "tapis.notifications.exchange", "tapis.notifications.queue"


@pytest.fixture
async def theirs(amqp_url: str) -> AsyncIterator[AbstractChannel]:
    """A channel of their service, which has declared what it declares (MessageBroker.initExchangesAndQueues)."""
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.FANOUT, durable=True)
        queue = await channel.declare_queue(QUEUE, durable=True, exclusive=False, auto_delete=False)
        await queue.bind(exchange, "#")
        yield channel


@pytest.fixture
def with_broker(settings: dict[str, str], amqp_url: str) -> dict[str, str]:
    """The settings of a service that consumes their exchange."""
    return settings | {
        "DISPATCHER_AMQP_URL": amqp_url,
        "DISPATCHER_AMQP_EXCHANGE": EXCHANGE,
        "DISPATCHER_AMQP_EXCHANGE_TYPE": "fanout",
    }


async def send(channel: AbstractChannel, **changes: Any) -> str:
    """Publish an event as their service does (MessageBroker.publishEvent). Its UUID."""
    uuid = str(uuid4())
    body = event() | {
        "seriesSeqCount": 7,
        "deleteSubscriptionsMatchingSubject": False,
        "endSeries": False,
        "tenant": "dev",
        "user": "jobs",
        "received": "2026-05-04T12:00:01.123456Z",
        "uuid": uuid,
    }
    message = aio_pika.Message(
        json.dumps(body | changes).encode(),
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )
    exchange = await channel.get_exchange(EXCHANGE)
    await exchange.publish(message, QUEUE)
    return uuid


async def test_what_their_exchange_carries_is_delivered(
    theirs: AbstractChannel, with_broker: dict[str, str], tmp_path: Path, receiver: Receiver
) -> None:
    async with running(read(with_broker, tmp_path)) as app, ClientSession() as session:
        site = Site(app, session)
        jobs = site.jobs()
        await jobs.subscribe(receiver.url, name="s1")
        await until(site.consumes)
        uuid = await send(theirs)
        [arrived] = await receiver.count(1)
    body: dict[str, Any] = dict(arrived.event)
    assert (body["eventUuid"], body["event"]["uuid"]) == (uuid, uuid)
    assert (body["tenant"], body["event"]["seriesSeqCount"]) == ("dev", 7)
    assert body["event"]["data"] == event()["data"]
    # Their own queue has it too: nothing of theirs was changed.
    own = await (await theirs.get_queue(QUEUE)).get(timeout=10)
    assert own is not None


async def test_an_event_from_there_ends_the_subscriptions_to_its_subject(
    theirs: AbstractChannel, with_broker: dict[str, str], tmp_path: Path, receiver: Receiver
) -> None:
    async with running(read(with_broker, tmp_path)) as app, ClientSession() as session:
        site = Site(app, session)
        jobs = site.jobs()
        await jobs.subscribe(f"{receiver.url}/job-1", name="one", subjectFilter="job-1")
        await jobs.subscribe(f"{receiver.url}/any", name="any")
        await until(site.consumes)
        await send(theirs, deleteSubscriptionsMatchingSubject=True)
        await receiver.count(2)

        async def is_alone() -> bool:
            return [one["name"] for one in await jobs.get("/subscriptions")] == ["any"]

        await until(is_alone)
    queue = await theirs.declare_queue("dispatcher.intake", passive=True)
    assert queue.declaration_result.message_count == 0


async def test_their_exchange_is_used_whatever_type_the_settings_name(
    theirs: AbstractChannel, with_broker: dict[str, str], tmp_path: Path, receiver: Receiver
) -> None:
    del with_broker["DISPATCHER_AMQP_EXCHANGE_TYPE"]
    async with running(read(with_broker, tmp_path)) as app, ClientSession() as session:
        site = Site(app, session)
        await site.jobs().subscribe(receiver.url, name="s1")
        await until(site.consumes)
        uuid = await send(theirs)
        [arrived] = await receiver.count(1)
    assert arrived.event["eventUuid"] == uuid
