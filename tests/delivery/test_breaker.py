"""A destination that keeps failing is left alone, for all processes, and tried again now and then."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from msgspec.structs import replace

from dispatcher.delivery import breaker_waits, breakers
from dispatcher.delivery.breakers import FAILURES
from dispatcher.delivery.limits import Limits
from dispatcher.domain.deliveries import State
from dispatcher.domain.destinations import Destination
from dispatcher.domain.events import utc_now
from dispatcher.domain.retry import RetryPolicy
from dispatcher.domain.targets import AttemptResult
from dispatcher.maintenance.sweeper import Sweeper
from dispatcher.store.filters import DestinationFilter
from dispatcher.store.store import Store
from tests.breakers import open_breaker
from tests.delivery.conftest import BAD, GOOD, ScriptedKind, Sent, deliveries, running, settled
from tests.delivery.test_engine import new_event
from tests.factories import make_subscription

NEVER = RetryPolicy(strategy="delayed", delay=3600, jitter=0)
A, B = "https://a:443", "https://b:443"
EVERYONE = DestinationFilter(tenant="default", everyone=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breakers, "POLL_INTERVAL", 0.02)
    monkeypatch.setattr(breaker_waits, "FIRST_WAIT", 0.2)


async def bad(_: Sent) -> AttemptResult:
    return BAD


async def state_of(store: Store, key: str) -> Destination | None:
    return await store.destinations.get(EVERYONE, key)


async def opened(store: Store, key: str) -> Destination:
    async with asyncio.timeout(20):
        while True:
            found = await state_of(store, key)
            if found is not None and found.open_until is not None:
                return found
            await asyncio.sleep(0.01)


async def test_ten_failures_in_a_row_open_it_and_the_rest_waits_without_attempts(
    store: Store, kind: ScriptedKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker_waits, "FIRST_WAIT", 3600)
    kind.answer = bad
    await store.subscriptions.add(make_subscription(destination=A, retry=NEVER))
    async with running(store, kind, Limits(concurrency=1)) as process:
        await process.accept(*(new_event() for _ in range(FAILURES + 20)))
        found = await opened(store, A)
        assert (found.openings, found.reason) == (1, "answered 500")
        await settled(store, {State.PENDING: FAILURES + 20})
        await process.accept(new_event())
        waiting = await settled(store, {State.PENDING: FAILURES + 21})
    assert len(kind.sent) == FAILURES
    assert sum(delivery.attempts for delivery in waiting) == FAILURES


async def test_subscriptions_that_get_no_token_open_their_own_breakers_and_no_other(
    store: Store, kind: ScriptedKind
) -> None:
    async def without_token(sent: Sent) -> AttemptResult:
        if sent.subscription.subscriber == "alice":
            return GOOD
        return replace(BAD, status=None, concerns_subscription=True)

    kind.answer = without_token
    hostile = [
        make_subscription(destination=A, retry=NEVER, owner="*", subscriber=name)
        for name in ("mallory", "trudy")
    ]
    for one in hostile:
        await store.subscriptions.add(one)
    async with running(store, kind, Limits(concurrency=1)) as process:
        await process.accept(*(new_event() for _ in range(2 * FAILURES)))
        await process.has(lambda: not any(process.engine.may_go(one) for one in hostile))
        assert not process.engine.blocks(A)
        await store.subscriptions.add(make_subscription(destination=A, retry=NEVER))
        await process.accept(new_event())
        await process.has(lambda: any(sent.subscription.subscriber == "alice" for sent in kind.sent))


async def test_the_reason_is_what_all_may_know(store: Store, kind: ScriptedKind) -> None:
    async def with_two_errors(_: Sent) -> AttemptResult:
        return replace(
            BAD, error="answered 500: there is no workflow secret", destination_error="answered 500"
        )

    kind.answer = with_two_errors
    await store.subscriptions.add(make_subscription(destination=A, retry=NEVER))
    async with running(store, kind, Limits(concurrency=1)) as process:
        await process.accept(*(new_event() for _ in range(FAILURES)))
        assert (await opened(store, A)).reason == "answered 500"


async def test_others_go_on_meanwhile(
    store: Store, kind: ScriptedKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker_waits, "FIRST_WAIT", 3600)

    async def a_is_bad(sent: Sent) -> AttemptResult:
        return BAD if sent.subscription.destination == A else GOOD

    kind.answer = a_is_bad
    await store.subscriptions.add(make_subscription(destination=A, retry=NEVER))
    await store.subscriptions.add(make_subscription(destination=B))
    async with running(store, kind) as process:
        await process.accept(*(new_event() for _ in range(30)))
        await settled(store, {State.PENDING: 30, State.DELIVERED: 30})


async def test_a_probe_that_arrives_closes_it_and_all_that_waited_goes_out(
    store: Store, kind: ScriptedKind
) -> None:
    async def later(sent: Sent) -> AttemptResult:
        return BAD if len(kind.sent) <= FAILURES else GOOD

    kind.answer = later
    await store.subscriptions.add(make_subscription(destination=A, retry=NEVER))
    async with running(store, kind, Limits(concurrency=1)) as process:
        await process.accept(*(new_event() for _ in range(FAILURES + 20)))
        await settled(store, {State.PENDING: FAILURES, State.DELIVERED: 20})
    found = await state_of(store, A)
    assert found is not None
    assert found.breaker(utc_now()) == "closed"


async def test_a_probe_that_fails_keeps_it_open_for_longer(store: Store, kind: ScriptedKind) -> None:
    kind.answer = bad
    await store.subscriptions.add(make_subscription(destination=A, retry=NEVER))
    async with running(store, kind, Limits(concurrency=1)) as process:
        await process.accept(*(new_event() for _ in range(FAILURES + 20)))
        await kind.until(lambda sent: len(sent) == FAILURES + 2)
        async with asyncio.timeout(20):
            while (found := await opened(store, A)).openings < 3:  # noqa: ASYNC110 - the store sends no notification
                await asyncio.sleep(0.01)
    assert found.opened_at is not None
    assert found.open_until is not None
    assert found.open_until - found.opened_at > timedelta(seconds=0.2 + 0.4)


async def test_an_answer_in_between_keeps_it_closed(store: Store, kind: ScriptedKind) -> None:
    async def now_and_then(_: Sent) -> AttemptResult:
        return BAD if len(kind.sent) % FAILURES else GOOD

    kind.answer = now_and_then
    await store.subscriptions.add(make_subscription(destination=A, retry=NEVER))
    async with running(store, kind, Limits(concurrency=1)) as process:
        await process.accept(*(new_event() for _ in range(5 * FAILURES)))
        await kind.until(lambda sent: len(sent) == 5 * FAILURES)
    found = await state_of(store, A)
    assert found is not None
    assert found.open_until is None


async def test_a_refused_request_is_not_the_destinations_fault(store: Store, kind: ScriptedKind) -> None:
    async def refused(_: Sent) -> AttemptResult:
        return AttemptResult(request_line="POST x", status=404, error="answered 404")

    kind.answer = refused
    await store.subscriptions.add(make_subscription(destination=A, retry=NEVER))
    async with running(store, kind, Limits(concurrency=1)) as process:
        await process.accept(*(new_event() for _ in range(3 * FAILURES)))
        await kind.until(lambda sent: len(sent) == 3 * FAILURES)


async def test_what_another_process_opened_holds_here_too(store: Store, kind: ScriptedKind) -> None:
    await store.subscriptions.add(make_subscription(destination=A))
    await open_breaker(store, A, utc_now() + timedelta(hours=1), "seen elsewhere")
    async with running(store, kind) as process:
        await process.has(lambda: process.engine.blocks(A))
        await process.accept(new_event())
        await settled(store, {State.PENDING: 1})
        await store.breakers.close(A)
        await settled(store, {State.DELIVERED: 1})


async def test_a_paused_destination_gets_nothing_until_it_is_resumed(
    store: Store, kind: ScriptedKind
) -> None:
    await store.subscriptions.add(make_subscription(destination=A))
    await store.destinations.pause(A, "maintenance")
    async with running(store, kind) as process:
        await process.has(lambda: process.engine.blocks(A))
        await process.accept(new_event(), new_event())
        await settled(store, {State.PENDING: 2})
        await store.destinations.resume(A)
        await settled(store, {State.DELIVERED: 2})
    assert len(kind.sent) == 2


async def test_max_age_ends_what_waits_behind_it(store: Store, kind: ScriptedKind) -> None:
    await store.subscriptions.add(
        make_subscription(destination=A, retry=RetryPolicy(strategy="delayed", delay=1, max_age=0.001))
    )
    await store.subscriptions.add(make_subscription(destination=A))
    await open_breaker(store, A, utc_now() + timedelta(hours=1), "seen elsewhere")
    async with running(store, kind) as process:
        await process.has(lambda: process.engine.blocks(A))
        await process.accept(new_event())
        await settled(store, {State.PENDING: 2})
        await Sweeper(store, lambda: [A]).round()
        await settled(store, {State.PENDING: 1, State.EXHAUSTED: 1})
    [ended] = [one for one in await deliveries(store) if one.state is State.EXHAUSTED]
    assert (ended.reason, ended.attempts) == ("waited for longer than max_age (0.001 s)", 0)
