"""P4: what healthy destinations notice while a tenth of the destinations accept and never answer."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence

from msgspec import Struct

from benchmarks.machine import Machine
from benchmarks.receiver import Arrival, Receiver, receiver
from benchmarks.results import Check, Outcome, Series, percentile
from benchmarks.service import Service
from benchmarks.source import plain_event, steadily
from dispatcher.client import Publisher

DESTINATIONS = 50
HANGING = DESTINATIONS // 10
HEALTHY = DESTINATIONS - HANGING
RATE = 10
"""Events a second, each to every destination, while the latency is measured."""

WARM_SECONDS = 4.0
SECONDS = 6.0
BURST = 120
"""Events at once, each to every destination, while the throughput is measured."""

SHARES = [share / 1000 for share in (*range(0, 980, 20), *range(980, 1000, 2), 999)]


class Figure(Struct, frozen=True):
    """Of the healthy destinations: latencies in seconds, with when they were seen, and deliveries a second."""

    latencies: Sequence[tuple[float, float]]
    rate: float

    @property
    def p99(self) -> float:
        """Seconds."""
        return percentile([latency for _, latency in self.latencies], 0.99)


async def some_hang(machine: Machine) -> Outcome:
    """P4: a service for each measurement, so that none inherits what another left behind."""
    calm: list[Figure] = []
    troubled: list[Figure] = []
    for _ in range(rounds(machine)):
        calm.append(await _measure(machine, 0))
        machine.done()
        troubled.append(await _measure(machine, HANGING))
        machine.done()
    hold = f"{HANGING} of {DESTINATIONS} destinations hang"
    return Outcome(
        [
            Check(
                bar="P4",
                what=f"{hold}: the others' p99 at {RATE * DESTINATIONS} deliveries/s",
                unit="ms",
                measured=1000 * statistics.median(figure.p99 for figure in troubled),
                floor=1000 * statistics.median(figure.p99 for figure in calm),
                most=1.5,
            ),
            Check(
                bar="P4",
                what=f"{hold}: the others' throughput",
                unit="deliveries/s",
                measured=statistics.median(figure.rate for figure in troubled),
                floor=statistics.median(figure.rate for figure in calm),
                least=0.9,
            ),
        ],
        plots={
            "hanging": [_distribution("none hangs", calm), _distribution(hold, troubled)],
            "hanging-time": [_over_time("none hangs", calm), _over_time(hold, troubled)],
        },
    )


def rounds(machine: Machine) -> int:
    """How often: an odd number, so that one stall of the disk, which makes the p99 of a round, does not decide."""
    return machine.amount.rounds | 1


async def _measure(machine: Machine, hanging: int) -> Figure:
    amqp = await machine.rabbitmq.create_vhost()
    database = await machine.postgresql.create_database()
    hosts = [f"127.0.1.{number}" for number in range(1, DESTINATIONS + 1)]
    async with (
        receiver(hosts, hanging=hanging) as sink,
        # What hangs at the end is not waited for.
        Service(
            amqp_url=amqp, database_url=database, workers=machine.amount.workers, delivery_grace="1"
        ) as service,
    ):
        await service.subscribe(*sink.urls)
        await _steadily(sink, amqp, machine.amount.seconds(WARM_SECONDS))
        latencies = await _steadily(sink, amqp, machine.amount.seconds(SECONDS))
        began = min(arrival.at for arrival in latencies)
        return Figure(
            [(arrival.at - began, arrival.latency) for arrival in latencies],
            await _burst(sink, amqp, machine.amount.count(BURST)),
        )


async def _steadily(sink: Receiver, amqp: str, seconds: float) -> Sequence[Arrival]:
    """What arrived at the healthy ones."""
    await sink.take()
    await steadily(amqp, RATE, seconds)
    return await sink.arrived(int(RATE * seconds) * HEALTHY, of=HEALTHY)


async def _burst(sink: Receiver, amqp: str, events: int) -> float:
    """Deliveries a second to the healthy ones, from the first to the last."""
    async with Publisher.amqp(amqp) as publisher:
        await publisher.publish_many(plain_event(number) for number in range(events))
    arrivals = await sink.arrived(events * HEALTHY, of=HEALTHY)
    return len(arrivals) / (max(a.at for a in arrivals) - min(a.at for a in arrivals))


def _distribution(label: str, figures: Sequence[Figure]) -> Series:
    """Latency in ms by percentile."""
    latencies = [latency for figure in figures for _, latency in figure.latencies]
    return Series(label, [(100 * share, 1000 * percentile(latencies, share)) for share in SHARES])


def _over_time(label: str, figures: Sequence[Figure]) -> Series:
    """The p99 of each half second, in ms."""
    by_time: defaultdict[float, list[float]] = defaultdict(list)
    for figure in figures:
        for at, latency in figure.latencies:
            by_time[at // 0.5 / 2].append(latency)
    return Series(label, [(at, 1000 * percentile(by_time[at], 0.99)) for at in sorted(by_time)])
