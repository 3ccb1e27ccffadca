"""Digests in the store: who waits for whom, and what becomes of them."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace
from sqlalchemy import Connection, update

from dispatcher.domain.deliveries import DigestJoin, OpenDelivery, State
from dispatcher.domain.digests import DigestPolicy
from dispatcher.domain.events import utc_now
from dispatcher.domain.subscriptions import Subscription
from dispatcher.store import digest_overflow
from dispatcher.store.schema import deliveries
from dispatcher.store.store import Store
from tests.claiming import claim
from tests.factories import make_delivery, make_event
from tests.store.conftest import OpenAnother
from tests.store.helpers import FUTURE, accept, attempt, found, outcome, state_of, subscribed

HOURLY = DigestPolicy(wait=0, interval=3600)


async def gathered(
    store: Store, process: int, subscription: Subscription, *owners: str
) -> list[OpenDelivery]:
    """Accept an event of each of these owners, in one batch."""
    new = [
        make_delivery(make_event(owner=owner), subscription, claimed=False, due_at=utc_now())
        for owner in owners
    ]
    await accept(store, process, *new)
    return new


async def claimed(store: Store, process: int) -> list[str]:
    return [delivery.id for delivery in await claim(store, process, 100)]


async def members(store: Store, leader: OpenDelivery) -> list[str]:
    return [one.delivery_id for one in await store.digests.take(leader.id)]


async def due(store: Store, delivery: OpenDelivery) -> datetime | None:
    return (await found(store, delivery)).due_at


async def test_the_first_goes_at_once_with_what_came_meanwhile_and_the_next_after_the_interval(
    store: Store, process: int
) -> None:
    subscription = await subscribed(store, digest=HOURLY)
    first, second, third = await gathered(store, process, subscription, "a", "b", "c")
    assert await claimed(store, process) == [first.id]
    assert await members(store, first) == [second.id, third.id]
    [later, last] = await gathered(store, process, subscription, "d", "e")
    at = await due(store, later)
    assert at is not None
    assert timedelta(minutes=59) < at - utc_now() <= timedelta(hours=1)
    assert await due(store, last) is None
    assert await claimed(store, process) == []


async def test_members_end_as_their_leader_ends_each_with_that_attempt(store: Store, process: int) -> None:
    subscription = await subscribed(store, digest=HOURLY)
    first, second = await gathered(store, process, subscription, "a", "b")
    await claimed(store, process)
    await store.digests.take(first.id)
    await store.queue.finish(process, [outcome(first.id, State.DELIVERED, attempt=attempt(), leads=True)])
    assert await state_of(store, second) is State.DELIVERED
    assert (await found(store, second)).attempts == 1
    assert await store.deliveries.attempts(second.id) == await store.deliveries.attempts(first.id)


async def test_members_wait_for_the_retry_of_their_leader(store: Store, process: int) -> None:
    subscription = await subscribed(store, digest=HOURLY)
    first, second = await gathered(store, process, subscription, "a", "b")
    await claimed(store, process)
    await store.digests.take(first.id)
    await store.queue.finish(process, [outcome(first.id, State.PENDING, due_at=utc_now(), leads=True)])
    assert await claimed(store, process) == [first.id]
    assert await members(store, first) == [second.id]
    await store.queue.finish(process, [outcome(first.id, State.EXHAUSTED, reason="no", leads=True)])
    assert ((await found(store, second)).state, (await found(store, second)).reason) == (
        State.EXHAUSTED,
        "no",
    )


async def test_members_of_a_digest_that_was_given_up_know_who_has_it(store: Store, process: int) -> None:
    subscription = await subscribed(store, digest=HOURLY)
    first, second = await gathered(store, process, subscription, "a", "b")
    await claimed(store, process)
    await store.digests.take(first.id)
    given_up = outcome(
        first.id, State.EXHAUSTED, reason="no", attempt_state="ann has it", attempt=attempt(), leads=True
    )
    await store.queue.finish(process, [given_up])
    assert await store.deliveries.retry("default", second.id)
    [again] = await claim(store, process, 100)
    assert (again.id, again.attempt_state) == (second.id, "ann has it")


async def test_each_group_has_a_separate_digest(store: Store, process: int) -> None:
    subscription = await subscribed(store, digest=replace(HOURLY, group_by=("owner", "data.array")))
    first, _, third = await gathered(store, process, subscription, "a", "b", "a")
    assert len(await claimed(store, process)) == 2
    assert await members(store, first) == [third.id]


async def test_a_digest_that_is_full_is_followed_by_another_at_the_same_time(
    store: Store, process: int
) -> None:
    subscription = await subscribed(store, digest=replace(HOURLY, max_rows=2))
    new = await gathered(store, process, subscription, *"abcde")
    assert sorted(await claimed(store, process)) == sorted(one.id for one in new[::2])
    assert [await members(store, one) for one in new[::2]] == [[new[1].id], [new[3].id], []]


async def test_a_cancelled_leader_leaves_its_digest_to_another(store: Store, process: int) -> None:
    subscription = await subscribed(store, digest=replace(HOURLY, wait=3600))
    first, second, third = await gathered(store, process, subscription, "a", "b", "c")
    at = await due(store, first)
    assert await store.deliveries.cancel("default", first.id, "no")
    assert (await due(store, second), await due(store, third)) == (at, None)
    assert await members(store, second) == [third.id]


async def test_one_that_is_sent_by_hand_leaves_its_digest(store: Store, process: int) -> None:
    subscription = await subscribed(store, digest=replace(HOURLY, wait=3600))
    first, second = await gathered(store, process, subscription, "a", "b")
    assert await store.deliveries.retry("default", second.id)
    assert await claimed(store, process) == [second.id]
    assert await members(store, first) == []


async def test_a_paused_subscription_gathers_and_sends_when_it_is_resumed(store: Store, process: int) -> None:
    subscription = await subscribed(store, digest=HOURLY, status="paused")
    new = [make_delivery(make_event(), subscription, claimed=False, due_at=None) for _ in range(3)]
    await accept(store, process, *new)
    assert await claimed(store, process) == []
    await store.subscriptions.save(replace(subscription, status="active", revision=2))
    assert await claimed(store, process) == [new[0].id]
    assert await members(store, new[0]) == [new[1].id, new[2].id]


async def test_without_a_digest_any_more_each_goes_by_itself(store: Store, process: int) -> None:
    subscription = await subscribed(store, digest=HOURLY)
    new = await gathered(store, process, subscription, "a", "b", "c")
    await store.subscriptions.save(replace(subscription, digest=None, revision=2))
    assert sorted(await claimed(store, process)) == sorted(one.id for one in new)


async def test_what_is_removed_is_gathered_no_more(store: Store, process: int) -> None:
    subscription = await subscribed(store, digest=HOURLY)
    new = await gathered(store, process, subscription, "a", "b")
    assert await store.subscriptions.remove("default", subscription.id)
    assert [await state_of(store, one) for one in new] == [State.CANCELLED] * 2
    assert await members(store, new[0]) == []


async def test_members_that_a_crash_left_behind_are_ended(store: Store, process: int) -> None:
    subscription = await subscribed(store, digest=HOURLY)
    first, second = await gathered(store, process, subscription, "a", "b")
    await claimed(store, process)
    await store.digests.take(first.id)
    await store.queue.finish(process, [outcome(first.id, State.DELIVERED, attempt=attempt())])
    assert await state_of(store, second) is State.PENDING
    assert await store.digests.repair(None) is None
    assert await state_of(store, second) is State.DELIVERED


async def test_what_is_too_much_for_a_recipient_is_gathered_too(store: Store, process: int) -> None:
    subscription = await subscribed(store)
    new = await gathered(store, process, subscription, "a", "b", "c")
    await claimed(store, process)
    joins = DigestJoin(subscription.id, 100)
    await store.queue.finish(
        process, [outcome(one.id, State.PENDING, attempts=0, due_at=FUTURE, joins=joins) for one in new]
    )
    assert [await due(store, one) for one in new] == [FUTURE, None, None]
    assert await members(store, new[0]) == [new[1].id, new[2].id]


async def test_what_is_gathered_brings_those_that_waited_for_it_as_far_as_there_is_room(
    store: Store, process: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digest_overflow, "MAX_MEMBERS", 4)
    subscription = await subscribed(store, digest=replace(HOURLY, group_by=("owner",)))
    new = await gathered(store, process, subscription, *"aabbcc")
    leaders = [new[0], new[2], new[4]]
    assert sorted(await claimed(store, process)) == sorted(one.id for one in leaders)
    for leader in leaders:
        await store.digests.take(leader.id)
        joins = DigestJoin(subscription.id, 100)
        put_off = outcome(leader.id, State.PENDING, attempts=0, due_at=FUTURE, joins=joins)
        await store.queue.finish(process, [put_off])
    assert [await due(store, one) for one in leaders] == [FUTURE, None, FUTURE]
    assert await members(store, new[0]) == [new[1].id, new[2].id, new[3].id]
    assert await members(store, new[4]) == [new[5].id]


async def test_what_was_claimed_again_before_it_could_be_gathered_goes_by_itself(
    store: Store, process: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    subscription = await subscribed(store)
    first, second = await gathered(store, process, subscription, "a", "b")
    await claimed(store, process)
    gather, joins = digest_overflow.gather, DigestJoin(subscription.id, 100)

    def claims_the_first_before(connection: Connection, *rest: Any) -> None:
        claims = update(deliveries).where(deliveries.c.id == first.id).values(state=State.DELIVERING)
        connection.execute(claims)
        gather(connection, *rest)

    monkeypatch.setattr(digest_overflow, "gather", claims_the_first_before)
    put_off = {"attempts": 0, "due_at": FUTURE, "joins": joins}
    await store.queue.finish(process, [outcome(one.id, State.PENDING, **put_off) for one in (first, second)])
    assert await due(store, second) == FUTURE
    assert await members(store, first) == []


async def test_what_is_gathered_twice_because_an_answer_was_lost_waits_once(
    store: Store, process: int
) -> None:
    subscription = await subscribed(store)
    new = await gathered(store, process, subscription, "a", "b")
    await claimed(store, process)
    joins = DigestJoin(subscription.id, 100)
    put_off = [outcome(one.id, State.PENDING, attempts=0, due_at=FUTURE, joins=joins) for one in new]
    for _ in range(2):
        await store.queue.finish(process, put_off)
    assert [await due(store, one) for one in new] == [FUTURE, None]
    assert await members(store, new[0]) == [new[1].id]


async def test_a_replay_whose_answer_was_lost_waits_for_no_other(store: Store, process: int) -> None:
    subscription = await subscribed(store, digest=HOURLY)
    [first] = await gathered(store, process, await subscribed(store), "a")
    again = make_delivery(first.event, subscription, claimed=False, due_at=utc_now())
    for _ in range(2):
        await store.events.add_deliveries(process, [again])
    assert again.id in await claimed(store, process)
    assert await members(store, again) == []


async def test_a_member_that_was_tried_alone_before_keeps_that_attempt(store: Store, process: int) -> None:
    subscription = await subscribed(store)
    first, second = await gathered(store, process, subscription, "a", "b")
    await claimed(store, process)
    failed = outcome(second.id, State.PENDING, due_at=utc_now(), attempt=attempt(status=500))
    await store.queue.finish(process, [failed])
    assert await claimed(store, process) == [second.id]
    joins = DigestJoin(subscription.id, 100)
    for one, attempts in ((first, 0), (second, 1)):
        put_off = outcome(one.id, State.PENDING, attempts=attempts, due_at=utc_now(), joins=joins)
        await store.queue.finish(process, [put_off])
    assert await claimed(store, process) == [first.id]
    assert await members(store, first) == [second.id]
    await store.queue.finish(process, [outcome(first.id, State.DELIVERED, attempt=attempt(), leads=True)])
    assert [(one.number, one.status) for one in await store.deliveries.attempts(second.id)] == [
        (1, 500),
        (2, 200),
    ]
    assert (await found(store, second)).attempts == 2


async def test_a_leader_that_waited_too_long_leaves_its_digest_to_who_did_not(
    store: Store, process: int
) -> None:
    subscription = await subscribed(store, digest=replace(HOURLY, wait=3600))
    long_ago = utc_now() - timedelta(days=30)
    first, second = (
        make_delivery(make_event(), subscription, claimed=False, due_at=utc_now(), since=long_ago)
        for _ in range(2)
    )
    await accept(store, process, first, second)
    [third] = await gathered(store, process, subscription, "c")
    at = await due(store, first)
    expired, _ = await store.queue.find_expired({subscription.destination: None}, 10)
    assert await store.queue.expire(expired) == 2
    assert [await state_of(store, one) for one in (first, second)] == [State.EXHAUSTED] * 2
    assert (await due(store, third), await state_of(store, third)) == (at, State.PENDING)
    [fourth] = await gathered(store, process, subscription, "d")
    assert await members(store, third) == [fourth.id]


async def test_a_leader_that_ends_untried_leaves_its_digest_to_another(store: Store, process: int) -> None:
    subscription = await subscribed(store, digest=HOURLY)
    first, second, third = await gathered(store, process, subscription, "a", "b", "c")
    await claimed(store, process)
    await store.digests.take(first.id)
    await store.queue.finish(process, [outcome(first.id, State.EXHAUSTED, attempts=0, reason="too old")])
    assert await claimed(store, process) == [second.id]
    assert await members(store, second) == [third.id]


async def test_what_comes_while_its_leader_is_cancelled_is_not_cancelled_with_it(
    open_postgres: OpenAnother, postgres_url: str
) -> None:
    store = await open_postgres()
    process = await store.leases.register("a-host", 1, lease=60)
    subscription = await subscribed(store, digest=replace(HOURLY, wait=3600))
    first, late = await gathered(store, process, subscription, "a", "b")
    other = await asyncpg.connect(postgres_url)
    # As if another process were just storing it.
    row = await other.fetchrow("delete from digest_members returning delivery_id, leader, subscription_id")
    assert row is not None
    transaction = other.transaction()
    await transaction.start()
    await other.execute("select from digests for update")
    await other.execute(
        "insert into digest_members (delivery_id, leader, subscription_id) values ($1, $2, $3)", *row
    )
    cancelling = asyncio.create_task(store.deliveries.cancel("default", first.id, "no"))
    async with asyncio.timeout(5):
        while not await other.fetchval("select count(*) from pg_locks where not granted"):
            await other.execute("select pg_sleep(0.01)")
        await transaction.commit()
        assert await cancelling
    await other.close()
    await store.digests.repair(None)
    assert await state_of(store, late) is State.PENDING
    assert await due(store, late) is not None


async def test_processes_that_accept_and_send_at_once_tell_every_event_once(
    open_postgres: OpenAnother,
) -> None:
    stores = [await open_postgres() for _ in range(3)]
    numbers = [await store.leases.register("host", 1, 60) for store in stores]
    subscription = await subscribed(stores[0], digest=DigestPolicy(wait=0, interval=1))
    sent: list[str] = []

    async def send(store: Store, process: int) -> None:
        for leader in await claimed(store, process):
            sent.extend([leader, *(one.delivery_id for one in await store.digests.take(leader))])
            await store.queue.finish(
                process, [outcome(leader, State.DELIVERED, attempt=attempt(), leads=True)]
            )

    async def work(store: Store, process: int) -> None:
        for _ in range(15):
            await gathered(store, process, subscription, "a", "b")
            await send(store, process)

    await asyncio.gather(*map(work, stores, numbers))
    async with asyncio.timeout(20):
        while len(sent) < 90:
            await send(stores[0], numbers[0])
            await asyncio.sleep(0.02)
    assert len(set(sent)) == len(sent) == 90


async def test_what_is_too_much_of_several_processes_is_gathered_into_one_digest(
    open_postgres: OpenAnother,
) -> None:
    stores = [await open_postgres() for _ in range(3)]
    numbers = [await store.leases.register("host", 1, 60) for store in stores]
    subscription = await subscribed(stores[0])
    new = await gathered(stores[0], numbers[0], subscription, *"abcdefghijklmnopqr")
    joins = DigestJoin(subscription.id, 100)

    async def postpone(store: Store, process: int) -> None:
        while some := [delivery.id for delivery in await claim(store, process, 3)]:
            put_off = {"attempts": 0, "due_at": FUTURE, "joins": joins}
            await store.queue.finish(process, [outcome(key, State.PENDING, **put_off) for key in some])

    await asyncio.gather(*map(postpone, stores, numbers))
    [leader] = [one for one in new if await due(stores[0], one) == FUTURE]
    assert await members(stores[0], leader) == [one.id for one in new if one is not leader]
