"""P3: from publishing to the receiver, at a steady rate, against a relay that stores nothing."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.cpu import Meter
from benchmarks.machine import Machine, program
from benchmarks.receiver import Receiver, receiver
from benchmarks.results import Check, Cost, Outcome, percentile
from benchmarks.service import Service
from benchmarks.source import steadily

RATE = 300
SECONDS = 8.0


class Delay(NamedTuple):
    """Seconds from when an event was due to the receiver."""

    half: float
    p99: float


async def steady(machine: Machine) -> Outcome:
    """P3. Relay and service run side by side, each with its own virtual host, and are loaded in turn."""
    for_relay, for_service = [await machine.rabbitmq.create_vhost() for _ in range(2)]
    database = await machine.postgresql.create_database()
    relayed: list[Delay] = []
    delivered: list[Delay] = []
    async with (
        receiver() as sink,
        program("relay", for_relay, sink.urls[0]) as relay,
        Service(amqp_url=for_service, database_url=database, workers=machine.amount.workers) as service,
    ):
        assert relay.stdout is not None
        await relay.stdout.readline()
        await service.subscribe(sink.urls[0])
        for url in (for_relay, for_service):
            await _load(sink, url, 1.0)
        meter = Meter({"Dispatcher": service.process.pid, "relay": relay.pid, **machine.pids})
        seconds = machine.amount.seconds(SECONDS)
        for _ in range(machine.amount.rounds):
            relayed.append(await _load(sink, for_relay, seconds))
            delivered.append(await _load(sink, for_service, seconds))
            machine.done()
        costs = meter.each(int(machine.amount.rounds * seconds * RATE))
    return Outcome(
        [
            _check("p99", [delay.p99 for delay in relayed], [delay.p99 for delay in delivered], most=3.0),
            _check(
                "median", [delay.half for delay in relayed], [delay.half for delay in delivered], most=None
            ),
        ],
        [Cost("P3", f"an event at {RATE} events/s", costs)],
    )


async def _load(sink: Receiver, url: str, seconds: float) -> Delay:
    await sink.take()
    await steadily(url, RATE, seconds)
    arrivals = await sink.arrived(int(RATE * seconds))
    latencies = [arrival.latency for arrival in arrivals]
    return Delay(percentile(latencies, 0.5), percentile(latencies, 0.99))


def _check(which: str, floors: Sequence[float], figures: Sequence[float], most: float | None) -> Check:
    return Check(
        bar="P3",
        what=f"publish to receiver at {RATE} events/s, {which}",
        unit="ms",
        measured=1000 * statistics.median(figures),
        floor=1000 * statistics.median(floors),
        most=most,
    )
