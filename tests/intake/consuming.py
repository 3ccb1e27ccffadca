"""A consumer on a real broker, with an intake behind it that stores in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
from aio_pika.abc import AbstractIncomingMessage

from dispatcher.client import Publisher
from dispatcher.intake.amqp.consumer import Consumer
from dispatcher.intake.amqp.topology import Topology
from dispatcher.telemetry.metrics import DEAD_LETTERS
from tests.intake.doubles import Running

EXCHANGE, QUEUE = "dispatcher.events", "dispatcher.intake"
DEAD = f"{QUEUE}.dead"


class Consuming(Running):
    """An intake with a consumer before it, both running while it is entered."""

    def __init__(self, url: str, *, prefetch: int = 100, check_every: float = 30, **topology: Any) -> None:
        super().__init__()
        self.url = url
        self.consumer = Consumer(
            url,
            Topology(**({"exchange": EXCHANGE, "queue": QUEUE} | topology)),
            prefetch=prefetch,
            intake=self.intake,
            check_every=check_every,
        )

    async def __aenter__(self) -> Consuming:
        await super().__aenter__()
        self.consuming = asyncio.create_task(self.consumer.run())
        await until(lambda: self.consumer.error is None or self.consuming.done())
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.consumer.stop(5)
        await super().__aexit__(*exc)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - some states send no notification
            await asyncio.sleep(0.01)


@asynccontextmanager
async def channel(url: str) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
    async with await aio_pika.connect(url) as connection:
        yield await connection.channel()


async def publish(url: str, *events: str) -> None:
    async with Publisher.amqp(url) as publisher:
        await publisher.publish_many(plain(name) for name in events)


def plain(name: str) -> dict[str, object]:
    return {"event": "RUNNING", "job_id": "job-1", "id": name}


async def send(url: str, body: bytes, routing_key: str = "any", **message: Any) -> None:
    async with channel(url) as opened:
        exchange = await opened.get_exchange(EXCHANGE)
        await exchange.publish(aio_pika.Message(body, **message), routing_key)


async def waiting(url: str, queue: str = QUEUE) -> int:
    """Messages in a queue that no consumer has."""
    async with channel(url) as opened:
        return (await opened.declare_queue(queue, passive=True)).declaration_result.message_count or 0


async def consumers(url: str) -> int:
    async with channel(url) as opened:
        return (await opened.declare_queue(QUEUE, passive=True)).declaration_result.consumer_count or 0


async def dead(url: str, count: int = 1) -> list[AbstractIncomingMessage]:
    """So many dead letters, taken from their queue."""
    found: list[AbstractIncomingMessage] = []
    async with asyncio.timeout(30), channel(url) as opened:
        queue = await opened.declare_queue(DEAD, passive=True)
        while len(found) < count:
            message = await queue.get(fail=False, no_ack=True)
            if message is None:
                await asyncio.sleep(0.02)
            else:
                found.append(message)
        assert await queue.get(fail=False) is None
    return found


def dead_letters(reason: str) -> float:
    return DEAD_LETTERS.labels(reason)._value.get()  # type: ignore[no-any-return]  # the library does not say
