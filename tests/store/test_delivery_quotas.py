"""The quota of deliveries in the store: over all processes together, and kept while a delivery waits for its turn."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace

from dispatcher.domain.deliveries import Delivery, OpenDelivery, State
from dispatcher.domain.delivery_quota import Grant
from dispatcher.domain.digests import DigestPolicy
from dispatcher.domain.events import utc_now
from dispatcher.domain.quotas import QuotaOverride, Quotas
from dispatcher.domain.subscriptions import Subscription
from dispatcher.store.store import Store
from dispatcher.telemetry.metrics import REGISTRY
from tests.claiming import claim
from tests.factories import make_delivery, make_event
from tests.store.conftest import OpenAnother
from tests.store.helpers import FUTURE, PAST, accept, found, outcome, subscribed


class LaterOverride(QuotaOverride, frozen=True, kw_only=True):
    """What a later version may store."""

    of_a_later_version: int


ALICE, BOB = ("default", "alice"), ("default", "bob")


async def test_what_one_process_takes_is_not_another_ones(store: Store) -> None:
    first = await store.quotas.take_deliveries({ALICE: 50, BOB: 1}, 60)
    second = await store.quotas.take_deliveries({ALICE: 50}, 60)
    assert [first[ALICE].granted, first[BOB].granted, second[ALICE].granted] == [50, 1, 10]
    assert 0 < second[ALICE].wait <= 1


async def test_processes_at_the_same_moment_hold_a_quota_together(open_postgres: OpenAnother) -> None:
    stores = [await open_postgres() for _ in range(3)]
    given = await asyncio.gather(
        *(one.quotas.take_deliveries({BOB: 1, ALICE: 7}, 60) for _ in range(6) for one in stores)
    )
    assert 60 <= sum(min(7, one[ALICE].granted) for one in given) <= 63
    late = sorted(one[ALICE].wait for one in given if one[ALICE].granted < 7)
    assert late[-1] > 7 * 7


async def test_what_an_admin_set_counts_and_begins_with_nothing_owed(store: Store) -> None:
    await store.quotas.take_deliveries({ALICE: 500}, 60)
    await store.quotas.set_override(*ALICE, QuotaOverride(deliveries_per_minute=120))
    await store.quotas.set_override(*BOB, QuotaOverride(subscriptions=1))
    given = await store.quotas.take_deliveries({ALICE: 120, BOB: 30}, 60)
    assert {owner: (one.per_minute, one.granted) for owner, one in given.items()} == {
        ALICE: (120, 120),
        BOB: (60, 30),
    }
    assert await store.quotas.deliveries_per_minute([ALICE, BOB], 60) == {ALICE: 120, BOB: 60}
    await store.quotas.set_override(*ALICE, QuotaOverride(deliveries_per_minute=0))
    assert (await store.quotas.take_deliveries({ALICE: 5000}, 60))[ALICE] == Grant(0, 5000)


async def test_any_number_of_owners_and_any_name_may_be_asked_for(store: Store) -> None:
    owners = [("default", f"owner {number}") for number in range(1200)] + [("t\0", "a\x1fb"), ("t", "\ud800")]
    given = await store.quotas.take_deliveries(dict.fromkeys(owners, 1), 60)
    assert {one.granted for one in given.values()} == {1}
    assert len(given) == len(owners)


def late(subscription: Subscription, job: str) -> OpenDelivery:
    return make_delivery(
        make_event(job_id=job), subscription, claimed=False, due_at=FUTURE, reason="over the quota"
    )


async def test_the_reason_is_kept_until_the_delivery_is_tried(store: Store, process: int) -> None:
    subscription = await subscribed(store)
    one = make_delivery(make_event(), subscription, claimed=False, due_at=PAST, reason="over the quota of 1")
    await accept(store, process, one)
    assert (await found(store, one)).reason == "over the quota of 1"
    await claim(store, process, 1)
    await store.queue.finish(process, [outcome(one.id, State.DELIVERED)])
    assert (await found(store, one)).reason is None


async def test_an_ordered_one_goes_in_its_turn_and_not_before_its_time(store: Store, process: int) -> None:
    subscription = await subscribed(store, ordered=True)
    first = make_delivery(make_event(job_id="j"), subscription, claimed=False, due_at=PAST)
    second = late(subscription, "j")
    third = make_delivery(make_event(job_id="j"), subscription, claimed=False, due_at=utc_now())
    await accept(store, process, first, second, third)
    assert [(await found(store, one)).due_at for one in (second, third)] == [None, None]

    assert [one.id for one in await claim(store, process, 10)] == [first.id]
    await store.queue.finish(process, [outcome(first.id, State.DELIVERED, ordered=True)])
    assert (await found(store, second)).due_at == FUTURE
    assert (await found(store, third)).due_at is None
    assert await store.deliveries.cancel("default", second.id, "no")
    due = (await found(store, third)).due_at
    assert due is not None
    assert due <= utc_now() + timedelta(seconds=1)


def seconds_until(delivery: Delivery, since: datetime) -> int | None:
    return None if delivery.due_at is None else round((delivery.due_at - since).total_seconds())


def over_quota() -> float:
    return REGISTRY.get_sample_value("dispatcher_deliveries_over_quota_total") or 0


async def test_what_was_held_is_due_within_the_quota_after_a_resume(store: Store, process: int) -> None:
    paused = await subscribed(store, status="paused")
    new = [make_delivery(make_event(), paused, claimed=False, due_at=None) for _ in range(65)]
    await accept(store, process, *new)
    before, counted = utc_now(), over_quota()
    await store.subscriptions.save(replace(paused, status="active", revision=2), None, 60)
    assert over_quota() - counted == 5
    # At once: the quota gives more with each second.
    following = (await store.quotas.take_deliveries({ALICE: 1}, 60))[ALICE]
    released = [await found(store, one) for one in new]
    assert [seconds_until(one, before) for one in released] == [*[0] * 60, 1, 2, 3, 4, 5]
    assert {one.reason for one in released[60:]} == {"over the quota of 60 deliveries a minute"}
    assert {one.reason for one in released[:60]} == {None}
    assert following.wait > 5


async def test_what_was_held_in_many_parts_is_due_within_the_quota(
    store: Store, process: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatcher.store.delivery_writes.CHUNK", 4)
    paused = await subscribed(store, status="paused")
    new = [make_delivery(make_event(), paused, claimed=False, due_at=None) for _ in range(10)]
    await accept(store, process, *new)
    before = utc_now()
    await store.subscriptions.save(replace(paused, status="active", revision=2), None, 6)
    due = [seconds_until(await found(store, one), before) for one in new]
    assert sorted(due, key=lambda one: one or 0) == [0, 0, 0, 0, 0, 0, 10, 20, 30, 40]


async def test_deliveries_held_without_a_quota_are_due_at_once(store: Store, process: int) -> None:
    await store.quotas.set_override(*BOB, QuotaOverride(deliveries_per_minute=0))
    for subscriber in ("*", "bob"):
        paused = await subscribed(store, status="paused", subscriber=subscriber)
        new = [make_delivery(make_event(), paused, claimed=False, due_at=None) for _ in range(3)]
        await accept(store, process, *new)
        await store.subscriptions.save(replace(paused, status="active", revision=2), None, 1)
        assert {one.id for one in await claim(store, process, 10)} == {one.id for one in new}


async def test_what_was_gathered_is_due_within_the_quota_without_a_digest(store: Store, process: int) -> None:
    gathers = await subscribed(store, digest=DigestPolicy(interval=3600))
    new = [
        make_delivery(make_event(), gathers, claimed=False, due_at=FUTURE, group=b"g" * 16) for _ in range(4)
    ]
    await accept(store, process, *new)
    before = utc_now()
    await store.subscriptions.save(replace(gathers, digest=None, revision=2), None, 1)
    due = [seconds_until(await found(store, one), before) for one in new[1:]]
    assert due == [0, 60, 120]


async def test_what_waited_for_its_turn_is_not_counted_again(store: Store, process: int) -> None:
    subscription = await subscribed(store, ordered=True)
    new = [make_delivery(make_event(job_id="j"), subscription, claimed=False, due_at=PAST) for _ in range(3)]
    await accept(store, process, *new)
    await store.subscriptions.save(replace(subscription, ordered=False, revision=2), None, 1)
    assert {one.id for one in await claim(store, process, 10)} == {one.id for one in new}


async def test_ordered_ones_that_were_held_go_in_their_turn_within_the_quota(
    store: Store, process: int
) -> None:
    paused = await subscribed(store, ordered=True, status="paused")
    jobs = ["j", "k", "j", "j"]
    new = [make_delivery(make_event(job_id=j), paused, claimed=False, due_at=None) for j in jobs]
    await accept(store, process, *new)
    before = utc_now()
    await store.subscriptions.save(replace(paused, status="active", revision=2), None, 1)
    due = [seconds_until(await found(store, one), before) for one in new]
    assert due == [0, 60, None, None]
    assert [one.id for one in await claim(store, process, 10)] == [new[0].id]
    await store.queue.finish(process, [outcome(new[0].id, State.DELIVERED, ordered=True)])
    assert seconds_until(await found(store, new[2]), before) == 120
    again = replace(paused, status="paused", revision=3)
    await store.subscriptions.save(again, None, 1)
    await store.subscriptions.save(replace(again, status="active", revision=4), None, 1)
    assert seconds_until(await found(store, new[2]), before) == 120


async def test_quotas_that_a_later_version_set_are_left_out(store: Store) -> None:
    await store.quotas.set_override(*ALICE, LaterOverride(deliveries_per_minute=7, of_a_later_version=1))
    assert (await store.quotas.take_deliveries({ALICE: 9}, 60))[ALICE].granted == 7
    found = await store.quotas.override(*ALICE)
    assert found is not None
    assert found.over(Quotas()).deliveries_per_minute == 7
