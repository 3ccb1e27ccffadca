"""P1, P2, P7: deliveries a second against `bare`, and what each costs; with how many deliveries an event causes."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise

import aio_pika
from msgspec import Struct

from benchmarks.cpu import Meter
from benchmarks.database import connected, until
from benchmarks.machine import Machine, processes, program
from benchmarks.results import Check, Cost, Outcome, Series
from benchmarks.service import Service
from benchmarks.source import document, plain_event
from dispatcher.client import Publisher
from dispatcher.intake.amqp.topology import Topology, prepare

CONNECTIONS = 64
FLOOR = 12_000
EVENTS = 12_000
DELIVERIES = 24_000
SETTLED = "select count(*) from deliveries where ended_at is not null"
TOGETHER = 20
"""Events in one request, where a publisher has several."""

FAN_OUT = (1, 2, 5, 10, 20)


class Figure(Struct, frozen=True):
    """Deliveries a second, and µs of CPU that one cost each process."""

    rate: float
    cpu: dict[str, float]


async def bare(machine: Machine) -> Figure:
    """The floor, in a separate process."""
    count = machine.amount.count(FLOOR, 2000)
    async with program("bare", machine.sink, str(count)) as process:
        output, _ = await process.communicate(document())
    rate, cpu = map(float, output.split())
    return Figure(rate, {"bare": cpu})


async def from_broker(
    machine: Machine,
    events: int,
    subscriptions: int,
    workers: int,
    event: Callable[[int], Mapping[str, object]] = plain_event,
) -> Figure:
    """From a queue that is full when the service starts to consume; `event` makes one of its number."""
    amqp = await machine.rabbitmq.create_vhost()
    await _declare(amqp)
    database = await machine.postgresql.create_database(await _template(machine, subscriptions))
    async with Publisher.amqp(amqp) as publisher:
        await publisher.publish_many(map(event, range(events)))
    deliveries, before = events * subscriptions, machine.nginx.requests()
    async with connected(database) as connection:
        # Nothing can be stored until every process is ready.
        hold = connection.transaction()
        await hold.start()
        await connection.execute("lock table jobs in share mode")
        async with Service(amqp_url=amqp, database_url=database, workers=workers) as service:
            meter = _meter(machine, service)
            await hold.rollback()
            rate = await _rate(machine, before, deliveries)
            await until(connection, SETTLED, deliveries)
            figure = Figure(rate, meter.each(deliveries))
    await machine.postgresql.drop_database(database)
    await machine.rabbitmq.delete_vhost(amqp)
    return figure


async def _declare(amqp: str) -> None:
    """Make exchange and queue as the service does."""
    async with await aio_pika.connect(amqp) as connection:
        await prepare(connection, Topology(exchange="dispatcher.events", queue="dispatcher.intake"))


async def _template(machine: Machine, subscriptions: int) -> str:
    """A database with so many subscriptions of the sink, without open connections."""
    if subscriptions not in machine.templates:
        url = await machine.postgresql.create_database()
        async with Service(database_url=url) as service:
            await service.subscribe(*[machine.sink] * subscriptions)
        machine.templates[subscriptions] = url
    return machine.templates[subscriptions]


async def embedded(machine: Machine, together: int) -> Figure:
    """On SQLite, while 64 clients post so many events each in a request."""
    events = machine.amount.count(6000 if together == 1 else 24_000)
    async with Service() as service:
        await service.subscribe(machine.sink)
        left, before = iter(range(0, events, together)), machine.nginx.requests()

        async def post() -> None:
            for first in left:
                numbers = range(first, min(first + together, events))
                await service.publish([plain_event(number) for number in numbers])

        meter = _meter(machine, service)
        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(post())
            rate = await _rate(machine, before, events)
        while await service.delivered() < events:  # noqa: ASYNC110 - another process counts
            await asyncio.sleep(0.05)
        return Figure(rate, meter.each(events))


def _meter(machine: Machine, service: Service) -> Meter:
    return Meter({"Dispatcher": service.process.pid, **machine.pids})


async def _rate(machine: Machine, before: int, count: int) -> float:
    """Deliveries a second between the first that was seen at the sink and the last."""
    began, first, asked = 0.0, 0, 0
    while True:
        asked += 1
        done, now = machine.nginx.requests() - before - asked, time.perf_counter()
        if done >= count:
            return (done - first) / (now - began)
        if done and not began:
            began, first = now, done
        await asyncio.sleep(0.05)


async def compare(
    machine: Machine, rounds: int, measure: Callable[[], Awaitable[Figure]]
) -> tuple[Figure, Figure]:
    """The medians of the floor and of what is measured, taken in turn."""
    floors, figures = [await bare(machine)], []
    for _ in range(rounds):
        figures.append(await measure())
        floors.append(await bare(machine))
        machine.done()
    return _median(floors), _median(figures)


def _median(figures: Sequence[Figure]) -> Figure:
    cpu = {name: statistics.median(figure.cpu[name] for figure in figures) for name in figures[0].cpu}
    return Figure(statistics.median(figure.rate for figure in figures), cpu)


async def one_subscription(machine: Machine) -> Outcome:
    """P1."""
    return await _from_broker(machine, "P1", 1, "events/s", 0.45)


async def ten_subscriptions(machine: Machine) -> Outcome:
    """P2."""
    return await _from_broker(machine, "P2", 10, "deliveries/s", 0.75)


async def _from_broker(machine: Machine, bar: str, subscriptions: int, unit: str, least: float) -> Outcome:
    """With as many processes as asked for, which is held against the bar; and once with one for comparison."""
    amount = machine.amount
    events = amount.count(min(EVENTS, DELIVERIES // subscriptions))
    checks: list[Check] = []
    costs: list[Cost] = []
    for workers in dict.fromkeys((amount.workers, 1)):
        held = workers == amount.workers
        measure = partial(from_broker, machine, events, subscriptions, workers)
        floor, figure = await compare(machine, amount.rounds if held else 1, measure)
        number = "one subscription" if subscriptions == 1 else f"{subscriptions} subscriptions"
        what = f"{number} an event, {processes(workers)}"
        checks.append(
            Check(
                bar=bar,
                what=what,
                unit=unit,
                measured=figure.rate,
                floor=floor.rate,
                least=least if held else None,
            )
        )
        costs.append(Cost(bar, what, figure.cpu | floor.cpu))
    return Outcome(checks, costs)


async def without_servers(machine: Machine) -> Outcome:
    """P7."""
    checks: list[Check] = []
    costs: list[Cost] = []
    for together, words, least in ((1, "one at a time", 0.25), (TOGETHER, f"{TOGETHER} in a request", None)):
        rounds = machine.amount.rounds if least is not None else 1
        floor, figure = await compare(machine, rounds, partial(embedded, machine, together))
        what = f"embedded: SQLite, events by HTTP {words}"
        check = Check(
            bar="P7", what=what, unit="deliveries/s", measured=figure.rate, floor=floor.rate, least=least
        )
        checks.append(check)
        costs.append(Cost("P7", what, figure.cpu | floor.cpu))
    return Outcome(checks, costs)


async def fan_out(machine: Machine) -> Outcome:
    """How the rate grows with the deliveries of an event: for the plot, once each."""
    points: list[tuple[float, float]] = []
    floors = [await bare(machine)]
    for subscriptions in FAN_OUT:
        events = machine.amount.count(min(EVENTS, DELIVERIES // subscriptions) // 2)
        figure = await from_broker(machine, events, subscriptions, machine.amount.workers)
        points.append((subscriptions, figure.rate))
        floors.append(await bare(machine))
        machine.done()
    beside = [(a.rate + b.rate) / 2 for a, b in pairwise(floors)]
    lines = [
        Series(f"Dispatcher, {processes(machine.amount.workers)}", points),
        Series("bare, before and after", list(zip(FAN_OUT, beside, strict=True))),
    ]
    return Outcome([], plots={"fan-out": lines})
