"""Subscriptions: found as soon as they are stored, sealed, and never changed blindly."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import timedelta

import asyncpg
import pytest
from msgspec.structs import replace

from dispatcher.domain.deliveries import State
from dispatcher.domain.errors import Conflict, SettingsError, TooManyAlike
from dispatcher.domain.events import utc_now
from dispatcher.domain.quotas import Caps
from dispatcher.domain.retry import RetryPolicy, Schedule
from dispatcher.domain.subscriptions import Subscription, SubscriptionStatus, event_match_keys
from dispatcher.store.encryption import Sealer
from dispatcher.store.factory import open_store
from dispatcher.store.filters import SubscriptionFilter, Window
from dispatcher.store.store import Store
from tests.claiming import claim
from tests.factories import NOW, make_delivery, make_event, make_subscription
from tests.store.conftest import SEALER, OpenAnother
from tests.store.helpers import (
    ALL,
    FUTURE,
    PAST,
    accept,
    ended,
    found,
    outcome,
    state_of,
    stored,
    subscribed,
    unknown,
)


def changed(subscription: Subscription, **fields: object) -> Subscription:
    return replace(subscription, revision=subscription.revision + 1, **fields)


def elaborate() -> Subscription:
    return make_subscription(
        name="Ünïcode",
        events=("FINISHED", "ARCHIVING*"),
        job_id="job-1",
        filters=({"exact": {"type": "job.FINISHED"}},),
        target={
            "kind": "webhook",
            "url": "https://example.org/?token=t0p-secret",
            "auth": {"bearer": "s3cret-bearer"},
        },
        retry=RetryPolicy(strategy=Schedule((0, 5.5))),
        ordered=True,
        persistent=False,
        expires_at=FUTURE,
        metadata={"nested": {"list": [1, "two", None]}},
        secrets=("whsec_new", "whsec_old"),
        previous_secret_until=FUTURE,
    )


async def test_a_subscription_comes_back_as_it_was_stored(store: Store) -> None:
    subscription = elaborate()
    await store.subscriptions.add(subscription)
    assert await store.subscriptions.get("default", subscription.id) == subscription


async def test_a_subscription_is_not_seen_from_another_tenant(store: Store) -> None:
    subscription = await subscribed(store)
    assert await store.subscriptions.get("other", subscription.id) is None
    assert not await store.subscriptions.remove("other", subscription.id)
    assert await store.subscriptions.get("default", subscription.id) is not None


async def test_candidates_are_found_by_each_of_their_keys(store: Store) -> None:
    by_job = await subscribed(store, job_id="job-1")
    by_owner = await subscribed(store, owner="alice")
    by_all = await subscribed(store)
    await subscribed(store, job_id="job-2")
    await subscribed(store, owner="bob")
    await subscribed(store, tenant="other")
    keys = event_match_keys(make_event(job_id="job-1", owner="alice"))
    assert {one.id for one in await store.subscriptions.find_matching(keys)} == {
        by_job.id,
        by_owner.id,
        by_all.id,
    }


async def test_nothing_is_found_without_keys(store: Store) -> None:
    await subscribed(store)
    assert await store.subscriptions.find_matching([]) == []


async def test_only_subscriptions_in_use_are_candidates(store: Store) -> None:
    active = await subscribed(store, expires_at=FUTURE)
    paused = await subscribed(store, status="paused")
    await subscribed(store, status="disabled")
    await subscribed(store, status="completed")
    await subscribed(store, expires_at=PAST)
    removed = await subscribed(store)
    await store.subscriptions.remove("default", removed.id)
    assert {one.id for one in await store.subscriptions.find_matching([active.match_key])} == {
        active.id,
        paused.id,
    }


@pytest.mark.parametrize("count", [20, pytest.param(700, marks=pytest.mark.long)])
async def test_candidates_of_thousands_of_keys_are_found_at_once(store: Store, count: int) -> None:
    subscriptions = [await subscribed(store, job_id=f"job-{number}") for number in range(count)]
    keys = [one.match_key for one in subscriptions] + [f"job:nobodys-{number}" for number in range(3000)]
    found_there = await store.subscriptions.find_matching(keys)
    assert {one.id for one in found_there} == {one.id for one in subscriptions}


async def test_the_same_revision_is_the_same_object(store: Store, process: int) -> None:
    subscription = await subscribed(store)
    (first,) = await store.subscriptions.find_matching([subscription.match_key])
    (second,) = await store.subscriptions.find_matching([subscription.match_key])
    assert first is second
    await stored(store, process, subscription, claimed=False, due_at=PAST)
    (claimed,) = await claim(store, process, 1)
    assert claimed.subscription is first


async def test_a_change_works_at_once_on_every_replica(open_postgres: OpenAnother) -> None:
    one, another = await open_postgres(), await open_postgres()
    subscription = await subscribed(one)
    assert await another.subscriptions.find_matching([subscription.match_key]) == [subscription]
    renamed = changed(subscription, name="renamed")
    await one.subscriptions.save(renamed)
    assert await another.subscriptions.find_matching([subscription.match_key]) == [renamed]
    await one.subscriptions.remove("default", subscription.id)
    assert await another.subscriptions.find_matching([subscription.match_key]) == []


async def test_a_changed_match_key_is_found_by_the_new_one_only(store: Store) -> None:
    subscription = await subscribed(store)
    narrowed = changed(subscription, job_id="job-1")
    await store.subscriptions.save(narrowed)
    assert await store.subscriptions.find_matching([subscription.match_key]) == []
    assert await store.subscriptions.find_matching([narrowed.match_key]) == [narrowed]


async def test_a_change_of_an_older_revision_is_refused(store: Store) -> None:
    subscription = await subscribed(store)
    await store.subscriptions.save(changed(subscription, name="first"))
    with pytest.raises(Conflict, match=subscription.id):
        await store.subscriptions.save(changed(subscription, name="second"))
    kept = await store.subscriptions.get("default", subscription.id)
    assert kept is not None
    assert kept.name == "first"


async def test_of_two_changes_at_once_one_is_refused(open_postgres: OpenAnother) -> None:
    stores = [await open_postgres(), await open_postgres()]
    subscription = await subscribed(stores[0])
    saved = [store.subscriptions.save(changed(subscription)) for store in stores]
    results = await asyncio.gather(*saved, return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["Conflict", "NoneType"]


async def test_a_removed_subscription_cannot_be_saved(store: Store) -> None:
    subscription = await subscribed(store)
    assert await store.subscriptions.remove("default", subscription.id)
    with pytest.raises(Conflict):
        await store.subscriptions.save(changed(subscription))


async def test_a_removed_subscription_is_gone_and_what_waits_of_it_cancelled(
    store: Store, process: int
) -> None:
    subscription, other = await subscribed(store), await subscribed(store)
    (waits,) = await stored(store, process, subscription, claimed=False, due_at=FUTURE)
    (held,) = await stored(store, process, subscription, claimed=False, due_at=None)
    (running,) = await stored(store, process, subscription)
    (done,) = await ended(store, process, subscription, State.DELIVERED)
    (others,) = await stored(store, process, other, claimed=False, due_at=FUTURE)
    assert await store.subscriptions.remove("default", subscription.id)
    assert not await store.subscriptions.remove("default", subscription.id)
    assert await store.subscriptions.get("default", subscription.id) is None
    assert [
        one.id for one in (await store.subscriptions.page(SubscriptionFilter(tenant="default"), ALL)).items
    ] == [other.id]
    delivery = await found(store, waits)
    assert (delivery.state, delivery.reason) == (State.CANCELLED, "the subscription was removed")
    assert delivery.ended_at is not None
    assert delivery.destination == subscription.destination
    assert await state_of(store, held) is State.CANCELLED
    assert await state_of(store, running) is State.DELIVERING
    assert await state_of(store, done) is State.DELIVERED
    assert await state_of(store, others) is State.PENDING


@pytest.mark.parametrize(
    ("status", "state"), [("disabled", State.CANCELLED), ("completed", State.SUPERSEDED)]
)
async def test_an_ended_subscription_wants_nothing_more(
    store: Store, process: int, status: SubscriptionStatus, state: State
) -> None:
    subscription = await subscribed(store)
    (waits,) = await stored(store, process, subscription, claimed=False, due_at=FUTURE)
    await store.subscriptions.end(subscription.id, status, "answered 410 Gone")
    ended_one = await store.subscriptions.get("default", subscription.id)
    assert ended_one is not None
    assert (ended_one.status, ended_one.status_reason) == (status, "answered 410 Gone")
    assert ended_one.revision == subscription.revision + 1
    assert await store.subscriptions.find_matching([subscription.match_key]) == []
    delivery = await found(store, waits)
    assert (delivery.state, delivery.reason, delivery.due_at) == (state, "answered 410 Gone", None)
    with pytest.raises(Conflict):
        await store.subscriptions.save(changed(subscription, status="paused"))


async def test_ending_what_has_ended_keeps_the_first_reason(store: Store) -> None:
    subscription = await subscribed(store)
    await store.subscriptions.end(subscription.id, "completed", "delivered")
    await store.subscriptions.end(subscription.id, "disabled", "answered 410")
    ended_one = await store.subscriptions.get("default", subscription.id)
    assert ended_one is not None
    assert (ended_one.status, ended_one.status_reason) == ("completed", "delivered")


async def test_what_is_held_is_due_when_its_subscription_is_resumed(store: Store, process: int) -> None:
    paused = await subscribed(store, status="paused")
    (held,) = await stored(store, process, paused, claimed=False, due_at=None)
    (waits,) = await stored(store, process, paused, claimed=False, due_at=FUTURE)
    (ended_one,) = await ended(store, process, paused, State.EXHAUSTED)
    assert (await found(store, held)).due_at is None
    assert await claim(store, process, 10) == []
    resumed = changed(paused, status="active")
    await store.subscriptions.save(resumed)
    (claimed,) = await claim(store, process, 10)
    assert (claimed.id, claimed.subscription) == (held.id, resumed)
    assert (await found(store, waits)).due_at == FUTURE
    assert await state_of(store, ended_one) is State.EXHAUSTED


async def test_a_change_that_keeps_the_pause_holds_on(store: Store, process: int) -> None:
    paused = await subscribed(store, status="paused")
    (held,) = await stored(store, process, paused, claimed=False, due_at=None)
    await store.subscriptions.save(changed(paused, name="still paused"))
    assert (await found(store, held)).due_at is None


async def test_an_outcome_can_hold_a_delivery(store: Store, process: int) -> None:
    paused = await subscribed(store, status="paused")
    (new,) = await stored(store, process, paused)
    await store.queue.finish(process, [outcome(new.id, State.PENDING, attempts=0)])
    delivery = await found(store, new)
    assert (delivery.state, delivery.due_at) == (State.PENDING, None)


async def test_nothing_is_held_for_a_subscription_that_was_resumed_meanwhile(
    store: Store, process: int
) -> None:
    paused = await subscribed(store, status="paused")
    (running,) = await stored(store, process, paused)
    await store.subscriptions.save(changed(paused, status="active"))
    late = make_delivery(make_event(), paused, claimed=False, due_at=None)
    replayed = make_delivery(late.event, paused, claimed=False, due_at=None)
    await accept(store, process, late)
    await store.events.add_deliveries(process, [replayed])
    await store.queue.finish(process, [outcome(running.id, State.PENDING, attempts=0)])
    claimed = {one.id for one in await claim(store, process, 10)}
    assert claimed == {late.id, replayed.id, running.id}


async def waiters(connection: asyncpg.Connection, count: int) -> None:
    """Wait until so many statements wait for a lock."""
    while await connection.fetchval("select count(*) from pg_locks where not granted") < count:
        await connection.execute("select pg_sleep(0.01)")


async def test_a_resume_waits_for_who_is_storing_held_deliveries(
    open_postgres: OpenAnother, postgres_url: str
) -> None:
    store = await open_postgres()
    process = await store.leases.register("a-host", 1, lease=60)
    paused = await subscribed(store, status="paused")
    held = make_delivery(make_event(), paused, claimed=False, due_at=None)
    blocker = await asyncpg.connect(postgres_url)
    async with blocker.transaction():
        # The batch gets as far as its job, and has locked the subscription by then.
        await blocker.execute("lock table jobs in access exclusive mode")
        accepting = asyncio.create_task(accept(store, process, held))
        await waiters(blocker, 1)
        resuming = asyncio.create_task(store.subscriptions.save(changed(paused, status="active")))
        await waiters(blocker, 2)
    await asyncio.gather(accepting, resuming)
    await blocker.close()
    assert [claimed.id for claimed in await claim(store, process, 10)] == [held.id]


async def test_many_waiting_deliveries_end_and_resume_in_parts(
    store: Store, process: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatcher.store.delivery_writes.CHUNK", 4)
    paused, removed, disabled = [await subscribed(store, status="paused") for _ in range(3)]
    for subscription in (paused, removed, disabled):
        await stored(store, process, subscription, 11, claimed=False, due_at=None)
    await store.subscriptions.save(changed(paused, status="active"))
    assert len(await claim(store, process, 100)) == 11
    await store.subscriptions.remove("default", removed.id)
    await store.subscriptions.end(disabled.id, "disabled", "gone")
    assert (await store.deliveries.backlog())[State.PENDING] == 0


async def test_subscriptions_are_listed_newest_first(store: Store) -> None:
    mine = [await subscribed(store, subscriber="alice", job_id=f"job-{number % 2}") for number in range(5)]
    theirs = await subscribed(store, subscriber="bob", status="paused")
    await subscribed(store, tenant="other")

    async def listed(**fields: object) -> list[str]:
        which = SubscriptionFilter(tenant="default", **fields)  # type: ignore[arg-type]  # real fields
        return [one.id for one in (await store.subscriptions.page(which, ALL)).items]

    newest = [one.id for one in reversed(mine)]
    assert await listed() == [theirs.id, *newest]
    assert await listed(subscriber="alice") == newest
    assert await listed(status="paused") == [theirs.id]
    assert await listed(job_id="job-1") == [mine[3].id, mine[1].id]
    first = await store.subscriptions.page(SubscriptionFilter(tenant="default"), Window(limit=4))
    assert first.next == newest[2]
    rest = await store.subscriptions.page(
        SubscriptionFilter(tenant="default"), Window(limit=4, cursor=first.next)
    )
    assert ([one.id for one in rest.items], rest.next) == (newest[3:], None)


async def test_an_unknown_subscription_is_none(store: Store) -> None:
    assert await store.subscriptions.get("default", unknown("sub")) is None
    assert await store.subscriptions.get("default", "sub_nonsense") is None
    assert not await store.subscriptions.remove("default", "sub_nonsense")
    await store.subscriptions.end(unknown("sub"), "disabled", "gone")


SECRETS = ("t0p-secret", "s3cret-bearer", "whsec_new", "whsec_old")


async def test_no_secret_is_in_the_file(store_url: str, migrated_file: object) -> None:
    if not store_url.startswith("sqlite"):
        return await _no_secret_is_in_the_tables(store_url)
    store = open_store(store_url, SEALER)
    await store.open()
    await store.subscriptions.add(elaborate())
    await store.close()
    path = store_url.removeprefix("sqlite:///")
    dump = "\n".join(sqlite3.connect(path).iterdump()).encode()
    with open(path, "rb") as file:  # noqa: ASYNC230, PTH123 - a test may block
        raw = file.read()
    for secret in SECRETS:
        assert secret.encode() not in raw
        assert secret.encode() not in dump
        assert secret.encode().hex().encode() not in dump.lower()


async def _no_secret_is_in_the_tables(url: str) -> None:
    store = open_store(url, SEALER)
    await store.open()
    await store.subscriptions.add(elaborate())
    await store.close()
    connection = await asyncpg.connect(url)
    text = await connection.fetchval(
        "select string_agg(s::text || encode(sealed, 'escape'), '') from subscriptions s"
    )
    await connection.close()
    assert "default" in text
    for secret in SECRETS:
        assert secret not in text
        assert secret.encode().hex() not in text


async def test_the_secrets_of_a_removed_subscription_are_gone(store_url: str) -> None:
    store = open_store(store_url, SEALER)
    await store.open()
    subscription = elaborate()
    await store.subscriptions.add(subscription)
    await store.subscriptions.remove("default", subscription.id)
    await store.close()
    anybody = open_store(store_url, Sealer(["a key that has never sealed anything here"]))
    await anybody.open()
    await anybody.close()


async def test_a_store_does_not_open_with_a_key_that_fits_nothing(store_url: str) -> None:
    store = open_store(store_url, SEALER)
    await store.open()
    await store.subscriptions.add(elaborate())
    await store.close()
    wrong = open_store(store_url, Sealer(["a key that has never sealed anything here"]))
    with pytest.raises(SettingsError, match="DISPATCHER_SECRETS_KEY"):
        await wrong.open()


async def test_an_older_key_still_opens(store_url: str) -> None:
    store = open_store(store_url, SEALER)
    await store.open()
    subscription = elaborate()
    await store.subscriptions.add(subscription)
    await store.close()
    rotated = Sealer(
        ["a new key of this test, long enough too", "the key of these tests, which is long enough"]
    )
    store = open_store(store_url, rotated)
    await store.open()
    assert await store.subscriptions.find_matching([subscription.match_key]) == [subscription]
    await store.close()


async def test_a_time_of_the_past_is_kept(store: Store) -> None:
    subscription = await subscribed(store, created_at=NOW - timedelta(days=20_000), updated_at=utc_now())
    assert await store.subscriptions.get("default", subscription.id) == subscription


async def test_what_waits_goes_to_the_new_destination_of_its_subscription(store: Store, process: int) -> None:
    subscription = await subscribed(store)
    (waits,) = await stored(store, process, subscription, claimed=False, due_at=FUTURE)
    (done,) = await ended(store, process, subscription, State.DELIVERED)
    await store.subscriptions.save(changed(subscription, destination="https://new.example:443"))
    assert (await found(store, waits)).destination == "https://new.example:443"
    assert (await found(store, done)).destination == subscription.destination


async def test_alike_are_those_in_use_of_the_same_subscriber_for_the_same_jobs(store: Store) -> None:
    one = make_subscription()
    for other in (
        one,
        make_subscription(),
        make_subscription(status="paused"),
        make_subscription(status="disabled"),
        make_subscription(job_id="job-1"),
        make_subscription(subscriber="bob"),
        make_subscription(owner="bob"),
        make_subscription(tenant="other"),
    ):
        await store.subscriptions.add(other)
    removed = make_subscription()
    await store.subscriptions.add(removed)
    await store.subscriptions.remove("default", removed.id)

    with pytest.raises(TooManyAlike, match="there are 3 subscriptions for all your jobs already"):
        await store.subscriptions.add(make_subscription(), Caps(alike=3))
    await store.subscriptions.save(replace(one, revision=2), Caps(alike=3))
    await store.subscriptions.add(make_subscription(), Caps(alike=4))
