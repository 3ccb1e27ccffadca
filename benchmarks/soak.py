"""P8: three processes killed in turn, broker and database too, under load; what is lost or comes twice is counted.

Nothing is assumed: the source counts what the broker confirmed, the receiver what arrived, and the database is asked
what was claimed when something was killed. A repeat is allowed only of a delivery that was claimed then.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress

from msgspec import Struct

from benchmarks.database import connected
from benchmarks.machine import Machine
from benchmarks.receiver import Ids, Receiver, receiver
from benchmarks.results import Check, Outcome
from benchmarks.service import Service
from benchmarks.source import plain_event
from dispatcher.client import NotPublished, Publisher
from dispatcher.store.column_types import DELIVERED
from tests.servers import PostgreSQL, RabbitMQ

PROCESSES = 3
LEASE = 6
RATE = 150
"""Events a second."""

SUBSCRIPTIONS = 2
PAUSE = 1.0
"""Seconds between two faults."""

ANSWER = 0.2
"""Seconds that the receiver takes, so that a kill meets requests that have arrived and are not answered."""

PATIENCE = 90.0
"""Seconds after the last fault within which everything has to have arrived."""

SHORT = 30.0
"""Seconds in `make bench`."""

CLAIMED = "select id from deliveries where claimed_by is not null"
CLAIMED_BY = "select id from deliveries where claimed_by in (select id from processes where pid = $1)"
UNSETTLED = f"select count(*) from deliveries where state <> {DELIVERED}"  # noqa: S608 - a number of ours

Report = Callable[[str], object]


class Verdict(Struct, frozen=True, kw_only=True):
    """What is left when all is over.

    `lost` counts events that were confirmed and did not arrive with every subscription, `repeats` requests that came
    again, `unexplained` those of them whose delivery was not in flight at as many kills. `unsettled` deliveries are
    not `delivered` in the store.
    """

    published: int
    lost: int
    repeats: int
    in_flight: int
    unexplained: int
    unsettled: int
    faults: int


class _Load:
    """Publishes at a steady rate until it is ended, and again what the broker did not confirm."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = asyncio.Event()
        self._next = 0
        self.confirmed = 0

    async def run(self) -> None:
        """Publish a tenth of a second's events every tenth of a second."""
        while not self._stop.is_set():
            began = time.monotonic()
            await self._batch(RATE // 10)
            await asyncio.sleep(max(0.0, 0.1 - (time.monotonic() - began)))

    def end(self) -> None:
        """Publish no further batch."""
        self._stop.set()

    async def _batch(self, count: int) -> None:
        events = [plain_event(self._next + number) for number in range(count)]
        self._next += count
        while True:
            # Confirmed or not, all of it again with the same ids: what the broker had is reported as a repeat.
            with suppress(NotPublished):
                async with Publisher.amqp(self._url) as publisher:
                    await publisher.publish_many(events)
                    self.confirmed += count
                    return
            await asyncio.sleep(0.2)


class _Soak:
    """One run: the processes, and what was in flight whenever something was killed."""

    def __init__(
        self, rabbitmq: RabbitMQ, postgresql: PostgreSQL, database: str, services: Sequence[Service]
    ) -> None:
        self._rabbitmq = rabbitmq
        self._postgresql = postgresql
        self._database = database
        self._services = services
        self.in_flight: Counter[str] = Counter()
        self.faults = 0

    @property
    def steps(self) -> Sequence[tuple[str, Callable[[], Awaitable[None]]]]:
        """The faults, in their order."""
        kills = [(f"process {number + 1}", self._kill(one)) for number, one in enumerate(self._services)]
        return [*kills, ("broker", self._kill_broker), ("database", self._kill_database)]

    async def go_through(self, number: int, report: Report) -> None:
        """Let the fault with this number happen; they take turns."""
        name, fault = self.steps[number % len(self.steps)]
        report(f"killing {name}")
        await fault()
        self.faults += 1

    def _kill(self, service: Service) -> Callable[[], Awaitable[None]]:
        async def kill() -> None:
            pid = service.process.pid
            await service.kill()
            await self._note(CLAIMED_BY, pid)
            await service.start()

        return kill

    async def _kill_broker(self) -> None:
        await asyncio.to_thread(self._rabbitmq.kill)
        await self._rabbitmq.start_async()

    async def _kill_database(self) -> None:
        await asyncio.to_thread(self._postgresql.kill)
        await self._postgresql.start_async()
        await self._note(CLAIMED)

    async def _note(self, statement: str, *arguments: object) -> None:
        async with connected(self._database) as connection:
            found = await connection.fetch(statement, *arguments)
        self.in_flight.update(f"dlv_{row['id'].hex}" for row in found)


async def soak(rabbitmq: RabbitMQ, postgresql: PostgreSQL, seconds: float, report: Report) -> Verdict:
    """Run for so long, and until each fault has happened once; then wait for what is under way.

    Both servers are killed and started again. `report` is called with what happens. TimeoutError is not raised for
    what does not arrive: the verdict counts it.
    """
    amqp, database = await rabbitmq.create_vhost(), await postgresql.create_database()

    def service() -> Service:
        lease, timeout = str(LEASE), str(LEASE / 2)
        return Service(amqp_url=amqp, database_url=database, delivery_lease=lease, delivery_timeout=timeout)

    async with AsyncExitStack() as stack:
        sink = await stack.enter_async_context(receiver(delay=ANSWER))
        services = [await stack.enter_async_context(service()) for _ in range(PROCESSES)]
        await services[0].subscribe(*sink.urls * SUBSCRIPTIONS)
        await rabbitmq.remembers(amqp, "dispatcher.intake")
        running = _Soak(rabbitmq, postgresql, database, services)
        load = _Load(amqp)
        publishing = asyncio.create_task(load.run())
        await _faults(running, sink, seconds, report)
        load.end()
        await publishing
        report(f"waiting for {load.confirmed} events")
        ids, unsettled = await _rest(sink, database, load.confirmed)
    return _verdict(load.confirmed, ids, unsettled, running)


async def _faults(running: _Soak, sink: Receiver, seconds: float, report: Report) -> None:
    deadline, number = time.monotonic() + seconds, 0
    while number < len(running.steps) or time.monotonic() < deadline:
        await asyncio.sleep(PAUSE)
        await running.go_through(number, report)
        await sink.take()  # only the ids are wanted: an hour's arrivals would fill the memory
        number += 1
    await asyncio.sleep(PAUSE)


async def _rest(sink: Receiver, database: str, events: int) -> tuple[Ids, int]:
    """What has arrived, and how many deliveries are not settled, once all is well or patience has ended."""
    deadline = time.monotonic() + PATIENCE
    async with connected(database) as connection:
        while True:
            ids, unsettled = await sink.ids(), await connection.fetchval(UNSETTLED)
            if time.monotonic() > deadline or (ids.distinct >= events * SUBSCRIPTIONS and not unsettled):
                return ids, unsettled
            await asyncio.sleep(0.5)


def _verdict(published: int, ids: Ids, unsettled: int, running: _Soak) -> Verdict:
    unexplained = sum(max(0, again - running.in_flight[key]) for key, again in ids.repeats.items())
    arrived = sum(times >= SUBSCRIPTIONS for times in ids.deliveries)
    return Verdict(
        published=published,
        lost=published - arrived,
        repeats=sum(ids.repeats.values()),
        in_flight=running.in_flight.total(),
        unexplained=unexplained,
        unsettled=unsettled,
        faults=running.faults,
    )


async def kills(machine: Machine) -> Outcome:
    """P8, in its short form."""

    def report(_: str) -> None:
        machine.done()

    found = await soak(machine.rabbitmq, machine.postgresql, machine.amount.seconds(SHORT), report)
    what = (
        f"{found.faults} kills under load, {found.published:,} events, each with {SUBSCRIPTIONS} deliveries"
    )
    return Outcome(
        [
            Check(bar="P8", what=f"{what}: events lost", unit="events", measured=found.lost, most=0),
            Check(
                bar="P8",
                what="deliveries that came again, against those in flight at the kills",
                unit="deliveries",
                measured=found.repeats,
                floor=found.in_flight,
                most=1.0,
            ),
            Check(
                bar="P8",
                what="of these, not in flight when something was killed",
                unit="deliveries",
                measured=found.unexplained,
                most=0,
            ),
            Check(
                bar="P8",
                what="deliveries not settled in the end",
                unit="deliveries",
                measured=found.unsettled,
                most=0,
            ),
        ]
    )
