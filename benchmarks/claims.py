"""Claims of several processes on one database: whether they get into each other's way.

Run as `python -m benchmarks.claims URL` it is one of these processes: it prints `ready`, waits for a line of standard
input, claims all that is due as the scheduler does, and prints how many that were.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

import uvloop
from msgspec import Struct

from benchmarks.cpu import Meter
from benchmarks.database import connected, opened, settle
from benchmarks.machine import Machine, program
from benchmarks.results import Check, Cost, Outcome
from benchmarks.waiting import DESTINATIONS, HOSTS, LIMIT, waiting
from dispatcher.store.schema import claims, deliveries
from tests.claiming import claim_at
from tests.claiming import waiting as waiting_destinations

DUE = 30_000
PROCESSES = 4


class Figure(Struct, frozen=True):
    """Claims a second of all processes together, and µs of CPU that one claimed delivery cost PostgreSQL."""

    rate: float
    cpu: float


async def at_once(machine: Machine) -> Outcome:
    """Four processes against one."""
    due = machine.amount.count(DUE, 20 * DESTINATIONS)
    url = await waiting(machine, [f"http://{host}:9/hook" for host in HOSTS], due, due)
    alone: list[Figure] = []
    together: list[Figure] = []
    for _ in range(machine.amount.rounds):
        alone.append(await _measure(machine, url, 1))
        together.append(await _measure(machine, url, PROCESSES))
        machine.done()
    what = "deliveries claimed, {} processes against one"
    costs = {"one process": alone, f"{PROCESSES} processes": together}
    return Outcome(
        [
            Check(
                bar="claims",
                what=what.format(PROCESSES),
                unit="claims/s",
                measured=statistics.median(figure.rate for figure in together),
                floor=statistics.median(figure.rate for figure in alone),
                least=1.0,
            )
        ],
        [
            Cost(
                "claims",
                f"a claimed delivery, {name}",
                {"PostgreSQL": statistics.median(figure.cpu for figure in figures)},
            )
            for name, figures in costs.items()
        ],
    )


async def _measure(machine: Machine, url: str, count: int) -> Figure:
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(program("claims", url)) for _ in range(count)]
        await asyncio.gather(*map(_line, workers))
        meter, began = Meter({"PostgreSQL": machine.postgresql.pid}), time.perf_counter()
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write(b"go\n")
        claimed = sum(map(int, await asyncio.gather(*map(_line, workers))))
        figure = Figure(claimed / (time.perf_counter() - began), meter.each(claimed)["PostgreSQL"])
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.close()
        await asyncio.gather(*(worker.wait() for worker in workers))
    async with connected(url) as connection:
        await settle(connection, [deliveries, claims])
    return figure


async def _line(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None
    return await process.stdout.readline()


async def _claim_all(arguments: Sequence[str]) -> None:
    async with opened(arguments[0]) as store:
        process = await store.leases.register("bench", 1, 60)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        names, count = [name async for name, _ in waiting_destinations(store)], 0
        while claimed := await claim_at(store, process, names, LIMIT, LIMIT // len(names) + 1):
            count += len(claimed)
        print(count, flush=True)
        await asyncio.to_thread(
            sys.stdin.read
        )  # others are still claiming: what we have stays ours until then
        await store.leases.release(process)


if __name__ == "__main__":
    uvloop.run(_claim_all(sys.argv[1:]))
