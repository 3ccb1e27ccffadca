"""Rate limits of subscriptions and destinations."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from dispatcher.delivery import breakers
from dispatcher.delivery.limits import Limits
from dispatcher.delivery.rate_limits import RateLimits
from dispatcher.domain.deliveries import State
from dispatcher.domain.destinations import RateLimit, Slots, slots
from dispatcher.store.store import Store
from tests.delivery.conftest import ScriptedKind, running, settled
from tests.delivery.test_engine import new_event
from tests.factories import make_subscription

SLOW = RateLimit(per_second=0.01, burst=3)


def test_what_was_not_used_is_saved_up_to_the_burst() -> None:
    limit = RateLimit(per_second=10, burst=5)
    given, full_at = slots(limit, 0.0, 1000.0, 100)
    assert given.granted == 5
    given, full_at = slots(limit, full_at, 1000.0, 100)
    assert given.granted == 0
    assert given.wait == pytest.approx(0.1)
    given, full_at = slots(limit, full_at, 1000.2, 100)
    assert given.granted == 2


def test_no_more_is_granted_than_wanted() -> None:
    given, full_at = slots(RateLimit(10, 5), 0.0, 1000.0, 2)
    assert (given.granted, given.wait) == (2, 0)
    assert slots(RateLimit(10, 5), full_at, 1000.0, 9)[0].granted == 3


def test_over_a_long_time_it_is_what_it_says() -> None:
    limit, full_at, granted = RateLimit(per_second=7, burst=3), 0.0, 0
    for tick in range(1000):
        given, full_at = slots(limit, full_at, 5000 + tick * 0.1, 10)
        granted += given.granted
    assert abs(granted - 700) <= 3


async def test_a_subscriptions_limit_holds_back_only_that_subscription(
    store: Store, kind: ScriptedKind
) -> None:
    limited = make_subscription(rate_limit=SLOW)
    await store.subscriptions.add(limited)
    await store.subscriptions.add(make_subscription())
    async with running(store, kind) as process:
        await process.accept(*(new_event() for _ in range(20)))
        await settled(store, {State.DELIVERED: 23, State.PENDING: 17})
    assert sum(sent.subscription.id == limited.id for sent in kind.sent) == 3


async def test_waiting_for_a_limit_costs_no_attempts_and_ends(store: Store, kind: ScriptedKind) -> None:
    await store.subscriptions.add(make_subscription(rate_limit=RateLimit(per_second=20, burst=1)))
    async with running(store, kind, Limits(concurrency=4)) as process:
        await process.accept(*(new_event() for _ in range(12)))
        found = await settled(store, {State.DELIVERED: 12})
    assert [delivery.attempts for delivery in found] == [1] * 12


async def test_a_destinations_limit_is_for_all_its_subscriptions(
    store: Store, kind: ScriptedKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breakers, "POLL_INTERVAL", 0.02)
    for _ in range(2):
        await store.subscriptions.add(make_subscription())
    await store.destinations.set_rate_limit(make_subscription().destination, SLOW)
    async with running(store, kind) as process:
        await process.has(lambda: process.engine.rate_limit(make_subscription().destination) == SLOW)
        await process.accept(*(new_event() for _ in range(5)))
        await settled(store, {State.DELIVERED: 3, State.PENDING: 7})


class Counting:
    """A store that has so much to grant, and counts how often it is asked."""

    def __init__(self, left: int) -> None:
        self.asked: list[int] = []
        self._left = left

    async def take_slots(self, key: str, limit: RateLimit, wanted: int) -> Slots:
        self.asked.append(wanted)
        await asyncio.sleep(0)
        granted = min(wanted, self._left)
        self._left -= granted
        return Slots(granted, 0.0 if self._left else 1000.0)


async def test_who_asks_at_the_same_moment_asks_once_and_gets_a_separate_time() -> None:
    store = Counting(left=2)
    rates, limit = RateLimits(store), RateLimit(per_second=2, burst=2)
    waits = await asyncio.gather(*(rates.wait("a", limit) for _ in range(6)))
    assert len(store.asked) <= 2
    assert sorted(waits)[:2] == [0, 0]
    later = sorted(waits)[2:]
    assert [round(after - before, 2) for before, after in pairwise(later)] == [0.5] * 3


async def test_a_limit_is_not_asked_for_what_another_one_refuses() -> None:
    store = Counting(left=1)
    rates, limit = RateLimits(store), RateLimit(per_second=100)
    assert await rates.wait("a", limit) == 0
    assert await rates.wait("a", limit) > 0
    store.asked.clear()
    for _ in range(100):
        limited = make_subscription(destination="a", rate_limit=limit)
        assert await rates.acquire(limited, limit) > 0
    assert store.asked == []


async def test_who_does_not_come_back_takes_no_time_from_others() -> None:
    rates, limit = RateLimits(Counting(left=0)), RateLimit(per_second=0.01)
    limited = make_subscription(destination="a")
    for _ in range(100):
        assert round(await rates.acquire(limited, limit, returns=False)) == 1000
    assert [round(await rates.acquire(limited, limit)) for _ in range(2)] == [1000, 1100]


async def test_a_limit_that_is_raised_counts_at_once(store: Store) -> None:
    slow, quick = RateLimit(per_second=0.0001), RateLimit(per_second=100, burst=5)
    rates = RateLimits(store.rate_limits)
    limited = make_subscription(destination="a", rate_limit=RateLimit(per_second=1000, burst=1000))
    assert await rates.acquire(limited, slow) == 0
    assert [round(await rates.acquire(limited, slow), -3) for _ in range(2)] == [10_000, 20_000]
    assert await rates.acquire(limited, quick) == 0
    assert await RateLimits(store.rate_limits).acquire(limited, quick) == 0  # as another process sees it


async def test_processes_share_a_limit(store: Store) -> None:
    limit = RateLimit(per_second=0.01, burst=5)
    one, other = RateLimits(store.rate_limits), RateLimits(store.rate_limits)
    waits = await asyncio.gather(*(rates.wait("a", limit) for rates in (one, other) for _ in range(5)))
    assert sum(wait == 0 for wait in waits) == 5
