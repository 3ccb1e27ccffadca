"""Kills under load: `make soak MINUTES=30` runs it for as long, `make test` until each fault has happened once."""

from __future__ import annotations

import os
import sys
import time

import pytest

from benchmarks.soak import soak
from tests.servers import PostgreSQL, RabbitMQ

SECONDS = 60 * float(os.environ.get("SOAK_MINUTES", "0"))


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 180)
async def test_kills_of_processes_broker_and_database_lose_nothing_and_repeat_only_what_was_in_flight(
    own_rabbitmq: RabbitMQ, own_postgresql: PostgreSQL
) -> None:
    began = time.monotonic()

    def tell(what: str) -> None:
        sys.stdout.write(f"{time.monotonic() - began:7.1f} s  {what}\n")
        sys.stdout.flush()

    verdict = await soak(own_rabbitmq, own_postgresql, SECONDS, tell)
    tell(str(verdict))
    assert verdict.published
    assert verdict.faults >= 5
    assert verdict.in_flight
    assert not verdict.lost
    assert not verdict.unsettled
    assert not verdict.unexplained
    assert verdict.repeats <= verdict.in_flight
