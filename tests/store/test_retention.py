"""Retention: what was kept for long enough goes with all that belongs to it, and nothing else does."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import count

import pytest

from dispatcher.domain.deliveries import OpenDelivery, State
from dispatcher.domain.events import utc_now
from dispatcher.domain.ids import Prefix, lowest_id
from dispatcher.domain.retention import DAY, Keep
from dispatcher.domain.subscriptions import Subscription
from dispatcher.store import retention
from dispatcher.store.factory import open_store
from dispatcher.store.filters import EventFilter, JobFilter
from dispatcher.store.store import Store
from tests.claiming import claim
from tests.factories import make_delivery, make_event
from tests.store.conftest import SEALER
from tests.store.helpers import ALL, accept, attempt, outcome, subscribed

KEEP = Keep(delivered=30 * DAY, exhausted=90 * DAY)
LONG_AGO = utc_now() - 1000 * DAY
_numbers = count(1)


def made(prefix: Prefix, age: timedelta) -> str:
    """Return a new id that was made so long ago."""
    lowest = lowest_id(prefix, (utc_now() - age).timestamp())
    return f"{prefix}_{int(lowest[4:], 16) + next(_numbers):032x}"


async def old(
    store: Store, process: int, subscription: Subscription, age: timedelta, **fields: object
) -> OpenDelivery:
    """Accept an event and a delivery of it as it would have been done so long ago; it waits."""
    names = ("job_id", "event", "data", "id", "tenant")
    event = make_event(key=made("evt", age), **{name: fields.pop(name) for name in names if name in fields})
    values = {"id": made("dlv", age), "claimed": False, "due_at": LONG_AGO} | fields
    new = make_delivery(event, subscription, **values)
    await accept(store, process, new)
    return new


async def ended_as(
    store: Store, process: int, news: list[OpenDelivery], state: State, ended_at: datetime = LONG_AGO
) -> None:
    """Claim all that waits, and end these after one attempt."""
    assert {one.id for one in news} <= {one.id for one in await claim(store, process, 1000)}
    await store.queue.finish(
        process, [outcome(one.id, state, attempt=attempt(), ended_at=ended_at) for one in news]
    )


async def is_there(store: Store, delivery: OpenDelivery) -> bool:
    """Whether a delivery and its event are there; there is never one without the other."""
    there = await store.deliveries.get(delivery.event.tenant, delivery.id) is not None
    event = await store.events.get(delivery.event.tenant, delivery.event.key)
    assert not there or event is not None
    return there


@pytest.mark.parametrize("state", [State.DELIVERED, State.SUPERSEDED])
async def test_what_was_delivered_goes_after_its_time_with_all_that_belongs_to_it(
    store: Store, process: int, state: State
) -> None:
    subscription = await subscribed(store)
    gone = await old(store, process, subscription, 31 * DAY, job_id="old", event="PERMISSION_GRANT",
                     data={"user": "bob"})  # fmt: skip
    stays = await old(store, process, subscription, 29 * DAY, job_id="young", event="PERMISSION_GRANT",
                      data={"user": "bob"})  # fmt: skip
    await ended_as(store, process, [gone, stays], state)
    kept = await store.retain(KEEP)
    assert (kept.deleted["deliveries"], kept.deleted["attempts"], kept.deleted["events"]) == (1, 1, 1)
    assert not await is_there(store, gone)
    assert await store.deliveries.attempts(gone.id) == []
    assert await store.events.get("default", gone.event.key) is None
    assert await is_there(store, stays)
    assert len(await store.deliveries.attempts(stays.id)) == 1
    assert kept.oldest_event is not None
    assert kept.oldest_event - (utc_now() - 29 * DAY) < timedelta(minutes=1)


@pytest.mark.parametrize("state", [State.EXHAUSTED, State.CANCELLED])
async def test_what_failed_is_kept_for_a_separate_time_that_counts_from_its_end(
    store: Store, process: int, state: State
) -> None:
    subscription = await subscribed(store)
    gone = await old(store, process, subscription, 99 * DAY)
    stays = await old(store, process, subscription, 99 * DAY)
    await ended_as(store, process, [gone], state, utc_now() - 91 * DAY)
    await store.leases.release(process)
    process = await store.leases.register("a-host", 1, lease=60)
    await ended_as(store, process, [stays], state, utc_now() - 89 * DAY)
    await store.retain(KEEP)
    assert not await is_there(store, gone)
    assert await is_there(store, stays)
    assert len(await store.deliveries.attempts(stays.id)) == 1
    assert await store.deliveries.retry("default", stays.id)
    assert [one.event.document for one in await claim(store, process, 9)] == [stays.event.document]


async def test_what_was_sent_again_is_kept_for_its_time_from_then_on(store: Store, process: int) -> None:
    new = await old(store, process, await subscribed(store), 80 * DAY)
    await ended_as(store, process, [new], State.EXHAUSTED, utc_now() - 79 * DAY)
    assert await store.deliveries.retry("default", new.id)
    await ended_as(store, process, [new], State.DELIVERED, utc_now() - 29 * DAY)
    await store.retain(KEEP)
    assert await is_there(store, new)
    assert await store.deliveries.retry("default", new.id)
    await ended_as(store, process, [new], State.DELIVERED, utc_now() - 31 * DAY)
    await store.retain(KEEP)
    assert not await is_there(store, new)


async def test_what_waits_or_is_being_delivered_stays_however_old_it_is(store: Store, process: int) -> None:
    subscription, paused = await subscribed(store), await subscribed(store, status="paused")
    claimed = await old(store, process, subscription, 999 * DAY)
    assert len(await claim(store, process, 9)) == 1
    waits = await old(store, process, subscription, 999 * DAY, due_at=utc_now() + DAY)
    held = await old(store, process, paused, 999 * DAY, due_at=None)
    kept = await store.retain(KEEP)
    assert not any(kept.deleted.values())
    for one in (claimed, waits, held):
        assert await is_there(store, one)
    await store.queue.finish(process, [outcome(claimed.id, State.DELIVERED)])
    assert (await store.retain(KEEP)).deleted["deliveries"] == 1


async def test_an_event_stays_as_long_as_one_of_its_deliveries_does(store: Store, process: int) -> None:
    one, other = await subscribed(store), await subscribed(store)
    first = await old(store, process, one, 40 * DAY)
    second = make_delivery(first.event, other, id=made("dlv", 40 * DAY), claimed=False, due_at=LONG_AGO)
    late = make_delivery(first.event, other)  # a replay
    await store.events.add_deliveries(process, [second, late])
    await ended_as(store, process, [first, second], State.DELIVERED)
    await store.retain(KEEP)
    assert not await is_there(store, first)
    assert not await is_there(store, second)
    assert await is_there(store, late)
    await store.queue.finish(process, [outcome(late.id, State.DELIVERED)])
    await store.retain(KEEP)
    assert await is_there(store, late)


async def test_an_event_without_deliveries_goes_after_the_time_of_delivered_ones(
    store: Store, process: int
) -> None:
    gone, stays = make_event(key=made("evt", 31 * DAY)), make_event(key=made("evt", 29 * DAY))
    await store.events.accept(process, [gone, stays], [])
    await store.retain(KEEP)
    assert [one.key for one in (await store.events.page(EventFilter(tenant="default"), ALL)).items] == [
        stays.key
    ]


async def test_an_event_gets_no_delivery_after_it_has_gone(store: Store, process: int) -> None:
    subscription = await subscribed(store)
    gone, stays = make_event(key=made("evt", 31 * DAY)), make_event()
    await store.events.accept(process, [gone, stays], [])
    await store.retain(KEEP)
    late, new = (make_delivery(one, subscription, claimed=False, due_at=LONG_AGO) for one in (gone, stays))
    await store.events.add_deliveries(process, [late, new])
    assert [one.id for one in await claim(store, process, 9)] == [new.id]


async def test_more_than_a_chunk_goes(store: Store, process: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "CHUNK", 2)
    subscription = await subscribed(store)
    deliveries = [await old(store, process, subscription, 40 * DAY, job_id=f"job-{n}") for n in range(7)]
    tried, *others = deliveries
    for number in range(1, 6):
        (claimed,) = [one for one in await claim(store, process, 9) if one.id == tried.id]
        done = State.DELIVERED if number == 5 else State.PENDING
        again = outcome(claimed.id, done, attempts=number, due_at=None if done.final else LONG_AGO,
                        attempt=attempt(number))  # fmt: skip
        await store.queue.finish(process, [again])
    await store.queue.finish(
        process, [outcome(one.id, State.DELIVERED, attempt=attempt()) for one in others[::2]]
    )
    kept = await store.retain(KEEP)
    assert (kept.deleted["deliveries"], kept.deleted["attempts"]) == (4, 8)
    assert [await is_there(store, one) for one in deliveries] == [
        False,
        False,
        True,
        False,
        True,
        False,
        True,
    ]


async def test_what_only_events_need_goes_with_them(sqlite_url: str) -> None:
    store = open_store(sqlite_url, SEALER)
    await store.open()
    process = await store.leases.register("a-host", 1, lease=60)
    await check_that_what_only_events_need_goes_with_them(store, process)
    await store.close()


async def check_that_what_only_events_need_goes_with_them(store: Store, process: int) -> None:
    """Accept events of two jobs, let one of them become too old, and see what is left of both."""
    grant = {"event": "PERMISSION_GRANT", "data": {"user": "bob"}}
    gone = make_event(key=made("evt", 45 * DAY), id="1", job_id="old", **grant)
    first = make_event(key=made("evt", 45 * DAY), id="2", job_id="both", **grant)
    last = make_event(key=made("evt", 20 * DAY), id="3", job_id="both")
    await store.events.accept(process, [gone, first, last], [])
    kept = await store.retain(KEEP)
    assert (kept.deleted["identities"], kept.deleted["jobs"]) == (2, 1)
    assert [job.id for job in (await store.jobs.page(JobFilter(tenant="default"), ALL)).items] == ["both"]
    grants = {("default", "both", "alice", "bob")}
    assert await store.jobs.granted([("default", "old", "alice", "bob"), *grants]) == grants
    again = [make_event(id="1", job_id="old"), make_event(id="3", job_id="both")]
    assert await store.events.accept(process, again, []) == {again[1].key: last.key}
