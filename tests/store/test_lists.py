"""What people ask: bounded lists, newest first, and nothing that is not theirs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from dispatcher.domain.deliveries import State
from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.ids import new_id
from dispatcher.domain.keys import ApiKey, hash_key
from dispatcher.store import lists
from dispatcher.store.filters import DeliveryFilter, EventFilter, JobFilter, SubscriptionFilter, Window
from dispatcher.store.store import Store
from tests.claiming import claim
from tests.factories import NOW, make_delivery, make_event, make_subscription
from tests.store.helpers import ALL, FUTURE, PAST, accept, ended, ids, stored, subscribed, unknown


async def take(store: Store, process: int, *events: Event) -> list[Event]:
    """Accept each event in a separate batch, as they would come."""
    for event in events:
        await store.events.accept(process, [event], [])
    return list(events)


async def seen(store: Store, **fields: object) -> list[str]:
    which = EventFilter(**{"tenant": "default"} | fields)  # type: ignore[arg-type]  # real fields
    return [event.key for event in (await store.events.page(which, ALL)).items]


async def jobs_seen(store: Store, **fields: object) -> list[str]:
    which = JobFilter(**{"tenant": "default"} | fields)  # type: ignore[arg-type]  # real fields
    return [job.id for job in (await store.jobs.page(which, ALL)).items]


async def test_events_are_filtered(store: Store, process: int) -> None:
    a, b, c, other = await take(
        store,
        process,
        make_event(job_id="one", event="RUNNING"),
        make_event(job_id="two", event="RUNNING"),
        make_event(job_id="one", event="FINISHED"),
        make_event(tenant="other"),
    )
    assert await seen(store) == [c.key, b.key, a.key]
    assert await seen(store, job_id="one") == [c.key, a.key]
    assert await seen(store, event="RUNNING") == [b.key, a.key]
    assert await seen(store, job_id="one", event="RUNNING") == [a.key]
    assert await seen(store, tenant="other") == [other.key]
    assert await seen(store, since=utc_now() - timedelta(minutes=1)) == [c.key, b.key, a.key]
    assert await seen(store, since=FUTURE) == []


async def test_an_owner_sees_events_of_its_jobs_and_of_those_that_were_granted(
    store: Store, process: int
) -> None:
    mine, _, theirs, grant, of_mine = await take(
        store,
        process,
        make_event(job_id="mine", owner="alice"),
        make_event(job_id="secret", owner="bob"),
        make_event(job_id="shared", owner="bob"),
        make_event(job_id="shared", owner="bob", event="PERMISSION_GRANT", data={"username": "alice"}),
        make_event(job_id="mine", owner=None),
    )
    assert await seen(store, visible_to="alice") == [of_mine.key, grant.key, theirs.key, mine.key]
    assert await seen(store, visible_to="alice", job_id="mine") == [of_mine.key, mine.key]
    assert await seen(store, visible_to="alice", job_id="shared") == [grant.key, theirs.key]
    assert await seen(store, visible_to="alice", job_id="secret") == []
    assert await seen(store, visible_to="alice", tenant="other") == []
    assert await seen(store, visible_to="eve") == []
    assert await jobs_seen(store, visible_to="alice") == ["shared", "mine"]
    assert await jobs_seen(store, visible_to="alice", owner="bob") == ["shared"]
    assert await jobs_seen(store, visible_to="eve") == []


async def test_a_revoked_permission_hides_again(store: Store, process: int) -> None:
    await take(
        store,
        process,
        make_event(owner="bob", event="PERMISSION_GRANT", data={"username": "alice"}),
        make_event(
            owner="bob", event="PERMISSION_REVOKE", data={"username": "alice"}, time=NOW + timedelta(1)
        ),
    )
    assert await seen(store, visible_to="alice") == []
    assert await seen(store, visible_to="alice", job_id="job-1") == []
    assert await jobs_seen(store, visible_to="alice") == []


async def test_a_permission_of_another_tenant_shows_nothing(store: Store, process: int) -> None:
    await take(
        store,
        process,
        make_event(owner="bob"),
        make_event(owner="bob", tenant="other", event="PERMISSION_GRANT", data={"username": "alice"}),
    )
    assert await seen(store, visible_to="alice") == []
    assert await seen(store, visible_to="alice", job_id="job-1") == []


async def test_an_event_and_its_owner_can_come_in_one_batch(store: Store, process: int) -> None:
    events = [make_event(owner=None), make_event(owner="alice")]
    await store.events.accept(process, events, [])
    assert await seen(store, visible_to="alice") == [events[1].key, events[0].key]


async def test_jobs_are_filtered(store: Store, process: int) -> None:
    await take(
        store,
        process,
        make_event(job_id="a", owner="alice", event="RUNNING"),
        make_event(job_id="b", owner="bob", event="RUNNING"),
        make_event(job_id="c", owner="alice"),
        make_event(job_id="a", owner="alice", event="QUEUED"),
        make_event(job_id="d", tenant="other"),
    )
    assert await jobs_seen(store) == ["c", "b", "a"]
    assert await jobs_seen(store, owner="alice") == ["c", "a"]
    assert await jobs_seen(store, status="FINISHED") == ["c"]
    assert await jobs_seen(store, tenant="other") == ["d"]


async def test_events_come_in_pages(store: Store, process: int) -> None:
    events = [make_event(job_id=f"job-{number}") for number in range(5)]
    await store.events.accept(process, events, [])
    which = EventFilter(tenant="default")
    first = await store.events.page(which, Window(limit=2))
    second = await store.events.page(which, Window(limit=2, cursor=first.next))
    third = await store.events.page(which, Window(limit=2, cursor=second.next))
    keys = [event.key for part in (first, second, third) for event in part.items]
    assert keys == [event.key for event in reversed(events)]
    assert third.next is None


async def test_an_owners_events_come_in_pages(store: Store, process: int) -> None:
    granted = [make_event(job_id="bobs", owner="bob", event="PERMISSION_GRANT", data={"user": "alice"})]
    events = granted + [
        make_event(job_id=job, owner=owner) for job, owner in [("mine", "alice"), ("bobs", "bob")] * 4
    ]
    await store.events.accept(process, events, [])
    which = EventFilter(tenant="default", visible_to="alice")
    cursor, keys = None, []
    while True:
        part = await store.events.page(which, Window(limit=2, cursor=cursor))
        keys += [event.key for event in part.items]
        if (cursor := part.next) is None:
            break
    assert keys == [event.key for event in reversed(events)]


async def test_jobs_come_in_pages(store: Store, process: int) -> None:
    await store.events.accept(process, [make_event(job_id=f"job-{number}") for number in range(5)], [])
    first = await store.jobs.page(JobFilter(tenant="default"), Window(limit=3))
    assert first.next == first.items[-1].first_event
    second = await store.jobs.page(JobFilter(tenant="default"), Window(limit=3, cursor=first.next))
    names = [job.id for part in (first, second) for job in part.items]
    assert (names, second.next) == ([f"job-{number}" for number in (4, 3, 2, 1, 0)], None)


async def test_no_list_is_longer_than_its_limit(store: Store, process: int) -> None:
    await stored(store, process, await subscribed(store), 503, claimed=False, due_at=FUTURE)
    page = await store.deliveries.page(DeliveryFilter(tenant="default"), Window(limit=100_000))
    assert len(page.items) == 500
    assert page.next == page.items[-1].id
    rest = await store.deliveries.page(DeliveryFilter(tenant="default"), Window(limit=0, cursor=page.next))
    assert len(rest.items) == 1


async def test_a_page_ends_before_its_documents_have_too_many_bytes(
    store: Store, process: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "MAX_BYTES", 1000)
    sizes = (400, 400, 2000, 400, 300, 300, 2)
    events = [make_event(document=b"{}".ljust(size)) for size in sizes]
    await store.events.accept(process, events, [])
    which, cursor, pages = EventFilter(tenant="default"), None, []
    while True:
        page = await store.events.page(which, Window(limit=3, cursor=cursor))
        pages.append([len(event.document) for event in page.items])
        if (cursor := page.next) is None:
            break
    assert pages == [[2, 300, 300], [400], [2000], [400, 400]]
    kept = [await subscribed(store, metadata={"text": "x" * 600}) for _ in range(2)]
    first = await store.subscriptions.page(SubscriptionFilter(tenant="default"), ALL)
    assert ([one.id for one in first.items], first.next) == ([kept[1].id], kept[1].id)


@pytest.mark.parametrize("cursor", ["", "nonsense", "evt_\0", "sub_0192f0c1a2b37c4d8e5f60718293a4b5"])
async def test_a_cursor_that_is_none_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(InvalidInput, match="cursor"):
        await store.events.page(EventFilter(tenant="default"), Window(cursor=cursor))
    with pytest.raises(InvalidInput, match="cursor"):
        await store.deliveries.page(DeliveryFilter(tenant="default"), Window(cursor=cursor))


async def test_what_does_not_exist_is_none(store: Store) -> None:
    assert await store.events.get("default", unknown("evt")) is None
    assert await store.events.get("default", "nonsense") is None
    assert await store.deliveries.get("default", unknown("dlv")) is None
    assert await store.deliveries.get("default", "dlv_\ud800") is None
    assert await store.deliveries.attempts(unknown("dlv")) == []
    assert await store.deliveries.attempts("nonsense") == []
    assert await store.jobs.get("default", "nul\0 and \ud800") is None


async def test_any_text_can_be_asked_for(store: Store) -> None:
    odd = "nul\0 quote' \ud800"
    assert await seen(store, tenant=odd, visible_to=odd, job_id=odd, event=odd) == []
    assert await seen(store, visible_to=odd) == []
    assert await jobs_seen(store, visible_to=odd, owner=odd, status=odd) == []
    assert await ids(store, subscriber=odd, job_id=odd, destination=odd) == []
    assert await store.jobs.granted([(odd, odd, odd, odd)]) == set()
    assert await store.subscriptions.find_matching([odd]) == []
    assert await store.keys.by_digest(odd) is None


async def test_deliveries_are_filtered(store: Store, process: int) -> None:
    mine = await subscribed(store, subscriber="alice", destination="https://a.example:443")
    theirs = await subscribed(store, subscriber="bob", destination="https://b.example:443")
    elsewhere = await subscribed(store, tenant="other")
    event = make_event(job_id="one")
    a, b = make_delivery(event, mine), make_delivery(event, theirs)
    c = make_delivery(make_event(job_id="two"), theirs)
    other = make_delivery(make_event(tenant="other"), elsewhere)
    await accept(store, process, a, b, c, other)
    assert await ids(store) == [c.id, b.id, a.id]
    assert await ids(store, tenant="other") == [other.id]
    assert await ids(store, subscriber="bob") == [c.id, b.id]
    assert await ids(store, job_id="one") == [b.id, a.id]
    assert await ids(store, event_key=event.key) == [b.id, a.id]
    assert await ids(store, subscription_id=theirs.id) == [c.id, b.id]
    assert await ids(store, destination="https://a.example:443") == [a.id]
    assert await ids(store, job_id="one", subscriber="bob", destination="https://b.example:443") == [b.id]
    assert await ids(store, since=utc_now() - timedelta(minutes=1)) == [c.id, b.id, a.id]
    assert await ids(store, since=FUTURE) == []


async def test_a_delivery_is_not_seen_from_another_tenant(store: Store, process: int) -> None:
    (new,) = await stored(store, process, await subscribed(store))
    assert await store.deliveries.get("other", new.id) is None


async def test_a_filter_by_something_that_is_no_id_is_refused(store: Store) -> None:
    with pytest.raises(InvalidInput, match="subscription_id"):
        await ids(store, subscription_id="nonsense")
    with pytest.raises(InvalidInput, match="event"):
        await ids(store, event_key="sub_0192f0c1a2b37c4d8e5f60718293a4b5")


async def test_deliveries_are_found_by_every_state(store: Store, process: int) -> None:
    subscription = await subscribed(store)
    expected: dict[State, list[str]] = {}
    for state in State:
        if state.final:
            expected[state] = [one.id for one in await ended(store, process, subscription, state, 2)]
    (fresh,) = await stored(store, process, subscription)
    (again,) = await stored(store, process, subscription, claimed=False, due_at=PAST)
    await claim(store, process, 10)
    expected[State.DELIVERING] = [fresh.id, again.id]
    (waits,) = await stored(store, process, subscription, claimed=False, due_at=FUTURE)
    (held,) = await stored(store, process, await subscribed(store, status="paused"), claimed=False)
    expected[State.PENDING] = [waits.id, held.id]
    for state, these in expected.items():
        assert await ids(store, state=state) == these[::-1], state
        assert await ids(store, state=state, subscriber="bob") == [], state
        which = DeliveryFilter(tenant="default", state=state)
        assert await store.deliveries.count(which) == 2, state
        page = await store.deliveries.page(which, Window(limit=1))
        assert ([one.id for one in page.items], page.next) == (these[1:], these[1])
        rest = await store.deliveries.page(which, Window(limit=1, cursor=page.next))
        assert ([one.id for one in rest.items], rest.next) == (these[:1], None)
    assert await store.deliveries.count(DeliveryFilter(tenant="default")) == 12
    assert await store.deliveries.backlog() == {State.PENDING: 2, State.DELIVERING: 2, State.EXHAUSTED: 2}


async def test_a_delivery_says_when_it_was_made(store: Store, process: int) -> None:
    before = utc_now()
    (new,) = await stored(store, process, await subscribed(store))
    delivery = await store.deliveries.get("default", new.id)
    assert delivery is not None
    assert before - timedelta(milliseconds=1) <= delivery.created_at <= utc_now()


def make_key(**fields: object) -> ApiKey:
    values = {"name": "a key", "owner": "alice", "tenant": "default", "scopes": ("publish", "admin")}
    return ApiKey(**{"id": new_id("key"), "created_at": NOW} | values | fields)  # type: ignore[arg-type]  # real fields


async def test_a_key_is_found_by_its_hash_until_it_is_removed(store: Store) -> None:
    key = make_key()
    await store.keys.add(key, hash_key("text"))
    assert await store.keys.by_digest(hash_key("text")) == key
    assert await store.keys.by_digest(hash_key("other")) is None
    assert await store.keys.get(key.id) == key
    assert [await store.keys.get(id) for id in (new_id("key"), "nonsense")] == [None, None]
    assert not await store.keys.remove("other", key.id)
    assert await store.keys.remove("default", key.id)
    assert not await store.keys.remove("default", key.id)
    assert await store.keys.by_digest(hash_key("text")) is None
    assert await store.keys.get(key.id) is None


async def test_a_key_of_any_tenant_can_be_removed_by_who_is_above_them(store: Store) -> None:
    key = make_key(tenant="other")
    await store.keys.add(key, hash_key("text"))
    assert not await store.keys.remove(None, "nonsense")
    assert await store.keys.remove(None, key.id)


async def test_keys_are_listed_newest_first(store: Store) -> None:
    keys = [make_key(tenant=tenant, scopes=()) for tenant in ("default", "other", "default")]
    for key in keys:
        await store.keys.add(key, hash_key(key.id))
    assert (await store.keys.page(None, ALL)).items == keys[::-1]
    assert (await store.keys.page("other", ALL)).items == [keys[1]]
    first = await store.keys.page("default", Window(limit=1))
    assert (first.items, first.next) == ([keys[2]], keys[2].id)
    assert (await store.keys.page("default", Window(limit=1, cursor=first.next))).items == [keys[0]]


async def test_the_first_and_the_last_time_there_is_can_be_stored_and_asked_for(
    store: Store, process: int
) -> None:
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    events = [make_event(time=first, job_id="first"), make_event(time=last, job_id="last")]
    await store.events.accept(process, events, [])
    kept = [event.time for event in (await store.events.page(EventFilter(tenant="default"), ALL)).items]
    assert last - kept[0] <= timedelta(microseconds=1)
    assert kept[1] - first <= timedelta(microseconds=1)
    assert len(await seen(store, since=first)) == 2
    assert await seen(store, since=last) == []
    assert await ids(store, since=first) == []
    await subscribed(store, expires_at=last)
    assert len(await store.subscriptions.find_matching([make_subscription(owner="*").match_key])) == 1
