"""Claims: what is due goes to one process, which decides about it as long as it has its lease."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from dispatcher.domain.deliveries import OpenDelivery, Outcome, State
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.events import utc_now
from dispatcher.domain.ids import new_id
from dispatcher.domain.subscriptions import SubscriptionStatus
from dispatcher.store.batches import digest
from dispatcher.store.postgres import queue as postgres_queue
from dispatcher.store.sqlite import hot_sql as sqlite_sql
from dispatcher.store.store import Store
from tests.claiming import claim, next_due
from tests.factories import NOW, make_delivery, make_event
from tests.store.conftest import OpenAnother
from tests.store.helpers import (
    FUTURE,
    PAST,
    accept,
    attempt,
    found,
    ids,
    outcome,
    state_of,
    stored,
    subscribed,
)


async def test_a_due_delivery_is_claimed_with_all_that_is_needed(store: Store, process: int) -> None:
    subscription = await subscribed(store)
    (new,) = await stored(store, process, subscription, claimed=False, due_at=PAST)
    (claimed,) = await claim(store, process, 10)
    assert (claimed.id, claimed.event, claimed.subscription) == (new.id, new.event, subscription)
    assert (claimed.attempts, claimed.restarted_after, claimed.age_from) == (0, 0, NOW)
    delivery = await found(store, new)
    assert (delivery.state, delivery.due_at) == (State.DELIVERING, None)
    assert await claim(store, process, 10) == []


async def test_the_longest_due_are_claimed_first(store: Store, process: int) -> None:
    subscription = await subscribed(store)
    new = [
        make_delivery(make_event(), subscription, claimed=False, due_at=PAST + timedelta(seconds=seconds))
        for seconds in (30, 10, 20, 40)
    ]
    await accept(store, process, *new)
    assert [one.id for one in await claim(store, process, 3)] == [new[1].id, new[2].id, new[0].id]
    assert [one.id for one in await claim(store, process, 3)] == [new[3].id]


async def test_what_is_not_due_is_not_claimed(store: Store, process: int) -> None:
    subscription = await subscribed(store)
    await stored(store, process, subscription, claimed=False, due_at=FUTURE)
    await stored(store, process, subscription)
    assert await claim(store, process, 10) == []
    assert await next_due(store) == FUTURE


async def test_nothing_is_due_when_nothing_waits(store: Store, process: int) -> None:
    await stored(store, process, await subscribed(store))
    assert await next_due(store) is None


async def test_deliveries_of_one_event_share_it(store: Store, process: int) -> None:
    event = make_event()
    new = [
        make_delivery(event, await subscribed(store), claimed=False, due_at=PAST),
        make_delivery(event, await subscribed(store), claimed=False, due_at=PAST),
    ]
    await accept(store, process, *new)
    first, second = await claim(store, process, 10)
    assert first.event is second.event


async def test_a_process_without_a_lease_claims_nothing(store: Store, process: int) -> None:
    await stored(store, process, await subscribed(store), claimed=False, due_at=PAST)
    await store.leases.release(process)
    assert await claim(store, process, 10) == []


async def test_an_outcome_ends_a_delivery(store: Store, process: int) -> None:
    (new,) = await stored(store, process, await subscribed(store))
    tried = attempt()
    await store.queue.finish(process, [outcome(new.id, State.DELIVERED, attempt=tried)])
    delivery = await found(store, new)
    assert (delivery.state, delivery.attempts, delivery.ended_at) == (State.DELIVERED, 1, NOW)
    assert await store.deliveries.attempts(new.id) == [tried]


async def test_an_outcome_can_be_another_try(store: Store, process: int) -> None:
    (new,) = await stored(store, process, await subscribed(store))
    failed = attempt(status=None, answer=None, error="connection refused")
    again = outcome(new.id, State.PENDING, due_at=PAST, reason="connection refused", attempt=failed)
    await store.queue.finish(process, [again])
    delivery = await found(store, new)
    assert (delivery.state, delivery.due_at, delivery.reason) == (State.PENDING, PAST, "connection refused")
    (claimed,) = await claim(store, process, 10)
    assert (claimed.id, claimed.attempts) == (new.id, 1)
    assert (await store.deliveries.backlog())[State.DELIVERING] == 1
    second = attempt(2)
    await store.queue.finish(process, [outcome(new.id, State.DELIVERED, attempts=2, attempt=second)])
    assert await ids(store, state=State.DELIVERING) == []
    assert await store.deliveries.backlog() == {State.PENDING: 0, State.DELIVERING: 0, State.EXHAUSTED: 0}
    assert await store.deliveries.attempts(new.id) == [failed, second]
    delivery = await found(store, new)
    assert (delivery.state, delivery.due_at, delivery.reason) == (State.DELIVERED, None, None)


async def test_an_outcome_without_an_attempt_leaves_none(store: Store, process: int) -> None:
    (new,) = await stored(store, process, await subscribed(store))
    await store.queue.finish(process, [outcome(new.id, State.EXHAUSTED, attempts=0, reason="too old")])
    assert await store.deliveries.attempts(new.id) == []
    assert (await found(store, new)).attempts == 0


async def test_the_same_outcome_again_changes_nothing(store: Store, process: int) -> None:
    (new,) = await stored(store, process, await subscribed(store))
    ended = outcome(new.id, State.DELIVERED, attempt=attempt())
    await store.queue.finish(process, [ended])
    await store.queue.finish(process, [ended])
    assert len(await store.deliveries.attempts(new.id)) == 1
    assert await state_of(store, new) is State.DELIVERED


async def test_no_answer_of_a_receiver_stops_a_batch(store: Store, process: int) -> None:
    first, second = await stored(store, process, await subscribed(store), 2)
    bad = attempt(answer="nul\0 and \ud800", error="\0", request="POST \0")
    outcomes = [
        outcome(first.id, State.EXHAUSTED, reason="\0", attempt=bad),
        outcome(second.id, State.DELIVERED, attempt=attempt()),
    ]
    await store.queue.finish(process, outcomes)
    assert await state_of(store, second) is State.DELIVERED
    (kept,) = await store.deliveries.attempts(first.id)
    assert kept.answer == "nul\N{REPLACEMENT CHARACTER} and \N{REPLACEMENT CHARACTER}"


async def test_the_latest_hundred_attempts_are_shown(store: Store, process: int) -> None:
    (new,) = await stored(store, process, await subscribed(store))
    outcomes = [outcome(new.id, State.DELIVERED, attempt=attempt(number)) for number in range(1, 131)]
    await store.queue.finish(process, outcomes)
    assert [tried.number for tried in await store.deliveries.attempts(new.id)] == list(range(31, 131))


async def test_an_outcome_of_a_lost_claim_changes_no_state(store: Store) -> None:
    late = await store.leases.register("a-host", 1, lease=-1)
    heir = await store.leases.register("a-host", 2, lease=60)
    (new,) = await stored(store, late, await subscribed(store))
    assert await store.leases.release_expired() == 1
    tried = attempt()
    await store.queue.finish(late, [outcome(new.id, State.DELIVERED, attempt=tried)])
    assert await state_of(store, new) is State.PENDING
    assert await store.deliveries.attempts(new.id) == [tried], "that it was tried is still true"
    (claimed,) = await claim(store, heir, 10)
    await store.queue.finish(late, [outcome(new.id, State.EXHAUSTED)])
    assert await state_of(store, new) is State.DELIVERING
    await store.queue.finish(heir, [outcome(claimed.id, State.DELIVERED, attempt=attempt(1, status=201))])
    assert await state_of(store, new) is State.DELIVERED
    assert await store.deliveries.attempts(new.id) == [tried]


async def test_a_process_that_dies_is_taken_over(store: Store) -> None:
    dead = await store.leases.register("a-host", 1, lease=-1)
    alive = await store.leases.register("a-host", 2, lease=60)
    subscription = await subscribed(store)
    fresh = await stored(store, dead, subscription, 3)
    (finished,) = await stored(store, dead, subscription)
    await store.queue.finish(dead, [outcome(finished.id, State.DELIVERED)])
    (others,) = await stored(store, alive, subscription)
    (waits,) = await stored(store, dead, subscription, claimed=False, due_at=FUTURE)
    assert await store.leases.release_expired() == 3
    assert {one.id for one in await claim(store, alive, 10)} == {one.id for one in fresh}
    assert await state_of(store, finished) is State.DELIVERED
    assert await state_of(store, others) is State.DELIVERING
    assert (await found(store, waits)).due_at == FUTURE
    assert await store.leases.release_expired() == 0


async def test_a_claimed_retry_is_taken_over_although_it_is_older_than_all_fresh_claims(store: Store) -> None:
    dead = await store.leases.register("a-host", 1, lease=60)
    (old,) = await stored(store, dead, await subscribed(store), claimed=False, due_at=PAST)
    await claim(store, dead, 10)
    assert await store.leases.renew(dead, -1, new_id("dlv"))
    assert await store.leases.release_expired() == 1
    assert await state_of(store, old) is State.PENDING


async def test_a_process_that_was_taken_over_learns_it_from_its_heartbeat(store: Store) -> None:
    late = await store.leases.register("a-host", 1, lease=-1)
    assert await store.leases.renew(late, -1, new_id("dlv")), "no process has taken it over yet"
    await store.leases.release_expired()
    assert not await store.leases.renew(late, 60, new_id("dlv"))


async def test_a_process_with_a_lease_keeps_its_claims(store: Store, process: int) -> None:
    (new,) = await stored(store, process, await subscribed(store))
    assert await store.leases.release_expired() == 0
    assert await state_of(store, new) is State.DELIVERING


async def test_a_process_that_leaves_gives_its_claims_back(store: Store, process: int) -> None:
    subscription = await subscribed(store)
    (fresh,) = await stored(store, process, subscription)
    (retried,) = await stored(store, process, subscription, claimed=False, due_at=PAST)
    await claim(store, process, 10)
    assert await store.leases.release(process) == 2
    heir = await store.leases.register("a-host", 2, lease=60)
    assert {one.id for one in await claim(store, heir, 10)} == {fresh.id, retried.id}


async def test_a_number_is_not_given_twice(store: Store, process: int) -> None:
    await store.leases.release(process)
    assert await store.leases.register("a-host", 1, lease=60) != process


@pytest.mark.parametrize(
    ("status", "state", "reason"),
    [
        ("disabled", State.CANCELLED, "answered 410"),
        ("completed", State.SUPERSEDED, "answered 410"),
        ("paused", State.PENDING, None),
    ],
)
async def test_what_was_stored_while_its_subscription_changed_is_settled_at_the_claim(
    store: Store, process: int, status: SubscriptionStatus, state: State, reason: str | None
) -> None:
    subscription = await subscribed(store, status=status, status_reason=reason)
    (new,) = await stored(store, process, subscription, claimed=False, due_at=PAST)
    assert await claim(store, process, 10) == []
    delivery = await found(store, new)
    assert (delivery.state, delivery.reason, delivery.due_at) == (state, reason, None)


async def test_what_was_stored_while_its_subscription_was_removed_is_cancelled(
    store: Store, process: int
) -> None:
    subscription = await subscribed(store)
    await store.subscriptions.remove("default", subscription.id)
    (new,) = await stored(store, process, subscription, claimed=False, due_at=PAST)
    assert await claim(store, process, 10) == []
    delivery = await found(store, new)
    assert (delivery.state, delivery.reason) == (State.CANCELLED, "the subscription was removed")


async def test_an_expired_subscription_still_gets_what_waited_for_it(store: Store, process: int) -> None:
    subscription = await subscribed(store, expires_at=PAST)
    (new,) = await stored(store, process, subscription, claimed=False, due_at=PAST)
    assert [claimed.id for claimed in await claim(store, process, 10)] == [new.id]


async def test_processes_never_claim_the_same_delivery(open_postgres: OpenAnother) -> None:
    stores = [await open_postgres() for _ in range(4)]
    processes = [
        await store.leases.register("a-host", number, lease=60) for number, store in enumerate(stores)
    ]
    subscription = await subscribed(stores[0])
    new = await stored(stores[0], processes[0], subscription, 300, claimed=False, due_at=PAST)

    async def claim_all(store: Store, process: int) -> list[str]:
        mine: list[str] = []
        while claimed := await claim(store, process, 7):
            mine += [delivery.id for delivery in claimed]
        return mine

    shares = await asyncio.gather(*map(claim_all, stores, processes))
    assert sorted(one for share in shares for one in share) == sorted(one.id for one in new)
    assert all(shares), "each had its share"


async def test_claims_at_once_within_a_process_do_not_meet(store: Store, process: int) -> None:
    new = await stored(store, process, await subscribed(store), 60, claimed=False, due_at=PAST)
    shares = await asyncio.gather(*(claim(store, process, 20) for _ in range(4)))
    assert sorted(one.id for share in shares for one in share) == sorted(one.id for one in new)


async def test_many_processes_take_a_dead_one_over_once(open_postgres: OpenAnother) -> None:
    stores = [await open_postgres() for _ in range(4)]
    dead = await stores[0].leases.register("a-host", 1, lease=-1)
    await stored(stores[0], dead, await subscribed(stores[0]), 50)
    freed = await asyncio.gather(*(store.leases.release_expired() for store in stores))
    assert sum(freed) == 50


async def test_a_claim_whose_answer_was_lost_is_found_again(
    open_postgres: OpenAnother, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_postgres()
    process = await store.leases.register("a-host", 1, lease=60)
    subscription = await subscribed(store)
    (known,) = await stored(store, process, subscription, claimed=False, due_at=PAST)
    await claim(store, process, 10)
    (lost,) = await stored(store, process, subscription, claimed=False, due_at=PAST)

    async def breaks(*_: object) -> None:
        raise ConnectionResetError("after the commit")

    with monkeypatch.context() as patch:
        patch.setattr(store.queue, "_wanted", breaks)
        with pytest.raises(ConnectionResetError):
            await claim(store, process, 10)
    assert await state_of(store, lost) is State.DELIVERING
    assert [claimed.id for claimed in await claim(store, process, 10)] == [lost.id]
    assert await state_of(store, known) is State.DELIVERING, "it is still being delivered"


async def test_a_batch_of_outcomes_of_all_kinds(store: Store, process: int) -> None:
    subscription = await subscribed(store)
    new = await stored(store, process, subscription, 6)
    due = utc_now() + timedelta(seconds=30)
    outcomes: list[Outcome] = [
        outcome(one.id, state, due_at=due if state is State.PENDING else None, reason=f"because {state}")
        for one, state in zip(new, State, strict=True)
        if state is not State.DELIVERING
    ]
    await store.queue.finish(process, outcomes)
    assert [await state_of(store, one) for one in new] == list(State)
    assert (await found(store, new[0])).due_at == due


async def test_a_claim_does_not_wait_for_what_others_have_locked(
    open_postgres: OpenAnother, postgres_url: str
) -> None:
    store = await open_postgres()
    process = await store.leases.register("a-host", 1, lease=60)
    first, second = await stored(store, process, await subscribed(store), 2, claimed=False, due_at=PAST)
    other = await asyncpg.connect(postgres_url)
    async with asyncio.timeout(5), other.transaction():
        await other.execute("select 1 from deliveries where id = $1 for update", first.id[4:])
        assert [claimed.id for claimed in await claim(store, process, 10)] == [second.id]
    await other.close()
    assert [claimed.id for claimed in await claim(store, process, 10)] == [first.id]


async def test_a_process_is_not_taken_over_while_it_stores_a_batch(
    open_postgres: OpenAnother, postgres_url: str
) -> None:
    """Else its claims would be stored after somebody has looked for them for the last time."""
    store = await open_postgres()
    late = await store.leases.register("a-host", 1, lease=-1)
    new = make_delivery(make_event(), await subscribed(store))
    other = await asyncpg.connect(postgres_url)
    transaction = other.transaction()
    await transaction.start()
    await other.execute("insert into identities values ($1, $2)", digest(new.event).hex(), new_id("evt")[4:])
    accepting = asyncio.create_task(accept(store, late, new))
    async with asyncio.timeout(5):
        while not await other.fetchval("select count(*) from pg_locks where not granted"):
            await other.execute("select pg_sleep(0.01)")
        assert await store.leases.release_expired() == 0
        await transaction.rollback()
        await accepting
    await other.close()
    assert await state_of(store, new) is State.DELIVERING
    assert await store.leases.release_expired() == 1


async def test_a_claim_reads_no_more_documents_than_its_bound_and_gives_the_rest_back(
    store: Store, process: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (postgres_queue, sqlite_sql):
        monkeypatch.setattr(module, "CLAIM_BYTES", 2500)
    subscription = await subscribed(store)
    new = [
        make_delivery(
            make_event(document=b'{"x": "%s"}' % (b"x" * 990)), subscription, claimed=False, due_at=PAST
        )
        for _ in range(7)
    ]
    await accept(store, process, *new)
    first = await claim(store, process, 100)
    assert [one.id for one in first] == [one.id for one in new[:3]]
    rest = [one.id for _ in range(2) for one in await claim(store, process, 100)]
    assert sorted(rest) == sorted(one.id for one in new[3:])


async def test_one_document_longer_than_the_bound_is_claimed_alone(
    store: Store, process: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (postgres_queue, sqlite_sql):
        monkeypatch.setattr(module, "CLAIM_BYTES", 10)
    await stored(store, process, await subscribed(store), 3, claimed=False, due_at=PAST)
    assert [len(await claim(store, process, 100)) for _ in range(4)] == [1, 1, 1, 0]


async def test_a_claim_that_fails_after_it_was_made_is_found_again(
    store: Store, process: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> list[OpenDelivery]:
        raise StoreUnavailable("a backup holds the file")

    due = await stored(store, process, await subscribed(store), 3, claimed=False, due_at=PAST)
    with monkeypatch.context() as patch:
        patch.setattr(store.queue, "_wanted", away)
        with pytest.raises(StoreUnavailable):
            await claim(store, process, 10)
    assert {one.id for one in await claim(store, process, 10)} == {one.id for one in due}
    assert await claim(store, process, 10) == []
