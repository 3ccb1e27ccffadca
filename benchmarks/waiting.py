"""P6: memory of the service, and the cost of a claim, while many deliveries wait for a retry."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from datetime import timedelta

import asyncpg

from benchmarks.cpu import peak_memory
from benchmarks.database import connected, copy_rows, numbered_id, opened, settle
from benchmarks.machine import Machine, processes
from benchmarks.receiver import Receiver, receiver
from benchmarks.results import Check, Outcome
from benchmarks.service import Service
from benchmarks.source import document
from dispatcher.domain.deliveries import OpenDelivery
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.ids import new_id
from dispatcher.store.filters import SubscriptionFilter, Window
from dispatcher.store.schema import deliveries, events
from dispatcher.store.store import Store
from tests.claiming import claim_at
from tests.claiming import waiting as waiting_destinations

MANY = 1_000_000
FEW = 1_000
DESTINATIONS = 50
HOSTS = [f"127.0.2.{number}" for number in range(1, DESTINATIONS + 1)]
LIMIT = 100
"""Deliveries that one claim takes."""

DUE = 15_000
"""Deliveries that fall due while the memory is watched."""

MEBIBYTE = 1 << 20


async def many_wait(machine: Machine) -> Outcome:
    """P6. In both databases the same number is due; in one of them the rest waits for an hour."""
    many = machine.amount.count(MANY, FEW)
    async with receiver(HOSTS) as sink:
        return await _measure(machine, sink, many)


async def _measure(machine: Machine, sink: Receiver, many: int) -> Outcome:
    few_url = await waiting(machine, sink.urls, FEW, FEW)
    many_url = await waiting(machine, sink.urls, many, FEW)
    machine.done()
    few_times: list[float] = []
    many_times: list[float] = []
    async with opened(few_url) as few_store, opened(many_url) as many_store:
        for _ in range(8 * machine.amount.rounds):
            few_times += await _claims(few_store)
            many_times += await _claims(many_store)
    machine.done()
    due = machine.amount.count(DUE)
    checks = [
        _memory_check(many, 1, await _memory(many_url, sink, due, 1), most=300),
        _memory_check(FEW, 1, await _memory(few_url, sink, FEW, 1)),
    ]
    if (workers := machine.amount.workers) > 1:
        checks.append(_memory_check(many, workers, await _memory(many_url, sink, due, workers)))
    machine.done()
    claim = Check(
        bar="P6",
        what=f"a claim of {LIMIT} while {many:,} wait, against {FEW:,}",
        unit="ms",
        measured=1000 * statistics.median(many_times),
        floor=1000 * statistics.median(few_times),
        most=1.5,
    )
    return Outcome([*checks, claim])


def _memory_check(count: int, workers: int, peak: int, most: float | None = None) -> Check:
    what = f"peak memory while {count:,} deliveries wait for a retry, {processes(workers)}"
    return Check(bar="P6", what=what, unit="MiB", measured=peak / MEBIBYTE, most=most)


async def waiting(machine: Machine, urls: Sequence[str], count: int, due: int) -> str:
    """A new database with `count` deliveries that wait for their second attempt, `due` of which are due.

    They go to the webhooks `urls`, of which there are DESTINATIONS.
    """
    url = await machine.postgresql.create_database()
    async with Service(database_url=url) as service:
        await service.subscribe(*urls)
    async with opened(url) as store:
        await accept_one(store)
    async with connected(url) as connection:
        await _fill(connection, count // DESTINATIONS, due // DESTINATIONS)
    return url


async def accept_one(store: Store) -> None:
    """Store one event with a delivery for each subscription, as intake would: the rows to copy."""
    page = await store.subscriptions.page(SubscriptionFilter(tenant="default"), Window(limit=DESTINATIONS))
    now = utc_now()
    event = Event(
        key=new_id("evt"),
        id="waiting",
        source="/jobs",
        type="job.RUNNING",
        event="RUNNING",
        job_id="0001-waiting",
        owner="alice",
        tenant="default",
        time=now,
        accepted_at=now,
        document=document(),
    )
    new = [OpenDelivery(new_id("dlv"), event, one, due_at=now + timedelta(hours=1)) for one in page.items]
    await store.events.accept(await store.leases.register("bench", 1, 60), [event], new)


async def _fill(connection: asyncpg.Connection, count: int, due: int) -> None:
    """Copy the event and its deliveries, `count` times each; the first `due` of the copies are due."""
    key, spread = numbered_id("n"), f"interval '1 hour' + n * interval '{1000 / count} seconds'"
    await copy_rows(connection, events, str(count), {"key": key, "id": "'waiting ' || n"})
    changes = {
        "id": numbered_id("row_number() over ()"),
        "event_key": key,
        "attempts": "1",
        "due_at": f"case when n <= {due} then now() else now() + {spread} end",
    }
    await copy_rows(connection, deliveries, str(count), changes)
    await settle(connection, [events, deliveries])


async def _claims(store: Store) -> list[float]:
    """Seconds of each claim until all that is due is claimed; it is given back then."""
    process = await store.leases.register("bench", 1, 60)
    names = [name async for name, _ in waiting_destinations(store)]
    times: list[float] = []
    while True:
        began = time.perf_counter()
        claimed = await claim_at(store, process, names, LIMIT, LIMIT // len(names) + 1)
        if len(claimed) < LIMIT:
            break
        times.append(time.perf_counter() - began)
    await store.leases.release(process)
    return times


async def _memory(url: str, sink: Receiver, due: int, workers: int) -> int:
    """Bytes: the peak over all processes of the service, while some of what waits falls due and is delivered."""
    async with connected(url) as connection:
        await connection.execute(
            "update deliveries set due_at = now() where id in "
            "(select id from deliveries where due_at is not null order by due_at limit $1)",
            due,
        )
        async with Service(database_url=url, workers=workers) as service:
            await sink.arrived(due)
            return peak_memory(service.process.pid)
