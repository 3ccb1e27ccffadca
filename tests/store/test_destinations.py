"""Breakers, pauses and rate limits as processes share them."""

from __future__ import annotations

from datetime import timedelta

from dispatcher.domain.destinations import RateLimit
from dispatcher.domain.events import utc_now
from dispatcher.store.contract import DestinationFilter, Store, Window
from tests.store.helpers import ALL, FUTURE, PAST, stored, subscribed

A, B, C = "https://a:443", "https://b:443", "https://c:443"
EVERYONE = DestinationFilter(tenant="default", everyone=True)


async def test_a_breaker_is_opened_once_however_many_see_the_failures(store: Store) -> None:
    await store.open_breaker(A, FUTURE, "answered 500", probed=False)
    await store.open_breaker(A, FUTURE + timedelta(hours=1), "answered 502", probed=False)
    [found] = await store.destinations_to_watch()
    assert (found.key, found.open_until, found.openings, found.reason) == (A, FUTURE, 1, "answered 500")
    assert found.breaker(utc_now()) == "open"


async def test_one_process_only_sends_the_probe(store: Store) -> None:
    await store.open_breaker(A, PAST, "answered 500", probed=False)
    assert [await store.begin_probe(A, PAST, FUTURE) for _ in range(2)] == [True, False]


async def test_a_failed_probe_keeps_the_breaker_open_and_remembers_when_it_began(store: Store) -> None:
    await store.open_breaker(A, PAST, "answered 500", probed=False)
    [before] = await store.destinations_to_watch()
    await store.open_breaker(A, FUTURE, "answered 503", probed=True)
    [after] = await store.destinations_to_watch()
    assert (after.openings, after.reason, after.open_until) == (2, "answered 503", FUTURE)
    assert after.opened_at == before.opened_at


async def test_a_closed_breaker_is_not_watched_any_more(store: Store) -> None:
    await store.open_breaker(A, FUTURE, "answered 500", probed=False)
    await store.close_breaker(A)
    assert await store.destinations_to_watch() == []
    found = await store.destination(EVERYONE, A)
    assert found is not None
    assert (found.breaker(utc_now()), found.reason, found.openings) == ("closed", None, 0)


async def test_a_paused_destination_is_watched_until_it_is_resumed(store: Store) -> None:
    await store.open_breaker(A, FUTURE, "answered 500", probed=False)
    await store.pause_destination(A, "maintenance")
    [found] = await store.destinations_to_watch()
    assert (found.blocked, found.paused_reason) == (True, "maintenance")
    await store.resume_destination(A)
    assert await store.destinations_to_watch() == []


async def test_a_limit_is_kept_until_it_is_lifted(store: Store) -> None:
    await store.limit_destination(A, RateLimit(10, 20))
    [found] = await store.destinations_to_watch()
    assert (found.rate_limit, found.blocked) == (RateLimit(10, 20), False)
    await store.limit_destination(A, None)
    assert await store.destinations_to_watch() == []


async def test_a_burst_is_granted_at_once_and_the_rest_later(store: Store) -> None:
    limit = RateLimit(per_second=0.001, burst=3)
    given = await store.take_slots("a", limit, 5)
    assert given.granted == 3
    assert 999 < given.wait <= 1000
    assert (await store.take_slots("a", limit, 1)).granted == 0
    assert (await store.take_slots("another", limit, 1)).granted == 1


async def test_everyone_is_shown_the_destinations_of_their_own_subscriptions(store: Store) -> None:
    await subscribed(store, subscriber="alice", destination=A)
    await subscribed(store, subscriber="bob", destination=B)
    await subscribed(store, tenant="other", destination=C)

    async def keys(**which: object) -> list[str]:
        page = await store.destinations(DestinationFilter(**which), ALL)  # type: ignore[arg-type]  # real fields
        return [one.key for one in page.items]

    assert await keys(tenant="default", subscriber="alice") == [A]
    assert await keys(tenant="default") == [A, B]
    assert await keys(tenant="default", everyone=True) == [A, B, C]
    assert await store.destination(DestinationFilter(tenant="default", subscriber="alice"), B) is None


async def test_destinations_come_in_pages(store: Store) -> None:
    for key in (C, A, B):
        await store.pause_destination(key, "no")
    first = await store.destinations(EVERYONE, Window(limit=2))
    assert ([one.key for one in first.items], first.next) == ([A, B], B)
    rest = await store.destinations(EVERYONE, Window(limit=2, cursor=first.next))
    assert ([one.key for one in rest.items], rest.next) == ([C], None)


async def test_what_waits_is_counted_for_each_destination(store: Store, process: int) -> None:
    await stored(store, process, await subscribed(store, destination=A), 3, claimed=False, due_at=FUTURE)
    assert await store.waiting([A, B]) == {A: 3, B: 0}
