"""Ordered deliveries: one after the other for each job of a subscription."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from msgspec.structs import replace

from dispatcher.domain.deliveries import OpenDelivery, State
from dispatcher.domain.events import utc_now
from dispatcher.store import ordering
from dispatcher.store.store import Store
from tests.claiming import claim
from tests.factories import make_delivery, make_event
from tests.store.conftest import OpenAnother
from tests.store.helpers import FUTURE, PAST, accept, outcome, state_of, subscribed


async def ordered(store: Store, process: int, *jobs: str) -> list[OpenDelivery]:
    """Accept an event of each of these jobs for one new ordered subscription, in one batch."""
    subscription = await subscribed(store, ordered=True)
    new = [
        make_delivery(make_event(job_id=job), subscription, claimed=False, due_at=utc_now()) for job in jobs
    ]
    await accept(store, process, *new)
    return new


async def claimed(store: Store, process: int) -> list[str]:
    return [delivery.id for delivery in await claim(store, process, 100)]


async def test_only_the_first_of_each_job_is_due(store: Store, process: int) -> None:
    a1, _, b1, _ = await ordered(store, process, "a", "a", "b", "b")
    assert sorted(await claimed(store, process)) == sorted([a1.id, b1.id])


async def test_the_next_one_goes_when_the_one_before_has_ended_however_it_ended(
    store: Store, process: int
) -> None:
    first, second, third, fourth = await ordered(store, process, *"aaaa")
    for delivery, state in ((first, State.DELIVERED), (second, State.EXHAUSTED), (third, State.SUPERSEDED)):
        assert await claimed(store, process) == [delivery.id]
        await store.queue.finish(process, [outcome(delivery.id, state, ordered=True)])
    assert await claimed(store, process) == [fourth.id]


async def test_what_waits_behind_one_that_is_too_old_expires_with_it_if_it_is_as_old(
    store: Store, process: int
) -> None:
    subscription = await subscribed(store, ordered=True)
    long_ago = utc_now() - timedelta(days=30)
    old, as_old, new = (
        make_delivery(make_event(job_id="a"), subscription, claimed=False, due_at=PAST, since=since)
        for since in (long_ago, long_ago, None)
    )
    other = make_delivery(make_event(job_id="b"), subscription, claimed=False, due_at=PAST)
    await accept(store, process, old, as_old, new, other)
    expired, _ = await store.queue.find_expired({subscription.destination: None}, 10)
    assert [one.id for one in expired] == [old.id]
    assert await store.queue.expire(expired) == 2
    assert [await state_of(store, one) for one in (old, as_old)] == [State.EXHAUSTED] * 2
    assert sorted(await claimed(store, process)) == sorted([new.id, other.id])


async def test_of_very_many_that_wait_behind_one_some_expire_at_a_time(
    store: Store, process: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ordering, "BEHIND", 2)
    subscription = await subscribed(store, ordered=True)
    long_ago = utc_now() - timedelta(days=30)
    new = [
        make_delivery(make_event(job_id="a"), subscription, claimed=False, due_at=PAST, since=long_ago)
        for _ in range(7)
    ]
    await accept(store, process, *new)
    counts = []
    while expired := (await store.queue.find_expired({subscription.destination: None}, 10))[0]:
        counts.append(await store.queue.expire(expired))
    assert counts == [3, 3, 1]


async def test_a_retry_holds_back_its_own_job_only(store: Store, process: int) -> None:
    a1, _, b1, b2 = await ordered(store, process, "a", "a", "b", "b")
    await claimed(store, process)
    await store.queue.finish(
        process,
        [
            outcome(a1.id, State.PENDING, due_at=FUTURE, ordered=True),
            outcome(b1.id, State.DELIVERED, ordered=True),
        ],
    )
    assert await claimed(store, process) == [b2.id]


async def test_a_cancelled_one_lets_the_next_go(store: Store, process: int) -> None:
    first, second = await ordered(store, process, "a", "a")
    assert await store.deliveries.cancel("default", first.id, "no")
    assert await claimed(store, process) == [second.id]


async def test_one_that_waits_for_its_turn_cannot_be_sent_before(store: Store, process: int) -> None:
    first, second = await ordered(store, process, "a", "a")
    assert not await store.deliveries.retry("default", second.id)
    assert await claimed(store, process) == [first.id]


async def test_later_batches_come_after_earlier_ones(store: Store, process: int) -> None:
    [first] = await ordered(store, process, "a")
    later = make_delivery(make_event(job_id="a"), first.subscription, claimed=False, due_at=PAST)
    await accept(store, process, later)
    assert await claimed(store, process) == [first.id]
    await store.queue.finish(process, [outcome(first.id, State.DELIVERED, ordered=True)])
    assert await claimed(store, process) == [later.id]


async def test_a_resumed_subscription_goes_on_in_order(store: Store, process: int) -> None:
    subscription = await subscribed(store, ordered=True, status="paused")
    new = [make_delivery(make_event(), subscription, claimed=False, due_at=None) for _ in range(3)]
    await accept(store, process, *new)
    assert await claimed(store, process) == []
    await store.subscriptions.save(replace(subscription, status="active", revision=2))
    assert await claimed(store, process) == [new[0].id]


async def test_a_subscription_that_is_not_ordered_any_more_lets_all_go(store: Store, process: int) -> None:
    new = await ordered(store, process, "a", "a", "a")
    await store.subscriptions.save(replace(new[0].subscription, ordered=False, revision=2))
    assert sorted(await claimed(store, process)) == sorted(one.id for one in new)


async def test_one_on_its_way_keeps_its_turn_over_the_end_of_its_subscription(
    store: Store, process: int
) -> None:
    [first] = await ordered(store, process, "a")
    assert await claimed(store, process) == [first.id]
    await store.subscriptions.end(first.subscription.id, "disabled", "answered 410")
    again = await store.subscriptions.get("default", first.subscription.id)
    assert again is not None
    await store.subscriptions.save(replace(again, status="active", revision=again.revision + 1))
    later = make_delivery(make_event(job_id="a"), again, claimed=False, due_at=utc_now())
    await accept(store, process, later)
    assert await claimed(store, process) == []
    await store.queue.finish(process, [outcome(first.id, State.DELIVERED, ordered=True)])
    assert await claimed(store, process) == [later.id]


async def test_a_turn_that_a_crash_left_behind_is_mended(store: Store, process: int) -> None:
    first, second = await ordered(store, process, "a", "a")
    await claimed(store, process)
    # As if the process had died between the outcome and what follows from it.
    await store.queue.finish(process, [outcome(first.id, State.DELIVERED, ordered=False)])
    assert await claimed(store, process) == []
    assert await store.ordering.repair(0) > 0
    assert await claimed(store, process) == [second.id]


async def test_processes_that_accept_and_finish_at_once_lose_no_turn(open_postgres: OpenAnother) -> None:
    stores = [await open_postgres() for _ in range(3)]
    numbers = [await store.leases.register("host", 1, 60) for store in stores]
    subscription = await subscribed(stores[0], ordered=True)

    async def work(store: Store, process: int) -> list[str]:
        sent: list[str] = []
        for _ in range(20):
            new = [
                make_delivery(make_event(job_id=job), subscription, claimed=False, due_at=utc_now())
                for job in "ab"
            ]
            await accept(store, process, *new)
            sent += await finish_some(store, process)
        return sent

    async def finish_some(store: Store, process: int) -> list[str]:
        mine = await claimed(store, process)
        await store.queue.finish(process, [outcome(one, State.DELIVERED, ordered=True) for one in mine])
        return mine

    sent = [one for some in await asyncio.gather(*map(work, stores, numbers)) for one in some]
    while mine := await finish_some(stores[0], numbers[0]):
        sent += mine
    assert len(sent) == len(set(sent)) == 3 * 20 * 2
