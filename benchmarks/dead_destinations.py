"""R3: what many destinations that are down cost while nothing is sent to them."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from benchmarks.cpu import cpu_seconds
from benchmarks.database import connected, copy_rows, numbered_id, opened, settle
from benchmarks.machine import Machine
from benchmarks.results import Check, Outcome
from benchmarks.service import Service
from benchmarks.waiting import accept_one
from dispatcher.delivery.breaker_waits import PROBES_PER_SECOND, SPREAD
from dispatcher.domain.events import utc_now
from dispatcher.store.schema import deliveries, destinations, subscriptions
from tests.breakers import open_breaker

DEAD = 20_000
SETTLE_SECONDS = 20.0
SECONDS = 40.0


async def at_rest(machine: Machine) -> Outcome:
    """R3: the share of a CPU that the service and PostgreSQL spend because of these destinations.

    What they spend without any is said beside it, and does not count.
    """
    dead = machine.amount.count(DEAD, 200)
    nothing = await _share(machine, 0)
    machine.done()
    many = await _share(machine, dead)
    machine.done()
    what = f"CPU of a core that {dead:,} dead destinations add to the service and PostgreSQL at rest"
    shown = f"{what} ({many:.1f} with them, {nothing:.1f} without)"
    return Outcome([Check(bar="R3", what=shown, unit="%", measured=many - nothing, most=2)])


async def _share(machine: Machine, dead: int) -> float:
    """Percent of one CPU."""
    url = await machine.postgresql.create_database()
    if dead:
        await _fill(url, dead)
    async with Service(database_url=url, workers=machine.amount.workers) as service:
        await asyncio.sleep(SETTLE_SECONDS)
        pids = (service.process.pid, machine.postgresql.pid)
        before, began = sum(map(cpu_seconds, pids)), time.monotonic()
        await asyncio.sleep(machine.amount.seconds(SECONDS))
        return 100 * (sum(map(cpu_seconds, pids)) - before) / (time.monotonic() - began)


async def _fill(url: str, dead: int) -> None:
    """A subscription, an open breaker and a delivery that is due for each destination; nothing listens there."""
    async with Service(database_url=url) as service:
        await service.subscribe("http://127.0.3.1:9/hook")
    async with opened(url) as store:
        await accept_one(store)
        await open_breaker(store, "http://127.0.3.1:9", utc_now() + timedelta(hours=1), "down")
    name = "'http://127.' || (n / 250) || '.' || (n % 250) || '.9:9'"
    async with connected(url) as connection:
        await copy_rows(
            connection,
            subscriptions,
            str(dead),
            {"id": numbered_id("n"), "destination": name, "match_key": "'-' || n"},
        )
        changes = {"id": numbered_id("n"), "subscription_id": numbered_id("n"), "destination": name}
        await copy_rows(connection, deliveries, str(dead), changes | {"due_at": "now()"})
        # As after a while: each is to be probed some time within the wait that so many have, and processes differ in
        # when they look. What is late by then is probed before the measurement begins.
        wait = dead / PROBES_PER_SECOND
        until = f"now() + n * interval '{wait / dead} seconds' - interval '{SPREAD * wait} seconds'"
        await copy_rows(
            connection, destinations, str(dead), {"key": name, "open_until": until, "openings": "20"}
        )
        await settle(connection, [subscriptions, deliveries, destinations])
