"""Events are stored once, with all that follows from them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from uuid import uuid4

import asyncpg
import pytest

from dispatcher.domain.deliveries import OpenDelivery, State
from dispatcher.domain.digests import DigestPolicy
from dispatcher.domain.events import Event
from dispatcher.domain.subscriptions import Subscription
from dispatcher.store.batches import digest
from dispatcher.store.filters import EventFilter
from dispatcher.store.postgres.accept import PART
from dispatcher.store.postgres.throttle import MAX_FINAL_PAUSE_SECONDS, MAX_PAUSES_SECONDS
from dispatcher.store.store import Store
from tests.claiming import claim, next_due
from tests.factories import NOW, make_delivery, make_event, make_subscription
from tests.store.conftest import OpenAnother
from tests.store.helpers import ALL, FUTURE, accept, found, later, state_of, stored, subscribed
from tests.store.test_expansions import order


async def test_an_event_comes_back_as_it_was_accepted(store: Store, process: int) -> None:
    event = make_event(owner=None, source="/a/source", type="org.example.job", event="Özel", data={"ключ": 1})
    await store.events.accept(process, [event], [])
    assert await store.events.get("default", event.key) == event


async def test_a_time_is_kept_to_the_microsecond(store: Store, process: int) -> None:
    event = make_event(
        time=NOW.replace(microsecond=123_457), accepted_at=NOW.replace(year=1969, microsecond=1)
    )
    await store.events.accept(process, [event], [])
    assert await store.events.get("default", event.key) == event


async def test_an_event_is_not_seen_from_another_tenant(store: Store, process: int) -> None:
    event = make_event(tenant="mine")
    await store.events.accept(process, [event], [])
    assert await store.events.get("theirs", event.key) is None


async def test_a_claimed_delivery_is_being_delivered(store: Store, process: int) -> None:
    (new,) = await stored(store, process, await subscribed(store))
    delivery = await found(store, new)
    assert (delivery.state, delivery.attempts, delivery.due_at) == (State.DELIVERING, 0, None)
    assert (delivery.event_key, delivery.event, delivery.job_id) == (new.event.key, "FINISHED", "job-1")
    assert (delivery.subscription_id, delivery.destination) == (
        new.subscription.id,
        "https://example.org:443",
    )


async def test_a_delivery_that_is_not_claimed_is_pending_until_its_time(store: Store, process: int) -> None:
    (new,) = await stored(store, process, await subscribed(store), claimed=False, due_at=FUTURE)
    delivery = await found(store, new)
    assert (delivery.state, delivery.due_at) == (State.PENDING, FUTURE)
    assert await next_due(store) == FUTURE


async def test_the_same_event_again_changes_nothing(store: Store, process: int) -> None:
    subscription = await subscribed(store)
    (first,) = await stored(store, process, subscription)
    again = make_delivery(make_event(id=first.event.id), subscription)
    assert await accept(store, process, again) == {again.event.key: first.event.key}
    assert await store.events.get("default", again.event.key) is None
    assert await store.deliveries.get("default", again.id) is None
    job = await store.jobs.get("default", "job-1")
    assert job is not None
    assert job.events == 1


async def test_an_event_twice_in_a_batch_is_stored_once(store: Store, process: int) -> None:
    subscription = await subscribed(store)
    first = make_delivery(make_event(id="one"), subscription)
    second = make_delivery(make_event(id="one"), subscription)
    assert await accept(store, process, first, second) == {second.event.key: first.event.key}
    assert await store.deliveries.counts_by_event([first.event.key, second.event.key]) == {
        first.event.key: 1,
        second.event.key: 0,
    }


async def test_of_a_mixed_batch_only_the_new_events_are_stored(store: Store, process: int) -> None:
    subscription = await subscribed(store)
    (known,) = await stored(store, process, subscription)
    batch = [
        make_delivery(make_event(id=name), subscription)
        for name in ("a", known.event.id, "b", known.event.id)
    ]
    existing = await accept(store, process, *batch)
    assert existing == {batch[1].event.key: known.event.key, batch[3].event.key: known.event.key}
    events = await store.events.page(EventFilter(tenant="default"), ALL)
    assert [event.id for event in events.items] == ["b", "a", known.event.id]
    job = await store.jobs.get("default", "job-1")
    assert job is not None
    assert job.events == 3
    assert [await state_of(store, batch[index]) for index in (0, 2)] == [State.DELIVERING] * 2


async def test_the_same_call_again_stores_nothing_and_says_so(store: Store, process: int) -> None:
    new = make_delivery(make_event(), await subscribed(store))
    assert await accept(store, process, new) == {}
    assert await accept(store, process, new) == {new.event.key: new.event.key}
    assert await state_of(store, new) is State.DELIVERING


async def test_the_same_id_from_another_source_or_tenant_is_another_event(store: Store, process: int) -> None:
    events = [
        make_event(id="1", source="/jobs"),
        make_event(id="1", source="/jobs/1"),
        make_event(id="1", source="/jobs", tenant="other"),
        make_event(id="11", source="/jobs/"),
        make_event(id="/11", source="/jobs"),
    ]
    assert await store.events.accept(process, events, []) == {}


async def test_a_batch_of_a_process_without_a_lease_is_due_now(store: Store) -> None:
    gone = await store.leases.register("a-host", 1, lease=60)
    await store.leases.release(gone)
    (new,) = await stored(store, gone, await subscribed(store))
    delivery = await found(store, new)
    assert delivery.state is State.PENDING
    assert delivery.due_at is not None
    heir = await store.leases.register("a-host", 2, lease=60)
    assert [claimed.id for claimed in await claim(store, heir, 10)] == [new.id]


async def test_a_claim_below_what_the_heartbeat_said_is_due_now(store: Store, process: int) -> None:
    subscription = await subscribed(store)
    early = make_delivery(make_event(), subscription)
    late = make_delivery(make_event(), subscription)
    assert await store.leases.renew(process, 60, late.id)
    await accept(store, process, early, late)
    assert await state_of(store, early) is State.PENDING
    assert await state_of(store, late) is State.DELIVERING


async def test_further_deliveries_of_a_stored_event_are_stored_once(store: Store, process: int) -> None:
    subscription = await subscribed(store)
    (first,) = await stored(store, process, subscription)
    replayed = make_delivery(first.event, subscription)
    held = make_delivery(first.event, await subscribed(store, status="paused"), claimed=False)
    await store.events.add_deliveries(process, [replayed, held])
    await store.events.add_deliveries(process, [replayed, held])
    assert await store.deliveries.counts_by_event([first.event.key]) == {first.event.key: 3}
    assert await state_of(store, replayed) is State.DELIVERING
    assert (await found(store, held)).due_at is None


async def test_no_character_of_a_publisher_stops_a_batch(store: Store, process: int) -> None:
    document = {"message": "a\0b", "job": {"name": "n\0", "appId": "\0", "status": "x\0"}}
    await store.events.accept(process, [make_event(event="UPDATED", data=document)], [])
    job = await store.jobs.get("default", "job-1")
    assert job is not None
    assert (job.message, job.name, job.status) == ("a\N{REPLACEMENT CHARACTER}b", "n", "x")


async def test_a_job_is_not_seen_from_another_tenant(store: Store, process: int) -> None:
    await store.events.accept(process, [make_event(tenant="mine", job_id="one")], [])
    assert await store.jobs.get("theirs", "one") is None
    assert await store.jobs.get("mine", "two") is None


async def test_a_permission_holds_until_it_is_revoked(store: Store, process: int) -> None:
    def permission(event: str, user: str, seconds: float, job_id: str = "job-1") -> Event:
        at = later(seconds)
        return make_event(event=event, job_id=job_id, time=at, accepted_at=at, data={"username": user})

    bob, eve, other = (
        ("default", job, "alice", user)
        for job, user in (("job-1", "bob"), ("job-1", "eve"), ("job-2", "bob"))
    )
    await store.events.accept(process, [permission("PERMISSION_GRANT", "bob", 10)], [])
    assert await store.jobs.granted([bob, eve, other]) == {bob}
    await store.events.accept(process, [permission("PERMISSION_REVOKE", "bob", 5)], [])
    assert await store.jobs.granted([bob]) == {bob}, "an older word came later"
    await store.events.accept(process, [permission("PERMISSION_REVOKE", "bob", 10)], [])
    assert await store.jobs.granted([bob]) == set(), "of two words at the same time the later one holds"
    batch = [permission("PERMISSION_GRANT", "eve", 30), permission("PERMISSION_REVOKE", "bob", 20)]
    batch += [permission("PERMISSION_REVOKE", "eve", 30), permission("PERMISSION_GRANT", "bob", 15, "job-2")]
    await store.events.accept(process, batch, [])
    assert await store.jobs.granted([bob, eve, other]) == {other}


async def test_many_are_asked_for_at_once(store: Store, process: int) -> None:
    events = [
        make_event(job_id=f"job-{n}", event="PERMISSION_GRANT", data={"user": "bob"}) for n in range(1200)
    ]
    await store.events.accept(process, events, [])
    wanted = {("default", f"job-{n}", "alice", "bob") for n in range(1300)}
    assert len(await store.jobs.granted(wanted)) == 1200
    assert len(await store.deliveries.counts_by_event([event.key for event in events])) == 1200


async def test_replicas_that_get_the_same_events_store_them_once(open_postgres: OpenAnother) -> None:
    stores = [await open_postgres() for _ in range(3)]
    subscription: Subscription = make_subscription(owner="*")
    await stores[0].subscriptions.add(subscription)
    processes = [await store.leases.register("a-host", 1, lease=60) for store in stores]
    names = [f"event-{number}" for number in range(40)]

    async def take(index: int, order: int) -> dict[str, str]:
        batch = [make_delivery(make_event(id=name, job_id=name), subscription) for name in names[::order]]
        return dict(await accept(stores[index], processes[index], *batch))

    existing = await asyncio.gather(take(0, 1), take(1, -1), take(2, 1))
    assert sum(map(len, existing)) == 80
    events = await stores[0].events.page(EventFilter(tenant="default"), ALL)
    assert sorted(event.id for event in events.items) == sorted(names)
    kept = {event.key for event in events.items}
    assert {key for found_there in existing for key in found_there.values()} <= kept
    assert set((await stores[0].deliveries.counts_by_event(list(kept))).values()) == {1}


async def test_a_batch_that_is_stored_in_parts_is_stored_as_one_is_that_is_not(
    store: Store, process: int
) -> None:
    subscription = await subscribed(store)
    (known,) = await stored(store, process, subscription)
    events = [
        make_event(job_id=f"job-{number % 7}", event="RUNNING", owner=None if number % 5 == 0 else "alice")
        for number in range(1200)
    ]
    last = make_event(job_id="job-3", event="FINISHED", owner="alice")
    again = make_event(id=known.event.id)
    new = [make_delivery(one, subscription) for one in (*events[:600], again, *events[600:], last)]

    existing = await store.events.accept(process, [one.event for one in new], new)

    assert existing == {again.key: known.event.key}
    assert await store.events.get("default", again.key) is None
    assert [one.id for one in new if (await store.deliveries.get("default", one.id)) is None] == [new[600].id]
    job = await store.jobs.get("default", "job-3")
    assert job is not None
    assert (job.status, job.owner) == ("FINISHED", "alice")
    assert job.events == sum(one.job_id == "job-3" for one in events) + 1
    assert await accept(store, process, *new) == {one.event.key: one.event.key for one in new} | dict(
        existing
    )


async def test_a_large_batch_pauses_after_each_part_while_others_store_something(
    open_postgres: OpenAnother, pauses: list[float]
) -> None:
    store = await open_postgres()
    process = await store.leases.register("a-host", 1, lease=60)
    await store.events.accept(process, [make_event() for _ in range(1001)], [])
    assert not pauses
    await store.events.accept(process, [make_event()], [])
    await store.events.accept(process, [make_event() for _ in range(1001)], [])
    assert pauses


async def test_a_small_batch_of_ordered_deliveries_does_not_pause(
    open_postgres: OpenAnother, pauses: list[float]
) -> None:
    store = await open_postgres()
    process = await store.leases.register("a-host", 1, lease=60)
    subscription = await subscribed(store, ordered=True)
    events = [make_event(job_id=str(number)) for number in range(2 * PART)]
    await store.events.accept(process, [make_event()], [])
    await store.events.accept(process, events, [make_delivery(event, subscription) for event in events])
    assert not pauses


async def test_a_large_batch_pauses_for_a_short_time_in_its_transaction_and_then_after_it(
    open_postgres: OpenAnother, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, another = await open_postgres(), await open_postgres()
    process = await store.leases.register("a-host", 1, lease=60)
    subscription = await subscribed(store)
    events = [make_event(job_id=str(number)) for number in range(1001)]
    orders = [order(event, subscription) for event in events for _ in range(5)]
    before: list[float] = []
    after: list[float] = []
    sleep = asyncio.sleep

    async def pause(seconds: float) -> None:
        await sleep(0)
        if seconds:
            committed = await another.events.get("default", events[0].key)
            (before if committed is None else after).append(seconds)

    await store.events.accept(process, [make_event()], [])
    monkeypatch.setattr(asyncio, "sleep", pause)
    await store.events.accept(process, events, [], orders)
    assert 0 < sum(before) <= MAX_PAUSES_SECONDS + 1e-9
    assert 0 < sum(after) <= MAX_FINAL_PAUSE_SECONDS


async def test_a_large_batch_with_orders_keeps_no_other_job_waiting_while_it_pauses(
    open_postgres: OpenAnother, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, another = await open_postgres(), await open_postgres()
    process = await store.leases.register("a-host", 1, lease=60)
    subscription = await subscribed(store, ordered=True)
    events = [make_event(job_id=str(number)) for number in range(1001)]
    others: list[Event] = []
    sleep = asyncio.sleep

    async def pause(seconds: float) -> None:
        await sleep(0)
        if seconds and not others:
            # In the middle of it, somebody stores ordered deliveries of as many jobs as there are locks of any kind.
            others.extend(make_event(job_id=f"another-{number}") for number in range(100))
            deliveries = [make_delivery(event, subscription) for event in others]
            async with asyncio.timeout(5):
                await another.events.accept(process, others, deliveries)

    await store.events.accept(process, [make_event()], [])
    monkeypatch.setattr(asyncio, "sleep", pause)
    await store.events.accept(process, events, [], [order(event, subscription) for event in events])
    assert others


async def test_a_large_batch_locks_no_digest_while_it_pauses(
    open_postgres: OpenAnother, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, another = await open_postgres(), await open_postgres()
    process = await store.leases.register("a-host", 1, lease=60)
    hourly = await subscribed(store, digest=DigestPolicy(wait=0, interval=3600))
    events = [make_event(job_id=str(number)) for number in range(1001)]
    others: list[Event] = []
    sleep = asyncio.sleep

    async def pause(seconds: float) -> None:
        await sleep(0)
        if seconds:
            others.append(make_event(job_id=f"another-{len(others)}"))
            async with asyncio.timeout(5):
                await another.events.accept(process, others[-1:], [in_digest(others[-1])])

    def in_digest(event: Event) -> OpenDelivery:
        return make_delivery(event, hourly, claimed=False, due_at=NOW)

    orders = [order(event, hourly) for event in events]
    await store.events.accept(process, [make_event()], [])
    monkeypatch.setattr(asyncio, "sleep", pause)
    await store.events.accept(process, events, [in_digest(event) for event in events[:10]], orders)
    assert others


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("count", [1, 1001], ids=["small", "large"])
async def test_a_batch_locks_jobs_before_identities(
    open_postgres: OpenAnother, postgres_url: str, *, ordered: bool, count: int
) -> None:
    # In the other order two batches with the same event, one of each kind, would wait for each other.
    store = await open_postgres()
    process = await store.leases.register("a-host", 1, lease=60)
    subscription = await subscribed(store, ordered=ordered)
    await store.events.accept(process, [make_event(job_id="locked")], [])
    event = make_event(job_id="locked")
    events = [event, *(make_event(job_id=f"other-{number}") for number in range(count - 1))]
    connection = await asyncpg.connect(postgres_url)
    held = connection.transaction()
    await held.start()
    await connection.execute("select from jobs where id = 'locked' for update")
    accepting = asyncio.create_task(
        store.events.accept(process, events, [make_delivery(event, subscription)])
    )
    await _until_one_waits_for_a_lock(connection)
    await connection.execute("set local lock_timeout = '2s'")
    await connection.execute("insert into identities values ($1, $2)", digest(event).hex(), uuid4())
    await held.rollback()
    await connection.close()
    await accepting
    assert await store.events.get("default", event.key) == event


async def _until_one_waits_for_a_lock(connection: asyncpg.Connection) -> None:
    waiting = """
    select exists (select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database())
    """
    async with asyncio.timeout(5):
        while not await connection.fetchval(waiting):  # noqa: ASYNC110 - only the server knows
            await asyncio.sleep(0.01)


async def test_an_ordered_delivery_waits_behind_an_order_that_is_being_stored(
    open_postgres: OpenAnother, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A later event of the same job is accepted meanwhile: it waits for the order, and becomes one too.
    store, another = await open_postgres(), await open_postgres()
    process = await store.leases.register("a-host", 1, lease=60)
    subscription = await subscribed(store, ordered=True)
    events = [make_event(job_id=str(number)) for number in range(1001)]
    last = make_event(job_id="0")
    accepting: list[asyncio.Task[Mapping[str, str]]] = []
    sleep = asyncio.sleep

    async def pause(seconds: float) -> None:
        await sleep(0)
        if seconds and not accepting:
            new = [make_delivery(last, subscription)]
            accepting.append(asyncio.create_task(another.events.accept(process, [last], new)))

    await store.events.accept(process, [make_event()], [])
    monkeypatch.setattr(asyncio, "sleep", pause)
    await store.events.accept(process, events, [], [order(event, subscription) for event in events])
    await asyncio.gather(*accepting)
    assert accepting
    assert await another.expansions.count(last.key, None) == 1
