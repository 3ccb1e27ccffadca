"""What the steps of taking in one event cost this process, in µs of CPU: `python -m benchmarks.intake_steps`.

Events come from a RabbitMQ and go into a private PostgreSQL; the least of several rounds counts, because whatever
else the machine does only adds. The floor of reading takes the same bytes off a socket and does nothing with them;
that of the whole way also decodes each body once, and sends its bytes and two ids to PostgreSQL.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import multiprocessing
import time
from collections.abc import Awaitable, Callable, Sequence
from multiprocessing.connection import Connection
from typing import NamedTuple

import asyncpg
import msgspec
import uvloop
from aiormq.abc import DeliveredMessage
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.frame import marshal
from pamqp.header import ContentHeader
from rich.console import Console
from rich.table import Table

from benchmarks.database import opened
from benchmarks.source import document, plain_event
from dispatcher.client import Publisher
from dispatcher.domain.deliveries import OpenDelivery
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.ids import new_id
from dispatcher.domain.jobs import project
from dispatcher.domain.subscriptions import EVERY_OWNER, Subscription, event_match_keys
from dispatcher.intake.amqp.connection import connect
from dispatcher.intake.amqp.consumer import Consumer
from dispatcher.intake.amqp.frame_reader import FrameReader
from dispatcher.intake.amqp.message import AmqpMessage, read_message
from dispatcher.intake.amqp.topology import Topology, prepare
from dispatcher.intake.batcher import Batcher
from dispatcher.intake.committer import Committer
from dispatcher.intake.decode import decode
from dispatcher.intake.ingest_queue import IngestQueue
from dispatcher.intake.matcher import Matcher
from dispatcher.process import COLLECT
from dispatcher.store.batches import digest
from dispatcher.store.store import Store
from tests.factories import make_event, make_subscription
from tests.servers import PostgreSQL, RabbitMQ

EXCHANGE, QUEUE = "dispatcher.events", "dispatcher.intake"
BATCH = 500
DOCUMENT = document()


class Step(NamedTuple):
    """One step and what it costs (µs an event)."""

    name: str
    cost: float


class Bench:
    """Measures steps; each round takes `count` events."""

    def __init__(self, count: int, rounds: int) -> None:
        self.count = count
        self.rounds = rounds

    def call(self, name: str, function: Callable[[], object], events: int = BATCH) -> Step:
        """A step that waits for nothing, and handles so many events in one go."""
        costs = []
        for _ in range(self.rounds * 3):
            began = time.process_time()
            function()
            costs.append(time.process_time() - began)
        return Step(name, min(costs) / events * 1e6)

    async def wait(self, name: str, function: Callable[[], Awaitable[float]]) -> Step:
        """A step that tells what `count` events cost it (seconds)."""
        return Step(name, min([await function() for _ in range(self.rounds)]) / self.count * 1e6)


class Deliverer:
    """Makes deliveries and tries none of them; `done` when so many are stored."""

    def __init__(self, lease_id: int, count: int) -> None:
        self.lease_id = lease_id
        self._left = count
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def wait_for_capacity(self, matches: Sequence[tuple[Event, Subscription]]) -> None:
        """At once."""

    def reserve_slots(self, matches: Sequence[tuple[Event, Subscription]]) -> list[OpenDelivery]:
        return [OpenDelivery(new_id("dlv"), event, one, self.lease_id) for event, one in matches]

    def enqueue(self, deliveries: Sequence[OpenDelivery]) -> None:
        self._left -= len(deliveries)
        if self._left <= 0:
            self.done.set_result(None)

    def cancel_reservations(self, deliveries: Sequence[OpenDelivery]) -> None:
        """Nothing was promised."""


class _Counting(asyncio.Protocol):
    """Takes so many bytes off the socket; they go to `frames`, or nowhere."""

    def __init__(self, size: int, frames: FrameReader | None) -> None:
        self._left = size
        self._feed = frames.feed_data if frames else lambda _: None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self._feed(data)
        self._left -= len(data)
        if not self._left:
            self.done.set_result(None)


def wire(count: int) -> bytes:
    """What a broker sends for so many events."""
    frames = []
    for number in range(count):
        body = msgspec.json.encode(plain_event(number))
        properties = Basic.Properties(
            content_type="application/json", delivery_mode=2, message_id=f"m-{number}"
        )
        head = ContentHeader(properties=properties, body_size=len(body))
        deliver = Basic.Deliver("ctag1.0123456789abcdef", number + 1, False, EXCHANGE, "job.RUNNING")
        frames += [marshal(deliver, 1), marshal(head, 1), marshal(ContentBody(body), 1)]
    return b"".join(frames)


def _serve(port: Connection, count: int) -> None:
    """Send that to everybody who connects."""
    sent = wire(count)

    async def send(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        await writer.drain()

    async def run() -> None:
        server = await asyncio.start_server(send, "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(run())


async def read(port: int, size: int, *, frames: bool) -> float:
    """Seconds of CPU to read that, and to take the messages out of it or not."""
    loop = asyncio.get_running_loop()
    reader = FrameReader(loop) if frames else None
    if reader is not None:
        reader.intercept(1, lambda _: None)
    began = time.process_time()
    transport, protocol = await loop.create_connection(lambda: _Counting(size, reader), "127.0.0.1", port)
    await protocol.done
    taken = time.process_time() - began
    transport.close()
    return taken


async def publish(url: str, count: int) -> None:
    """Fill the queue with so many events."""
    async with await connect(url, "steps") as connection:
        await prepare(connection, Topology(exchange=EXCHANGE, queue=QUEUE))
    async with Publisher.amqp(url) as publisher:
        await publisher.publish_many(plain_event(number) for number in range(count))


async def read_with_library(url: str, count: int) -> float:
    """Seconds of CPU to read a queue of so many messages with the library alone."""
    await publish(url, count)
    left, done = count, asyncio.get_running_loop().create_future()

    async def take(_: DeliveredMessage) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set_result(None)

    async with await connect(url, "steps") as connection:
        channel = await (await connection.channel(publisher_confirms=False)).get_underlay_channel()
        began = time.process_time()
        await channel.basic_consume(QUEUE, take, no_ack=True)
        await done
        return time.process_time() - began


async def take_in(url: str, count: int, store: Store) -> float:
    """Seconds of CPU from the queue to the store."""
    await publish(url, count)
    deliverer = Deliverer(await store.leases.register("bench", 1, 600), count)
    intake = IngestQueue()
    batcher = Batcher(intake, Committer(Matcher(store), deliverer, store.events))
    consumer = Consumer(url, Topology(exchange=EXCHANGE, queue=QUEUE), prefetch=1000, intake=intake)
    running = asyncio.gather(batcher.run(), consumer.run())
    began = time.process_time()
    await deliverer.done
    taken = time.process_time() - began
    await consumer.stop(5)
    await batcher.stop(5)
    await running
    return taken


async def _floor(bench: Bench, url: str) -> Step:
    """Decode each body, and send it with two ids to PostgreSQL in one array a column."""
    bodies = [msgspec.json.encode(plain_event(number)) for number in range(BATCH)]
    ids = [new_id("evt")[4:] for _ in bodies]
    connection = await asyncpg.connect(url)
    sent = await connection.prepare("select count(*) from unnest($1::uuid[], $2::uuid[], $3::bytea[])")

    async def once() -> float:
        began = time.process_time()
        for _ in range(bench.count // BATCH):
            for body in bodies:
                msgspec.json.decode(body)
            await sent.fetchval(ids, ids, bodies)
        return time.process_time() - began

    try:
        return await bench.wait("the whole way: floor, beside that of reading", once)
    finally:
        await connection.close()


def _made(bench: Bench) -> list[Step]:
    """What is made of messages in memory."""
    messages: list[AmqpMessage] = []
    reader = FrameReader(asyncio.get_running_loop())
    reader.intercept(1, messages.extend)
    reader.feed_data(wire(BATCH))
    now = utc_now()
    events = [decode(one, default_tenant="default", tenant_fixed=False, now=now)[0] for one in messages]
    subscription = make_subscription(owner=EVERY_OWNER)
    return [
        bench.call(
            "of that, the properties",
            lambda: [read_message(one.envelope, one.header, one.body) for one in messages],
        ),
        bench.call(
            "decode, check, make the document and an id",
            lambda: [decode(one, default_tenant="default", tenant_fixed=False, now=now) for one in messages],
        ),
        bench.call("match keys", lambda: [event_match_keys(one) for one in events]),
        bench.call(
            "make the deliveries",
            lambda: [OpenDelivery(new_id("dlv"), one, subscription, 1) for one in events],
        ),
        bench.call("digest", lambda: [digest(one) for one in events]),
        bench.call("project the jobs", lambda: project(events)),
    ]


async def _stored(bench: Bench, store: Store) -> Step:
    """Hand batches to the store that it has not seen."""
    lease_id, subscription = (
        await store.leases.register("bench", 1, 600),
        make_subscription(owner=EVERY_OWNER),
    )
    await store.subscriptions.add(subscription)

    async def once() -> float:
        taken = 0.0
        for _ in range(bench.count // BATCH):
            events = [make_event(job_id=new_id("evt"), document=DOCUMENT) for _ in range(BATCH)]
            new = [OpenDelivery(new_id("dlv"), one, subscription, 1) for one in events]
            began = time.process_time()
            await store.events.accept(lease_id, events, new)
            taken += time.process_time() - began
        return taken

    return await bench.wait("store, with its project and digest", once)


async def measure(bench: Bench, rabbitmq: RabbitMQ, postgresql: PostgreSQL, port: int) -> list[Step]:
    """All steps; the server at this port sends `count` messages to each client that connects."""
    amqp, database = await rabbitmq.create_vhost(), await postgresql.create_database()
    size = len(wire(bench.count))
    steps = [
        await bench.wait("read: floor", lambda: read(port, size, frames=False)),
        await bench.wait("read, with the properties: ours", lambda: read(port, size, frames=True)),
        await bench.wait("read: aiormq, for comparison", lambda: read_with_library(amqp, bench.count)),
        *_made(bench),
    ]
    async with opened(database) as store:
        steps.append(await _stored(bench, store))
        steps.append(await _floor(bench, database))
        steps.append(
            await bench.wait(
                "the whole way, from the queue to the store", lambda: take_in(amqp, bench.count, store)
            )
        )
    return steps


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.intake_steps", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--count", type=int, default=10_000, help="events of a round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default: %(default)s)")
    chosen = parser.parse_args()
    gc.set_threshold(*COLLECT)
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(
        target=_serve, args=(theirs, chosen.count), daemon=True
    )
    server.start()
    try:
        with RabbitMQ() as rabbitmq, PostgreSQL() as postgresql:
            bench = Bench(chosen.count, chosen.rounds)
            steps = uvloop.run(measure(bench, rabbitmq, postgresql, ours.recv()))
    finally:
        server.kill()
    table = Table("step", "µs of CPU an event")
    for step in steps:
        table.add_row(step.name, f"{step.cost:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
