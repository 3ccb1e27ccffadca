"""A soak: two processes, an owner whose events are counted, one who means harm, and faults, for as long as you like.

Run as `python -m benchmarks.endurance MINUTES [--write] [--json FILE]`. Receivers go up and down in turn, all
connections of PostgreSQL are closed every minute, and every fifth time it is started again. What has ended is kept
for five minutes, so that tables can stay as large as they are. At the end nothing of the good owner may be missing,
and memory, files, tasks and tables may not have grown.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from benchmarks import soak_plot
from benchmarks.database import connected
from benchmarks.hostile_owner import HostileOwner
from benchmarks.receiver import Receiver, receiver
from benchmarks.samples import Growth, Sample, Sampler
from benchmarks.service import Service, end_on_sigterm
from benchmarks.source import plain_event
from dispatcher.client import Publisher
from tests.servers import PostgreSQL, RabbitMQ

PROCESSES = 2
RATE = 40
"""Events of the good owner each second; each goes to four subscriptions."""

KEPT_DAYS = "0.0035"
"""Five minutes."""

TABLES_STEADY = 900.0
"""Seconds: tables cannot be steady in the second quarter of a run that is shorter."""

FAULT_EVERY = 60.0
RESTART_EVERY = 5
"""Faults."""

PATIENCE = 180.0
"""Seconds after the end within which everything of the good owner has to have arrived."""

RETRY = {"strategy": "delayed", "delay": 2, "limit": 1000, "max_age": 86_400}

# Autovacuum has to keep up with tables that are renewed every few minutes.
SETTINGS = {"autovacuum_naptime": "5s", "autovacuum_vacuum_cost_delay": "0"}

Report = Callable[[str], object]


class Verdict(Struct, frozen=True, kw_only=True):
    """What was seen.

    `lost` counts confirmed events of the good owner that did not arrive with each of its subscriptions. `growth` says
    what became of each series, `judged` which of them have to be flat: a short run is over before tables are steady,
    and has too few samples of how late the event loop is.
    """

    seconds: float
    published: int
    lost: int
    repeats: int
    storms: int
    faults: int
    restarts: int
    alive: bool
    growth: list[Growth]
    judged: list[str]
    samples: list[Sample]

    @property
    def grown(self) -> list[Growth]:
        """What has grown and should not have."""
        return [one for one in self.growth if one.series in self.judged and not one.flat]


class _Load:
    """The good owner's events, until it is ended."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = asyncio.Event()
        self.confirmed = 0

    async def run(self) -> None:
        """Publish a quarter of a second's events each quarter of a second."""
        async with Publisher.amqp(self._url) as publisher:
            while not self._stop.is_set():
                began = time.monotonic()
                events = [plain_event(self.confirmed + number) for number in range(RATE // 4)]
                await publisher.publish_many(events)
                self.confirmed += len(events)
                await asyncio.sleep(max(0.0, 0.25 - (time.monotonic() - began)))

    def end(self) -> None:
        """Publish no further batch."""
        self._stop.set()


async def endure(rabbitmq: RabbitMQ, postgresql: PostgreSQL, seconds: float, report: Report) -> Verdict:
    """Run for so long, then wait for what is under way. PostgreSQL is started again now and then."""
    amqp, database = await rabbitmq.create_vhost(), await postgresql.create_database()

    def service() -> Service:
        return Service(
            amqp_url=amqp,
            database_url=database,
            delivery_lease="20",
            delivery_timeout="5",
            retention_delivered=KEPT_DAYS,
            retention_exhausted=KEPT_DAYS,
        )

    async with AsyncExitStack() as stack:
        sink = await stack.enter_async_context(receiver([f"127.0.0.{number}" for number in (1, 2, 3)]))
        other = await stack.enter_async_context(receiver(["127.0.0.4"]))
        services = [await stack.enter_async_context(service()) for _ in range(PROCESSES)]
        steady, *flapping = sink.urls
        await services[0].subscribe(steady, owner="alice", retry=RETRY)
        await services[0].subscribe(steady, owner="alice", retry=RETRY, ordered=True)
        await services[0].subscribe(*[f"{url}/flaps" for url in flapping], owner="alice", retry=RETRY)
        key = await services[0].key_of("mallory", "subscribe", "publish")
        hostile = HostileOwner(services[1], other.urls[0], key)
        sampler = Sampler([one.url for one in services], database)
        load = _Load(amqp)
        storming = asyncio.create_task(hostile.run())
        publishing = asyncio.create_task(load.run())
        sampling = asyncio.create_task(_sample(sampler, (sink, other), max(2.0, seconds / 120)))
        background = (storming, publishing, sampling)
        faulting = asyncio.create_task(_faults(postgresql, database, seconds, report))
        # What fails beside the faults ends the run at once, and not after half an hour.
        done, _ = await asyncio.wait((faulting, *background), return_when=asyncio.FIRST_COMPLETED)
        for failed in done - {faulting}:
            await failed
        faults, restarts = await faulting
        storming.cancel()
        load.end()
        await publishing
        sampling.cancel()
        for ended in (storming, sampling):
            with suppress(asyncio.CancelledError):
                await ended
        report(f"waiting for {load.confirmed} events")
        wanted = (2 + len(flapping)) * load.confirmed
        deadline = time.monotonic() + PATIENCE
        while (ids := await sink.ids()).distinct < wanted and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.5)
        alive = all(one.process.returncode is None for one in services)
    growth = sampler.growth()
    return Verdict(
        seconds=seconds,
        published=load.confirmed,
        lost=load.confirmed - sum(times >= 2 + len(flapping) for times in ids.deliveries),
        repeats=sum(ids.repeats.values()),
        storms=hostile.storms,
        faults=faults,
        restarts=restarts,
        alive=alive,
        growth=growth,
        judged=[one.series for one in growth if seconds >= TABLES_STEADY or _is_judged_early(one.series)],
        samples=sampler.samples,
    )


def _is_judged_early(series: str) -> bool:
    return series.startswith(("memory", "files", "tasks"))


async def _sample(sampler: Sampler, receivers: tuple[Receiver, ...], interval: float) -> None:
    while True:
        await sampler.take()
        for one in receivers:
            await one.take()  # only the ids are wanted: an hour's arrivals would fill the memory
        await asyncio.sleep(interval)


async def _faults(postgresql: PostgreSQL, database: str, seconds: float, report: Report) -> tuple[int, int]:
    """Close all connections every minute, in a short run every third of it. How often, and how many restarts."""
    every, end = min(FAULT_EVERY, seconds / 3), time.monotonic() + seconds
    faults = restarts = 0
    while (left := end - time.monotonic()) > 0:
        await asyncio.sleep(min(every, left))
        if left < every:
            break
        faults += 1
        if faults % RESTART_EVERY == 2:
            report("restarting PostgreSQL")
            await asyncio.to_thread(postgresql.stop)
            await postgresql.start_async()
            restarts += 1
        else:
            report(f"closed {await _cut(database)} connections")
    return faults, restarts


async def _cut(database: str) -> int:
    closed = (
        "select count(pg_terminate_backend(pid)) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid()"
    )
    async with connected(database) as connection:
        return int(await connection.fetchval(closed))


def main() -> int:
    """Run, print what was seen, and return 1 when something was lost or has grown."""
    parser = argparse.ArgumentParser(prog="make soak MINUTES=… ARGS=…", description=__doc__)
    parser.add_argument("minutes", type=float)
    parser.add_argument("--write", action="store_true", help="write docs/plots/soak.svg")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples and the verdict there")
    options = parser.parse_args()
    end_on_sigterm()
    began = time.monotonic()

    def report(what: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {what}", flush=True)

    with RabbitMQ() as rabbitmq, PostgreSQL(settings=SETTINGS) as postgresql:
        found = asyncio.run(endure(rabbitmq, postgresql, 60 * options.minutes, report))
    if options.json:
        options.json.write_bytes(msgspec.json.encode(found))
    if options.write:
        soak_plot.write(Path("docs/plots/soak.svg"), found.samples)
    for one in found.growth:
        verdict = "" if one.series not in found.judged else "flat" if one.flat else "GROWN"
        report(f"{one.series:32} {one.middle:16,.3f} {one.end:16,.3f}  {verdict}")
    report(
        f"{found.published} events, {found.lost} lost, {found.repeats} repeats, {found.storms} storms, "
        f"{found.faults} faults with {found.restarts} restarts, processes alive: {found.alive}"
    )
    return int(bool(found.lost or found.grown or not found.alive))


if __name__ == "__main__":
    sys.exit(main())
