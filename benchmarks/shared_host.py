"""R2: what a subscriber notices of another one's failing or hanging path on the same host."""

from __future__ import annotations

import statistics
from typing import Literal

from benchmarks.machine import Machine
from benchmarks.receiver import receiver
from benchmarks.results import Check, Outcome, percentile
from benchmarks.service import Service
from benchmarks.source import plain_event, steadily

RATE = 20
"""Events a second of the one that is measured."""

SECONDS = 12.0
WARM_SECONDS = 2.0
FLOOD = 500
"""Events of the other one, all at once when the measurement begins."""

Path = Literal["fails", "hangs"]


async def beside_a_failing_path(machine: Machine) -> Outcome:
    """R2: the p99 alone, beside a path that answers 500, and beside one that never answers."""
    alone: list[float] = []
    beside: dict[Path, list[float]] = {"fails": [], "hangs": []}
    for _ in range(machine.amount.rounds | 1):
        alone.append(await _p99(machine, None))
        machine.done()
        for path, found in beside.items():
            found.append(await _p99(machine, path))
            machine.done()
    return Outcome(
        [
            Check(
                bar="R2",
                what=f"p99 at {RATE}/s while another subscriber's path of the same host {path}",
                unit="ms",
                measured=1000 * statistics.median(found),
                floor=1000 * statistics.median(alone),
                most=1.5,
            )
            for path, found in beside.items()
        ]
    )


async def _p99(machine: Machine, path: Path | None) -> float:
    """Seconds. TimeoutError when not everything arrives."""
    amqp = await machine.rabbitmq.create_vhost()
    database = await machine.postgresql.create_database()
    async with (
        receiver() as sink,
        Service(
            amqp_url=amqp, database_url=database, workers=machine.amount.workers, delivery_grace="1"
        ) as service,
    ):
        [url] = sink.urls
        await service.subscribe_as("alice", url)
        await service.subscribe_as("mallory", f"{url}/{path or 'nothing'}")
        await steadily(amqp, RATE, WARM_SECONDS)
        await sink.arrived(int(RATE * WARM_SECONDS))
        if path is not None:
            await service.publish([plain_event(n) | {"owner": "mallory"} for n in range(FLOOD)])
        seconds = machine.amount.seconds(SECONDS)
        await steadily(amqp, RATE, seconds)
        arrivals = await sink.arrived(int(RATE * seconds))
        return percentile([arrival.latency for arrival in arrivals], 0.99)
