"""Long runs under load, in short: `make kills MINUTES=30` and `make soak MINUTES=30` make them as long as you like."""

from __future__ import annotations

import os
import sys
import time

import pytest

from benchmarks.endurance import endure
from benchmarks.soak import soak
from tests.servers import PostgreSQL, RabbitMQ

ENDURANCE = 75.0
SECONDS = 60 * float(os.environ.get("SOAK_MINUTES", "0"))


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 180)
async def test_kills_of_processes_broker_and_database_lose_nothing_and_repeat_only_what_was_in_flight(
    own_rabbitmq: RabbitMQ, own_postgresql: PostgreSQL
) -> None:
    began = time.monotonic()

    def report(what: str) -> None:
        sys.stdout.write(f"{time.monotonic() - began:7.1f} s  {what}\n")
        sys.stdout.flush()

    verdict = await soak(own_rabbitmq, own_postgresql, SECONDS, report)
    report(str(verdict))
    assert verdict.published
    assert verdict.faults >= 5
    assert verdict.in_flight
    assert not verdict.lost
    assert not verdict.unsettled
    assert not verdict.unexplained
    assert verdict.repeats <= verdict.in_flight


@pytest.mark.long
@pytest.mark.timeout(ENDURANCE + 300)
async def test_beside_a_hostile_owner_and_faults_nothing_of_a_good_one_is_lost_and_processes_do_not_grow(
    own_rabbitmq: RabbitMQ, own_postgresql: PostgreSQL
) -> None:
    found = await endure(own_rabbitmq, own_postgresql, ENDURANCE, lambda _: None)
    assert found.alive
    assert found.published
    assert found.storms
    assert (found.faults, found.restarts) == (2, 1)
    assert found.lost == 0
    assert {one.series.split()[0] for one in found.growth if one.series in found.judged} == {
        "memory",
        "files",
        "tasks",
    }
    assert found.grown == []
