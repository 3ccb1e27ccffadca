"""P5: what an event costs, by how many subscriptions there are that do not want it."""

from __future__ import annotations

from contextlib import AsyncExitStack

from msgspec import Struct

from benchmarks.cpu import Meter
from benchmarks.database import connected, copy_rows, numbered_id, settle, until
from benchmarks.machine import Machine
from benchmarks.results import Check, Cost, Outcome, Series
from benchmarks.service import Service
from benchmarks.source import plain_event
from dispatcher.client import Publisher
from dispatcher.store.schema import subscriptions

SIZES = (1_000, 10_000, 100_000, 1_000_000)
EVENTS = 5_000


class Place(Struct, frozen=True):
    """A service whose database has so many subscriptions."""

    size: int
    amqp: str
    database: str
    service: Service

    @classmethod
    async def started(cls, machine: Machine, stack: AsyncExitStack, size: int, **fields: object) -> Place:
        """One with a first subscription, which copies are to be made of; it ends with the stack."""
        amqp = await machine.rabbitmq.create_vhost()
        database = await machine.postgresql.create_database()
        service = await stack.enter_async_context(Service(amqp_url=amqp, database_url=database))
        await service.subscribe(machine.sink, **fields)
        return cls(size, amqp, database, service)


async def not_matching(machine: Machine) -> Outcome:
    """P5: a service for each size, all running, and events for each in turn. No event has a delivery."""
    sizes = sorted({machine.amount.count(size, 1000) for size in SIZES})
    costs: dict[int, list[dict[str, float]]] = {size: [] for size in sizes}
    async with AsyncExitStack() as stack:
        places = [await _place(machine, stack, size) for size in sizes]
        for place in places:
            await cost_of_event(machine, place)
            machine.done()
        for _ in range(machine.amount.rounds):
            for place in places:
                costs[place.size].append(await cost_of_event(machine, place))
            places.reverse()  # no size is always the first
            machine.done()
    # Whatever else the machine does only adds: the least round is nearest to the truth.
    least_costs = {size: min(found, key=lambda cpu: sum(cpu.values())) for size, found in costs.items()}
    least, most = sizes[0], sizes[-1]
    return Outcome(
        [
            Check(
                bar="P5",
                what=f"an event beside {most:,} subscriptions that do not want it, against {least:,}",
                unit="µs of CPU",
                measured=sum(least_costs[most].values()),
                floor=sum(least_costs[least].values()),
                most=1.5,
            )
        ],
        [Cost("P5", f"an event beside {size:,} subscriptions", cpu) for size, cpu in least_costs.items()],
        {
            "subscriptions": [
                Series(
                    "Dispatcher and PostgreSQL",
                    [(size, sum(cpu.values())) for size, cpu in least_costs.items()],
                ),
                *(
                    Series(name, [(size, cpu[name]) for size, cpu in least_costs.items()])
                    for name in least_costs[most]
                ),
            ]
        },
    )


async def _place(machine: Machine, stack: AsyncExitStack, size: int) -> Place:
    place = await Place.started(machine, stack, size, job_id="0001-somebody-elses")
    await _fill(place.database, size)
    return place


async def _fill(database: str, size: int) -> None:
    """Copy the one subscription: every other copy wants another job, the rest the jobs of another owner."""
    job = "case when n % 2 = 0 then 'job-of-no-one-' || n end"
    key = f"t.tenant || chr(31) || coalesce('job:' || {job}, 'owner:no-one-' || n)"
    changes = {"id": numbered_id("n"), "job_id": job, "match_key": key}
    async with connected(database) as connection:
        await copy_rows(connection, subscriptions, str(size - 1), changes)
        await settle(connection, [subscriptions])


async def cost_of_event(machine: Machine, place: Place) -> dict[str, float]:
    """µs of CPU of service and database for one event."""
    events = machine.amount.count(EVENTS, 3000)
    async with connected(place.database) as connection:
        before = await connection.fetchval("select count(*) from events")
        meter = Meter({"Dispatcher": place.service.process.pid, "PostgreSQL": machine.postgresql.pid})
        async with Publisher.amqp(place.amqp) as publisher:
            await publisher.publish_many(map(plain_event, range(events)))
        await until(connection, "select count(*) from events", before + events)
        return meter.each(events)
