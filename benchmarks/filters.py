"""What an event costs that a thousand subscriptions of its owner look at, by what they look at."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack

from benchmarks.database import connected, copy_rows, numbered_id, settle
from benchmarks.machine import Machine
from benchmarks.many_subscriptions import Place, cost_of_event
from benchmarks.results import Check, Cost, Outcome
from dispatcher.store.schema import subscriptions

SIZE = 1_000
BY_NAME = "by the event's name"
KINDS: Mapping[str, Mapping[str, object]] = {
    BY_NAME: {"events": ["FINISHED"]},
    "by an attribute": {"filters": [{"prefix": {"subject": "nightly-"}}]},
    "by data": {"filters": [{"data": {"job.name": {"prefix": "demo"}, "number": {"lt": 0}}}]},
    "by CESQL": {"filters": [{"sql": "event = 'RUNNING' AND subject LIKE 'nightly-%'"}]},
}
"""Subscriptions of which no event that is published is wanted, for the last reason that they look at."""


async def of_one_owner(machine: Machine) -> Outcome:
    """A service for each kind of filter, all running, and events for each in turn. No event has a delivery."""
    costs: dict[str, list[Mapping[str, float]]] = {kind: [] for kind in KINDS}
    async with AsyncExitStack() as stack:
        places = {kind: await _place(machine, stack, fields) for kind, fields in KINDS.items()}
        for place in places.values():
            await cost_of_event(machine, place)
        for _ in range(machine.amount.rounds):
            for kind, place in places.items():
                costs[kind].append(await cost_of_event(machine, place))
            machine.done()
    least = {kind: min(found, key=lambda cpu: sum(cpu.values())) for kind, found in costs.items()}
    return Outcome(
        [
            Check(
                bar="filters",
                what=f"an event that {SIZE:,} subscriptions of its owner look at {kind}",
                unit="µs of CPU",
                measured=sum(cpu.values()),
                floor=sum(least[BY_NAME].values()),
            )
            for kind, cpu in least.items()
            if kind != BY_NAME
        ],
        [
            Cost("filters", f"an event beside {SIZE:,} subscriptions {kind}", cpu)
            for kind, cpu in least.items()
        ],
    )


async def _place(machine: Machine, stack: AsyncExitStack, fields: Mapping[str, object]) -> Place:
    place = await Place.started(machine, stack, SIZE, owner="alice", **fields)
    async with connected(place.database) as connection:
        await copy_rows(connection, subscriptions, str(SIZE - 1), {"id": numbered_id("n")})
        await settle(connection, [subscriptions])
    return place
