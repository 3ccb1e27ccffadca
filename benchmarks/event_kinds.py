"""As P1, one subscription an event, with other events: without an owner, as CloudEvents, many of each job.

The database is new each time, so that nothing is known of its tables when the plans are made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from benchmarks.machine import Machine, processes
from benchmarks.results import Check, Cost, Outcome
from benchmarks.source import plain_event
from benchmarks.throughput import EVENTS, compare, from_broker

JOBS = 200
"""Jobs that all events are of, where they come again."""


def _unowned(number: int) -> Mapping[str, object]:
    return {name: value for name, value in plain_event(number).items() if name != "owner"}


def _again(number: int) -> Mapping[str, object]:
    return plain_event(number) | {"job_id": f"again-{number % JOBS}"}


def _cloudevent(number: int) -> Mapping[str, object]:
    event = plain_event(number)
    return {
        "specversion": "1.0",
        "id": event["id"],
        "source": "/jobs",
        "type": f"job.{event['event']}",
        "subject": event["job_id"],
        "time": "2026-01-01T00:00:00Z",
        "owner": event["owner"],
        "data": {"message": event["message"], "job": event["job"]},
    }


EVENTS_OF: Mapping[str, Callable[[int], Mapping[str, object]]] = {
    "events that name no owner": _unowned,
    "structured CloudEvents": _cloudevent,
    f"events of {JOBS} jobs": _again,
}


async def other_events(machine: Machine) -> Outcome:
    """A check of each kind, without a bar."""
    amount, checks, costs = machine.amount, list[Check](), list[Cost]()
    for what, event in EVENTS_OF.items():
        count = amount.count(EVENTS // 2)
        measure = partial(from_broker, machine, count, 1, amount.workers, event)
        floor, figure = await compare(machine, amount.rounds, measure)
        what_by = f"{what}, {processes(amount.workers)}"
        checks.append(
            Check(bar="kinds", what=what_by, unit="events/s", measured=figure.rate, floor=floor.rate)
        )
        costs.append(Cost("kinds", what_by, figure.cpu | floor.cpu))
    return Outcome(checks, costs)
