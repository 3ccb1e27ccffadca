"""Breakers, pauses and rate limits as processes share them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from msgspec.structs import replace

from dispatcher.domain.destinations import RateLimit
from dispatcher.domain.events import utc_now
from dispatcher.store.filters import DestinationFilter, Window
from dispatcher.store.store import Store
from tests.breakers import breaker, open_breaker
from tests.store.helpers import ALL, FUTURE, PAST, stored, subscribed

A, B, C = "https://a:443", "https://b:443", "https://c:443"
EVERYONE = DestinationFilter(tenant="default", everyone=True)


async def test_a_breaker_is_opened_once_however_many_see_the_failures(store: Store) -> None:
    await open_breaker(store, A, FUTURE, "answered 500")
    await open_breaker(store, A, FUTURE + timedelta(hours=1), "answered 502")
    [found] = await store.breakers.destinations_to_watch()
    assert (found.key, found.open_until, found.openings, found.reason) == (A, FUTURE, 1, "answered 500")
    assert found.breaker(utc_now()) == "open"


async def test_one_process_only_sends_the_probe(store: Store) -> None:
    await open_breaker(store, A, PAST, "answered 500")
    assert [await store.breakers.begin_probes([breaker(A, PAST)], FUTURE) for _ in range(2)] == [{A}, set()]


async def test_many_breakers_are_opened_and_probed_together(store: Store) -> None:
    """Of destinations and within them: each as it would be alone."""
    within = [breaker(f"default/o{n} at {A}", PAST, "answered 500", A) for n in range(3)]
    opened = [breaker(B, PAST, "answered 502"), *within, breaker(A, PAST), breaker(C, PAST)]
    await store.breakers.open(opened, ())
    later = [replace(one, open_until=FUTURE, reason="again") for one in opened]
    probed = {B, within[0].key}
    await store.breakers.open(later, probed)
    own, inner = await store.breakers.destinations_to_watch(), await store.breakers.to_watch()
    found = {one.key: (one.openings, one.reason, one.open_until) for one in own}
    found |= {one.key: (one.openings, one.reason, one.open_until) for one in inner}
    before = {one.key: (1, one.reason, PAST) for one in opened}
    assert found == before | dict.fromkeys(probed, (2, "again", FUTURE))
    assert {one.destination for one in inner} == {A}

    moved = FUTURE + timedelta(minutes=1)
    wanted = [one for one in opened if one.key not in probed]
    # Those that are not as they were seen are of somebody else, or closed.
    assert await store.breakers.begin_probes([*wanted, opened[0]], moved) == {one.key for one in wanted}
    await store.breakers.close(A)
    again = [replace(one, open_until=moved) for one in wanted]
    assert await store.breakers.begin_probes(again, FUTURE) == {one.key for one in wanted} - {A}
    changed = await store.breakers.changes(PAST)
    assert {one.key: one.open_until for one in changed.destinations} == {A: None, B: FUTURE, C: FUTURE}
    assert {one.key for one in changed.breakers} == {one.key for one in within}


async def test_two_processes_that_claim_the_same_probes_share_them(store: Store) -> None:
    opened = [breaker(f"https://h{number}:443", PAST) for number in range(100)]
    await store.breakers.open(opened, ())
    backwards = opened[::-1]
    shares = await asyncio.gather(
        *(store.breakers.begin_probes(one, FUTURE) for one in (opened, backwards, opened))
    )
    assert sorted(key for share in shares for key in share) == sorted(one.key for one in opened)


async def test_what_receivers_ask_for_stays_open_and_counts_as_no_failure(store: Store) -> None:
    within = breaker("sub_" + "0" * 32, PAST, "answered 503", B)
    for one in (breaker(A, PAST), within):
        asked = replace(one, asked=True, open_until=FUTURE, reason="answered 429")
        await store.breakers.open([one], ())
        await store.breakers.open([asked], ())
    [own] = await store.breakers.destinations_to_watch()
    [inner] = await store.breakers.to_watch()
    assert (own.open_until, own.openings, own.asked, own.reason) == (FUTURE, 1, True, "answered 429")
    assert (inner.open_until, inner.openings, inner.asked, inner.reason) == (FUTURE, 1, True, "answered 429")


async def test_a_failed_probe_keeps_the_breaker_open_and_remembers_when_it_began(store: Store) -> None:
    await open_breaker(store, A, PAST, "answered 500")
    [before] = await store.breakers.destinations_to_watch()
    await open_breaker(store, A, FUTURE, "answered 503", probed=True)
    [after] = await store.breakers.destinations_to_watch()
    assert (after.openings, after.reason, after.open_until) == (2, "answered 503", FUTURE)
    assert after.opened_at == before.opened_at


async def test_a_closed_breaker_is_not_watched_any_more(store: Store) -> None:
    await open_breaker(store, A, FUTURE, "answered 500")
    await store.breakers.close(A)
    assert await store.breakers.destinations_to_watch() == []
    found = await store.destinations.get(EVERYONE, A)
    assert found is not None
    assert (found.breaker(utc_now()), found.reason, found.openings) == ("closed", None, 0)


async def test_a_paused_destination_is_watched_until_it_is_resumed(store: Store) -> None:
    await open_breaker(store, A, FUTURE, "answered 500")
    await store.destinations.pause(A, "maintenance")
    [found] = await store.breakers.destinations_to_watch()
    assert (found.blocked, found.paused_reason) == (True, "maintenance")
    await store.destinations.resume(A)
    assert await store.breakers.destinations_to_watch() == []


async def test_a_limit_is_kept_until_it_is_lifted(store: Store) -> None:
    await store.destinations.set_rate_limit(A, RateLimit(10, 20))
    [found] = await store.breakers.destinations_to_watch()
    assert (found.rate_limit, found.blocked) == (RateLimit(10, 20), False)
    await store.destinations.set_rate_limit(A, None)
    assert await store.breakers.destinations_to_watch() == []


async def test_a_burst_is_granted_at_once_and_the_rest_later(store: Store) -> None:
    limit = RateLimit(per_second=0.001, burst=3)
    given = await store.rate_limits.take_slots("a", limit, 5)
    assert given.granted == 3
    assert 999 < given.wait <= 1000
    assert (await store.rate_limits.take_slots("a", limit, 1)).granted == 0
    assert (await store.rate_limits.take_slots("another", limit, 1)).granted == 1


async def test_each_subscriber_is_shown_its_own_destinations(store: Store) -> None:
    await subscribed(store, subscriber="alice", destination=A)
    await subscribed(store, subscriber="bob", destination=B)
    await subscribed(store, tenant="other", destination=C)

    async def keys(**which: object) -> list[str]:
        page = await store.destinations.page(DestinationFilter(**which), ALL)  # type: ignore[arg-type]  # real fields
        return [one.key for one in page.items]

    assert await keys(tenant="default", subscriber="alice") == [A]
    assert await keys(tenant="default") == [A, B]
    assert await keys(tenant="default", everyone=True) == [A, B, C]
    assert await store.destinations.get(DestinationFilter(tenant="default", subscriber="alice"), B) is None


async def test_destinations_come_in_pages(store: Store) -> None:
    for key in (C, A, B):
        await store.destinations.pause(key, "no")
    first = await store.destinations.page(EVERYONE, Window(limit=2))
    assert ([one.key for one in first.items], first.next) == ([A, B], B)
    rest = await store.destinations.page(EVERYONE, Window(limit=2, cursor=first.next))
    assert ([one.key for one in rest.items], rest.next) == ([C], None)


async def test_what_waits_is_counted_for_each_destination(store: Store, process: int) -> None:
    await stored(store, process, await subscribed(store, destination=A), 3, claimed=False, due_at=FUTURE)
    assert await store.destinations.count_waiting([A, B]) == {A: 3, B: 0}
