"""Sending again and cancelling, one or many."""

from __future__ import annotations

import pytest

from dispatcher.domain.deliveries import State
from dispatcher.domain.events import utc_now
from dispatcher.store.filters import DeliveryFilter
from dispatcher.store.store import Store
from tests.claiming import claim, next_due
from tests.store.helpers import (
    FUTURE,
    PAST,
    attempt,
    ended,
    found,
    ids,
    outcome,
    state_of,
    stored,
    subscribed,
    unknown,
)


@pytest.mark.parametrize("state", [state for state in State if state.final])
async def test_one_that_has_ended_can_be_sent_again(store: Store, process: int, state: State) -> None:
    (new,) = await ended(store, process, await subscribed(store), state)
    before = utc_now()
    assert await store.deliveries.retry("default", new.id)
    delivery = await found(store, new)
    assert (delivery.state, delivery.ended_at, delivery.reason) == (State.PENDING, None, None)
    (claimed,) = await claim(store, process, 10)
    assert (claimed.id, claimed.attempts, claimed.restarted_after) == (new.id, 1, 1)
    assert claimed.age_from >= before
    await store.queue.finish(process, [outcome(new.id, State.DELIVERED, attempts=2, attempt=attempt(2))])
    assert [tried.number for tried in await store.deliveries.attempts(new.id)] == [1, 2]


async def test_one_that_waits_can_be_sent_now(store: Store, process: int) -> None:
    (waits,) = await stored(store, process, await subscribed(store), claimed=False, due_at=FUTURE)
    assert await store.deliveries.retry("default", waits.id)
    assert [one.id for one in await claim(store, process, 10)] == [waits.id]


async def test_one_that_is_being_delivered_is_left_alone(store: Store, process: int) -> None:
    (fresh,) = await stored(store, process, await subscribed(store))
    assert not await store.deliveries.retry("default", fresh.id)
    assert not await store.deliveries.cancel("default", fresh.id, "no")
    assert await state_of(store, fresh) is State.DELIVERING


async def test_what_is_not_there_cannot_be_sent_or_cancelled(store: Store, process: int) -> None:
    (new,) = await ended(store, process, await subscribed(store), State.EXHAUSTED)
    assert not await store.deliveries.retry("other", new.id)
    assert not await store.deliveries.retry("default", unknown("dlv"))
    assert not await store.deliveries.retry("default", "nonsense")
    assert not await store.deliveries.cancel("default", "nonsense", "no")
    assert await state_of(store, new) is State.EXHAUSTED


async def test_one_that_waits_can_be_cancelled(store: Store, process: int) -> None:
    (waits,) = await stored(store, process, await subscribed(store), claimed=False, due_at=PAST)
    assert not await store.deliveries.cancel("other", waits.id, "no")
    assert await store.deliveries.cancel("default", waits.id, "not needed\0 any more")
    delivery = await found(store, waits)
    assert (delivery.state, delivery.due_at) == (State.CANCELLED, None)
    assert delivery.reason == "not needed\N{REPLACEMENT CHARACTER} any more"
    assert delivery.ended_at is not None
    assert not await store.deliveries.cancel("default", waits.id, "again")
    assert await claim(store, process, 10) == []
    assert await next_due(store) is None


async def test_many_that_failed_are_sent_again_the_oldest_first(store: Store, process: int) -> None:
    subscription = await subscribed(store)
    exhausted = await ended(store, process, subscription, State.EXHAUSTED, 2)
    cancelled = await ended(store, process, subscription, State.CANCELLED, 2)
    await ended(store, process, subscription, State.DELIVERED)
    await ended(store, process, subscription, State.SUPERSEDED)
    assert await store.deliveries.retry_matching(DeliveryFilter(tenant="default"), 3) == 3
    claimed = {one.id for one in await claim(store, process, 10)}
    assert claimed == {exhausted[0].id, exhausted[1].id, cancelled[0].id}
    assert await store.deliveries.retry_matching(DeliveryFilter(tenant="default"), 3) == 1
    assert await store.deliveries.retry_matching(DeliveryFilter(tenant="default"), 3) == 0


async def test_only_what_a_filter_selects_is_sent_again(store: Store, process: int) -> None:
    one = await subscribed(store, subscriber="alice", destination="https://a.example:443")
    two = await subscribed(store, subscriber="bob", destination="https://b.example:443")
    for subscription in (one, two):
        for state in (State.EXHAUSTED, State.CANCELLED, State.DELIVERED):
            await ended(store, process, subscription, state)

    async def retried(**fields: object) -> int:
        which = DeliveryFilter(**{"tenant": "default"} | fields)  # type: ignore[arg-type]  # real fields
        return await store.deliveries.retry_matching(which, 100)

    assert await retried(tenant="other") == 0
    assert await retried(state=State.DELIVERED) == 0
    assert await retried(destination="https://b.example:443", state=State.CANCELLED) == 1
    assert await retried(subscriber="alice", job_id="job-1") == 2
    assert await retried(since=FUTURE) == 0
    assert await retried(subscription_id=two.id) == 1
    assert len(await ids(store, state=State.PENDING)) == 4


async def test_what_is_sent_again_to_a_removed_subscription_is_cancelled_again(
    store: Store, process: int
) -> None:
    subscription = await subscribed(store)
    (new,) = await ended(store, process, subscription, State.EXHAUSTED)
    await store.subscriptions.remove("default", subscription.id)
    assert await store.deliveries.retry("default", new.id)
    assert await claim(store, process, 10) == []
    delivery = await found(store, new)
    assert (delivery.state, delivery.reason) == (State.CANCELLED, "the subscription was removed")
