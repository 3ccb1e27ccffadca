"""R1: what an owner notices of another one's storm: many subscriptions, and requests with many events."""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence
from contextlib import suppress

import aiohttp
import msgspec

from benchmarks.machine import Machine
from benchmarks.receiver import receiver
from benchmarks.results import Check, Outcome, percentile
from benchmarks.service import Service
from benchmarks.source import plain_event, steadily

RATE = 20
"""Events a second of the one that is measured."""

SECONDS = 12.0
WARM_SECONDS = 2.0
SUBSCRIPTIONS = 300
EVENTS = 1000
"""The subscriptions of the other one, and the events of each of its requests: 300 000 deliveries."""

REQUESTS = 10
"""Requests a second that are made ready: more than the service takes."""

NOWHERE = "http://127.0.0.1:9/nothing"


async def beside_a_storm(machine: Machine) -> Outcome:
    """R1: the p99 alone, and beside another owner who posts one large request after the other."""
    alone: list[float] = []
    beside: list[float] = []
    for _ in range(machine.amount.rounds | 1):
        alone.append(await _p99(machine, storms=False))
        machine.done()
        beside.append(await _p99(machine, storms=True))
        machine.done()
    return Outcome(
        [
            Check(
                bar="R1",
                what=f"p99 at {RATE}/s beside an owner's requests of {EVENTS} events for {SUBSCRIPTIONS} subscriptions",
                unit="ms",
                measured=1000 * statistics.median(beside),
                floor=1000 * statistics.median(alone),
                most=1.5,
            )
        ]
    )


async def _p99(machine: Machine, *, storms: bool) -> float:
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
        for _ in range(SUBSCRIPTIONS if storms else 0):
            await service.subscribe(NOWHERE, owner="mallory", ordered=True)
        await steadily(amqp, RATE, WARM_SECONDS)
        await sink.arrived(int(RATE * WARM_SECONDS))
        seconds = machine.amount.seconds(SECONDS)
        bodies = _bodies(int(seconds * REQUESTS)) if storms else []
        storm = asyncio.create_task(_storm(service, bodies)) if storms else None
        await steadily(amqp, RATE, seconds)
        arrivals = await sink.arrived(int(RATE * seconds))
        if storm is not None:
            storm.cancel()
            with suppress(asyncio.CancelledError):
                await storm
        return percentile([arrival.latency for arrival in arrivals], 0.99)


def _bodies(count: int) -> list[bytes]:
    """So many requests: made before, because the sender would use the processors of the one that is measured."""
    return [msgspec.json.encode([_event(n) for n in range(EVENTS)]) for _ in range(count)]


async def _storm(service: Service, bodies: Sequence[bytes]) -> None:
    """Post until cancelled, also what is refused because too much waits."""
    for body in bodies:
        with suppress(aiohttp.ClientResponseError):
            await service.publish_json(body)
    raise RuntimeError(f"the storm ended after {len(bodies)} requests; make more of them")


def _event(number: int) -> dict[str, object]:
    """One of a job of the other owner's own: two who publish about the same job wait for each other."""
    return plain_event(number) | {"owner": "mallory", "job_id": f"mallory-{number}"}
