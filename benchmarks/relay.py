"""The floor of latency: publish, consume, POST, and nothing is stored. `python -m benchmarks.relay AMQP_URL URL`.

A plain aio-pika consumer on the same kind of queue, with a plain aiohttp client; each message is acknowledged when
it was answered. Prints `ready` when it consumes.
"""

from __future__ import annotations

import asyncio
import sys

import aio_pika
import aiohttp
import uvloop
from aio_pika.abc import AbstractIncomingMessage

from dispatcher.intake.amqp.topology import Topology, prepare

QUEUE = "dispatcher.intake"


async def _relay(amqp_url: str, url: str) -> None:
    async with await aio_pika.connect(amqp_url) as connection, aiohttp.ClientSession() as session:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=1000)
        await prepare(connection, Topology(exchange="dispatcher.events", queue=QUEUE))

        async def post(message: AbstractIncomingMessage) -> None:
            async with session.post(url, data=message.body) as answer:
                await answer.read()
            await message.ack()

        await (await channel.get_queue(QUEUE)).consume(post)
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_relay(sys.argv[1], sys.argv[2]))
