"""What partitions cost the hot statements, what a row takes, and how fast retention is: `python -m benchmarks.growth`.

It starts a private PostgreSQL (fsync off: the disk of the measuring machine says nothing about yours). Costs are µs of
CPU of all processes of the server for one delivery; the least of several rounds counts, because whatever else the
machine does only adds.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from datetime import timedelta
from itertools import count, pairwise
from typing import Any
from unittest.mock import patch

import asyncpg
from rich.console import Console
from rich.table import Table

from benchmarks.cpu import cpu_seconds
from dispatcher.domain.deliveries import OpenDelivery, State
from dispatcher.domain.events import utc_now
from dispatcher.domain.ids import Prefix, lowest_id
from dispatcher.domain.retention import DAY, DEFAULT
from dispatcher.domain.subscriptions import Subscription
from dispatcher.store.encryption import Sealer
from dispatcher.store.factory import migrate, open_store
from dispatcher.store.mapping import bound
from dispatcher.store.postgres.partitions import KEYS
from dispatcher.store.store import Store
from tests.claiming import claim
from tests.factories import make_delivery, make_event, make_subscription
from tests.servers import PostgreSQL
from tests.store.helpers import PAST, attempt, outcome

SEALER = Sealer(["a key for measurements of 32 characters"])
STORAGE = {"deliveries": "with (fillfactor = 50)"}
DESTINATIONS = 20
WARM = 12
"""Batches before the first that counts: by then every statement has its plan."""

Step = Callable[[Sequence[OpenDelivery]], Awaitable[object]]
console = Console(width=110)
_numbers = count()


class Bench:
    """A store on a new database, with subscriptions to a few destinations."""

    def __init__(self, server: PostgreSQL, url: str, store: Store, process: int) -> None:
        self._pid, self.url, self.store, self.process = server.pid, url, store, process
        self.subscriptions: list[Subscription] = []

    async def subscribe(self) -> None:
        """Make the subscriptions."""
        for number in range(DESTINATIONS):
            destination = f"https://receiver-{number}:443"
            self.subscriptions.append(make_subscription(owner="*", destination=destination))
            await self.store.subscriptions.add(self.subscriptions[-1])

    def new(self, size: int, age: timedelta | None = None, **fields: object) -> list[OpenDelivery]:
        """Make deliveries of as many events, which were made so long ago."""
        made = []
        for number in range(size):
            event = make_event(key=_id("evt", age), job_id=f"job-{next(_numbers) // 8}")
            subscription = self.subscriptions[number % DESTINATIONS]
            made.append(make_delivery(event, subscription, id=_id("dlv", age), **fields))
        return made

    async def accept(self, batch: Sequence[OpenDelivery]) -> None:
        """Store a batch."""
        await self.store.events.accept(self.process, [one.event for one in batch], batch)

    async def finish(self, batch: Sequence[OpenDelivery], state: State = State.DELIVERED) -> None:
        """Store the outcomes of a batch, with an attempt each."""
        done = [outcome(one.id, state, attempt=attempt(), ended_at=utc_now()) for one in batch]
        await self.store.queue.finish(self.process, done)

    async def claim(self, batch: Sequence[OpenDelivery]) -> None:
        """Claim as many as a batch has."""
        assert len(await claim(self.store, self.process, len(batch))) == len(batch)

    async def cost(self, step: Step, batches: Sequence[Sequence[OpenDelivery]]) -> float:
        """µs of the server's CPU for each delivery."""
        before = cpu_seconds(self._pid)
        for batch in batches:
            await step(batch)
        return 1e6 * (cpu_seconds(self._pid) - before) / sum(map(len, batches))

    async def ask(self, question: str) -> Any:
        """What the database answers."""
        connection: asyncpg.Connection[Any] = await asyncpg.connect(self.url)
        answer = await connection.fetchval(question)
        await connection.close()
        return answer


def _id(prefix: Prefix, age: timedelta | None) -> str:
    made_at = utc_now() - (age or timedelta(0))
    return f"{prefix}_{int(lowest_id(prefix, made_at.timestamp())[4:], 16) + next(_numbers):032x}"


@asynccontextmanager
async def bench(server: PostgreSQL, partitions: int | None) -> AsyncIterator[Bench]:
    """Yield a new database with so many partitions of each table (0: not partitioned; None: those that it gets)."""
    url = await server.create_database()
    await asyncio.to_thread(migrate, url)
    if partitions is not None:
        await _partition(url, partitions)
    store = open_store(url, SEALER)
    # What is missing is made when a store opens; these tables are to have the partitions that are measured.
    with nullcontext() if partitions is None else patch("dispatcher.store.postgres.connection.make_ahead"):
        await store.open()
    made = Bench(server, url, store, await store.leases.register("a-host", 1, lease=36_000))
    await made.subscribe()
    yield made
    await store.close()
    await server.drop_database(url)


async def _partition(url: str, number: int) -> None:
    connection: asyncpg.Connection[Any] = await asyncpg.connect(url)
    for table, key in KEYS.items():
        storage = STORAGE.get(table, "")
        whole = f"partition by range ({key})" if number else storage
        await connection.execute(f"create table other (like {table} including all) {whole}")
        await connection.execute(f"drop table {table}; alter table other rename to {table}")
        for place, (low, high) in enumerate(_bounds(number)):
            await connection.execute(
                f"create table {table}_{place} partition of {table} for values from ({low}) to ({high}) {storage}"
            )
    await connection.close()


def _bounds(number: int) -> Iterator[tuple[str, str]]:
    """Of so many partitions of a day, of which two are for what comes after today."""
    between = [bound(utc_now() + (place - number + 3.5) * DAY) for place in range(1, number)]
    edges = ["minvalue", *(f"'{digits}'" for digits in between), "maxvalue"]
    return pairwise(edges) if number else iter(())


async def hot(
    server: PostgreSQL, numbers: Sequence[int], sizes: Sequence[int], rounds: int, scale: float
) -> None:
    """What the hot statements cost with so many partitions, in batches of these sizes."""
    table = Table(
        "batch", "partitions", "accept µs", "finish µs", "claim µs", title="One delivery, PostgreSQL's CPU"
    )
    for size in sizes:
        least: dict[int, list[float]] = {}
        for _ in range(rounds):
            for number in numbers:
                costs = await _hot_once(server, number, size, int(scale * 20_000 / size))
                least[number] = list(map(min, least.get(number, costs), costs))
        for number, costs in least.items():
            name = str(number) if number else "not partitioned"
            table.add_row(str(size), name, *(f"{cost:.0f}" for cost in costs))
    console.print(table)


async def _hot_once(server: PostgreSQL, number: int, size: int, batches: int) -> list[float]:
    async with bench(server, number) as one:
        straight = [one.new(size) for _ in range(WARM + batches)]
        waiting = [one.new(size, claimed=False, due_at=PAST) for _ in range(WARM + batches // 4)]
        costs = []
        for step, all_ in ((one.accept, straight), (one.finish, straight), (one.claim, waiting)):
            if step == one.claim:
                for batch in waiting:
                    await one.accept(batch)
            await one.cost(step, all_[:WARM])
            costs.append(await one.cost(step, all_[WARM:]))
        return costs


async def sizes_of_rows(server: PostgreSQL, scale: float) -> None:
    """What one event with one delivery that succeeds at once takes on the disk and of the log."""
    number = int(50_000 * scale)
    async with bench(server, None) as one:
        lsn = await one.ask("select pg_current_wal_lsn()::text")
        for _ in range(0, number, 100):
            batch = one.new(100)
            await one.accept(batch)
            await one.finish(batch)
        log = await one.ask(f"select pg_current_wal_lsn() - '{lsn}'::pg_lsn")
        table = Table("", "bytes", title=f"One event with one delivery and attempt, of {number:,}")
        for name in ("events", "deliveries", "attempts", "identities", "jobs"):
            counted = (
                "select sum(pg_total_relation_size(relid)) from pg_partition_tree('{0}')"
                if name in KEYS
                else "select pg_total_relation_size('{0}')"
            )
            table.add_row(name, f"{await one.ask(counted.format(name)) / number:.0f}")
        table.add_row("write-ahead log", f"{log / number:.0f}")
    console.print(table)


async def forgetting(server: PostgreSQL, scale: float) -> None:
    """How long retention takes for what is forty days old."""
    number = int(50_000 * scale)
    table = Table("deliveries", "of them kept", "s", "µs each", title="Retention")
    for kept in (0, number // 100, number * 2 // 5, number * 3 // 5):
        async with bench(server, None) as one:
            await _make_old(one, number, kept)
            began = time.perf_counter()
            done = await one.store.retain(DEFAULT)
            seconds = time.perf_counter() - began
            how = "dropped" if done.dropped["deliveries"] else "deleted one by one"
            table.add_row(
                f"{number:,}, {how}", f"{kept:,}", f"{seconds:.2f}", f"{1e6 * seconds / number:.1f}"
            )
    console.print(table)


async def _make_old(one: Bench, number: int, kept: int) -> None:
    """Store deliveries of forty days ago, in a partition of theirs, of which so many are exhausted."""
    connection: asyncpg.Connection[Any] = await asyncpg.connect(one.url)
    for name in KEYS:
        low, high = (bound(utc_now() - days * DAY) for days in (42, 35))
        first = f"{name}_oldest"
        today = bound(utc_now().replace(hour=0, minute=0, second=0, microsecond=0))
        storage = STORAGE.get(name, "")
        await connection.execute(
            f"alter table {name} detach partition {first};"
            f"alter table {name} attach partition {first} for values from (minvalue) to ('{low}');"
            f"create table {name}_old partition of {name} for values from ('{low}') to ('{high}') {storage};"
            f"create table {name}_since partition of {name} for values from ('{high}') to ('{today}') {storage}"
        )
    await connection.close()
    await one.store.leases.renew(one.process, 36_000, _id("dlv", 41 * DAY))
    for begin in range(0, number, 500):
        batch = one.new(500, 40 * DAY)
        await one.accept(batch)
        exhausted = max(min(kept - begin, 500), 0)
        await one.finish(batch[:exhausted], State.EXHAUSTED)
        await one.finish(batch[exhausted:])
    await one.store.leases.renew(one.process, 36_000, _id("dlv", None))


async def measure(arguments: argparse.Namespace) -> None:
    """Measure, and print tables."""
    with PostgreSQL(durable=False) as server:
        await hot(server, arguments.partitions, [5, 100], arguments.rounds, arguments.scale)
        await sizes_of_rows(server, arguments.scale)
        await forgetting(server, arguments.scale)


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--partitions", type=int, nargs="+", default=[0, 1, 8, 30], help="0: not partitioned")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0)
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
