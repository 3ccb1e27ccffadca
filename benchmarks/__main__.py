"""Measures the service against its floor and prints a table: `python -m benchmarks --help`.

Every figure is a ratio to `bare`, a plain client loop against the same sink, measured before and after it in the same
run: these ratios hold on a noisy machine where times alone do not.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import NamedTuple

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.cpu import cpu_seconds
from benchmarks.service import Service
from dispatcher.client import Publisher
from tests.servers import Nginx, PostgreSQL, RabbitMQ

CONNECTIONS = 64


class Bar(NamedTuple):
    """One thing that is measured: its name, what it is, and the least ratio to the floor."""

    name: str
    what: str
    least: float


P1 = Bar("P1", "one subscription an event, events/s", 0.45)
P2 = Bar("P2", "ten subscriptions an event, deliveries/s", 0.75)
P7 = Bar("P7", "embedded: SQLite, events by HTTP, deliveries/s", 0.25)


class Figure(NamedTuple):
    """What one measurement gave: deliveries a second, and µs of CPU that a delivery cost each process."""

    rate: float
    cpu: Mapping[str, float]


class Machine:
    """The servers of one run."""

    def __init__(self, rabbitmq: RabbitMQ, postgresql: PostgreSQL, nginx: Nginx) -> None:
        self.rabbitmq = rabbitmq
        self.postgresql = postgresql
        self.pids = {"RabbitMQ": rabbitmq.pid, "PostgreSQL": postgresql.pid, "nginx": nginx.pid}
        self.sink = f"{nginx.url}/hook"


def plain_event(number: int) -> dict[str, object]:
    """A job event as a job service would publish it."""
    return {
        "event": "RUNNING",
        "job_id": f"0001414144065563-5056a550b8-{number:06d}-007",
        "id": f"bench-{time.time_ns()}-{number}",
        "owner": "alice",
        "message": "Job started running",
        "job": {
            "name": f"demo-pyplot {number}",
            "appId": "demo-pyplot-advanced",
            "executionSystem": "stampede",
        },
    }


def document() -> bytes:
    """A body of the size of those that the service sends."""
    event = plain_event(1)
    head = {"specversion": "1.0", "source": "/jobs", "type": "job.RUNNING", "subject": event["job_id"]}
    rest = {"id": event["id"], "time": "2026-01-01T00:00:00.000000Z", "owner": "alice", "tenant": "default"}
    return msgspec.json.encode(head | rest | {"data": event})


async def bare(machine: Machine, count: int) -> float:
    """Requests a second of the floor, in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.bare", machine.sink, str(count)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate(document())
    return float(output)


async def from_broker(machine: Machine, events: int, subscriptions: int) -> Figure:
    """Deliveries a second from a queue that is full when the service starts to consume."""
    amqp = await machine.rabbitmq.create_vhost()
    database = await machine.postgresql.create_database()
    async with Service(amqp_url=amqp, database_url=database) as service:
        await service.subscribe(machine.sink, subscriptions)
    async with Publisher.amqp(amqp) as publisher:
        await publisher.publish_many(plain_event(n) for n in range(events))
    async with Service(amqp_url=amqp, database_url=database) as service:
        return await _measured(machine, service, events * subscriptions)


async def embedded(machine: Machine, events: int) -> Figure:
    """Deliveries a second on SQLite while 64 clients post one event each at a time."""
    async with Service() as service:
        await service.subscribe(machine.sink)
        left = iter(range(events))

        async def post() -> None:
            for number in left:
                await service.publish([plain_event(number)])

        posting = asyncio.gather(*(post() for _ in range(CONNECTIONS)))
        figure = await _measured(machine, service, events)
        await posting
        return figure


async def _measured(machine: Machine, service: Service, count: int) -> Figure:
    pids = {"Dispatcher": service.process.pid, **machine.pids}
    before = {name: cpu_seconds(pid) for name, pid in pids.items()}
    rate = await _rate(service, count)
    return Figure(rate, {name: 1e6 * (cpu_seconds(pid) - before[name]) / count for name, pid in pids.items()})


async def _rate(service: Service, count: int) -> float:
    """Deliveries a second between the first that was seen and the last."""
    began, first = 0.0, 0
    while True:
        done, now = await service.delivered(), time.perf_counter()
        if done and not began:
            began, first = now, done
        if done >= count:
            return (done - first) / (now - began)
        await asyncio.sleep(0.2)


async def compare(
    machine: Machine,
    rounds: int,
    floor_count: int,
    measure: Callable[[], Awaitable[Figure]],
    tick: Callable[[], None],
) -> tuple[float, Figure]:
    """The medians of the floor and of what is measured, taken in turn."""
    floors, figures = [await bare(machine, floor_count)], []
    for _ in range(rounds):
        figures.append(await measure())
        floors.append(await bare(machine, floor_count))
        tick()
    cpu = {name: statistics.median(figure.cpu[name] for figure in figures) for name in figures[0].cpu}
    return statistics.median(floors), Figure(statistics.median(figure.rate for figure in figures), cpu)


async def run(options: argparse.Namespace) -> list[tuple[Bar, float, Figure]]:
    """Start the servers and measure each bar."""
    scale, rounds, results = options.scale, options.rounds, []
    with (
        RabbitMQ() as rabbitmq,
        PostgreSQL() as postgresql,
        Nginx() as nginx,
        Progress(transient=True) as progress,
    ):
        machine = Machine(rabbitmq, postgresql, nginx)
        measures: dict[Bar, Callable[[], Awaitable[Figure]]] = {
            P1: lambda: from_broker(machine, int(15_000 * scale), 1),
            P2: lambda: from_broker(machine, int(3_000 * scale), 10),
            P7: lambda: embedded(machine, int(8_000 * scale)),
        }
        for bar, measure in measures.items():
            if options.only and bar.name not in options.only:
                continue
            task = progress.add_task(f"{bar.name} {bar.what}", total=rounds)
            floor, figure = await compare(
                machine,
                rounds,
                int(15_000 * scale),
                measure,
                partial(progress.advance, task),
            )
            results.append((bar, floor, figure))
    return results


def show(results: list[tuple[Bar, float, Figure]]) -> None:
    """Print the tables."""
    table = Table("", "what", "bare /s", "measured /s", "ratio", "bar", "verdict")
    for bar, floor, figure in results:
        ratio = figure.rate / floor
        verdict = "[green]met[/]" if ratio >= bar.least else f"[red]{ratio / bar.least - 1:.0%}[/]"
        table.add_row(
            bar.name,
            bar.what,
            f"{floor:,.0f}",
            f"{figure.rate:,.0f}",
            f"{ratio:.2f}",
            f"≥ {bar.least:.2f}",
            verdict,
        )
    Console().print(table)
    processes = list(results[0][2].cpu) if results else []
    costs = Table("µs of CPU a delivery", *processes)
    for bar, _, figure in results:
        costs.add_row(bar.name, *(f"{figure.cpu[name]:,.0f}" for name in processes))
    Console().print(costs)


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured; the median counts")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="how many events, as a share of the usual number"
    )
    parser.add_argument("--only", nargs="*", metavar="P", help="which: P1 P2 P7")
    show(asyncio.run(run(parser.parse_args())))


if __name__ == "__main__":
    main()
