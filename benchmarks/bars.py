"""What is measured, in the order of the table. A further measurement is a module and a line here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from benchmarks import (
    claims,
    dead_destinations,
    event_kinds,
    filters,
    hanging,
    latency,
    mail,
    many_subscriptions,
    shared_host,
    soak,
    storm,
    throughput,
    waiting,
)
from benchmarks.machine import Machine
from benchmarks.results import Outcome


class Bar(NamedTuple):
    """A measurement: its name on the command line, what it is, itself, and how many steps it has to show."""

    name: str
    what: str
    measure: Callable[[Machine], Awaitable[Outcome]]
    steps: Callable[[Machine], int]


def _rounds(servers: Machine) -> int:
    return servers.amount.rounds


def _with_workers(servers: Machine) -> int:
    return servers.amount.rounds + (servers.amount.workers > 1)


BARS = [
    Bar("P1", "one subscription an event", throughput.one_subscription, _with_workers),
    Bar("P2", "ten subscriptions an event", throughput.ten_subscriptions, _with_workers),
    Bar("P3", "from publishing to the receiver", latency.steady, _rounds),
    Bar("P4", "some destinations hang", hanging.some_hang, lambda servers: 2 * hanging.rounds(servers)),
    Bar(
        "P5",
        "subscriptions that do not match",
        many_subscriptions.not_matching,
        lambda servers: len(many_subscriptions.SIZES) + servers.amount.rounds,
    ),
    Bar("P6", "deliveries that wait for a retry", waiting.many_wait, lambda _: 3),
    Bar("P7", "embedded", throughput.without_servers, _rounds),
    Bar("P8", "kills under load", soak.kills, lambda _: 6),
    Bar(
        "R1",
        "beside another owner's storm",
        storm.beside_a_storm,
        lambda servers: 2 * (servers.amount.rounds | 1),
    ),
    Bar(
        "R2",
        "beside a failing path of the same host",
        shared_host.beside_a_failing_path,
        lambda servers: 3 * (servers.amount.rounds | 1),
    ),
    Bar("R3", "many dead destinations", dead_destinations.at_rest, lambda _: 2),
    Bar(
        "kinds",
        "other events",
        event_kinds.other_events,
        lambda servers: len(event_kinds.EVENTS_OF) * servers.amount.rounds,
    ),
    Bar("filters", "filters of one owner", filters.of_one_owner, _rounds),
    Bar("claims", "claims of several processes", claims.at_once, _rounds),
    Bar("mail", "e-mail over a pool", mail.over_a_pool, _rounds),
    Bar("fan-out", "deliveries of an event (plot)", throughput.fan_out, lambda _: len(throughput.FAN_OUT)),
]
