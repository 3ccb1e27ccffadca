"""What ends by its age, and who sees to it."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from dispatcher.domain.deliveries import OpenDelivery, State
from dispatcher.domain.events import utc_now
from dispatcher.domain.ids import new_id
from dispatcher.domain.retry import RetryPolicy
from dispatcher.maintenance import sweeper
from dispatcher.maintenance.sweeper import Sweeper
from dispatcher.store.store import Store
from tests.delivery.conftest import settled
from tests.delivery.test_engine import new_event
from tests.factories import make_subscription


async def test_what_is_too_old_is_found_behind_all_destinations_a_part_at_a_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "BATCH_DESTINATIONS": 2,
        "BATCH_SIZE": 4,
        "MAX_BATCHES": 2,
        "NEW_PER_ROUND": 2,
    }.items():
        monkeypatch.setattr(sweeper, name, value)
    names = [f"https://{letter}:443" for letter in "abcde"]
    short, long = (RetryPolicy(strategy="delayed", delay=1, max_age=age) for age in (0.001, 3600))
    process = await store.leases.register("host", 1, 60)
    for name in names:
        for retry, count in ((short, 7 if name == names[0] else 1), (long, 1)):
            subscription = make_subscription(destination=name, retry=retry)
            await store.subscriptions.add(subscription)
            events = [new_event() for _ in range(count)]
            due = utc_now() + timedelta(hours=1)
            new = [OpenDelivery(new_id("dlv"), one, subscription, due_at=due) for one in events]
            await store.events.accept(process, events, new)
    rounds = Sweeper(store, lambda: names)
    for _ in range(8):
        await rounds.round()
    await settled(store, {State.EXHAUSTED: 11, State.PENDING: 5})


async def test_the_process_with_the_oldest_lease_sweeps_for_all(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "INTERVAL", 0.001)
    elder, younger = [await store.leases.register("host", 1, 60) for _ in range(2)]
    rounds = {elder: asyncio.Semaphore(0), younger: asyncio.Semaphore(0)}

    async def run(lease_id: int) -> None:
        def blocked() -> list[str]:
            rounds[lease_id].release()
            return []

        await Sweeper(store, blocked).run(lambda: lease_id)

    running = [asyncio.create_task(run(one)) for one in (elder, younger)]
    async with asyncio.timeout(20):
        for _ in range(3):
            await rounds[elder].acquire()
        assert rounds[younger].locked()
        await store.leases.release(elder)
        await rounds[younger].acquire()
    for one in running:
        one.cancel()
    await asyncio.gather(*running, return_exceptions=True)
