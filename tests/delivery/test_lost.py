"""What a lost lease or a breaker that opens in the midst means for what is under way: nothing is sent twice or lost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection

from dispatcher.delivery import breaker_waits, breakers, outcomes, scheduler
from dispatcher.delivery.limits import Limits
from dispatcher.domain.deliveries import State, Waiting
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.events import utc_now
from dispatcher.domain.retry import RetryPolicy
from dispatcher.domain.targets import AttemptResult
from dispatcher.intake.matcher import Matcher
from dispatcher.store import ordering
from dispatcher.store.store import Store
from tests.breakers import open_breaker
from tests.delivery.conftest import BAD, GOOD, ScriptedKind, Sent, deliveries, running, settled
from tests.delivery.test_engine import Gate, new_event
from tests.factories import make_subscription

A = "https://a:443"
NEVER = RetryPolicy(strategy="delayed", delay=3600, jitter=0)


async def test_what_was_made_ready_under_a_lost_lease_is_sent_once(store: Store, kind: ScriptedKind) -> None:
    await store.subscriptions.add(make_subscription())
    async with running(store, kind, Limits(lease=0.4, timeout=0.1)) as process:
        engine, event = process.engine, new_event()
        new = engine.reservations.reserve_slots(await Matcher(store).match([event]))
        first = engine.lease_id
        await store.leases.release(first)  # as others do, while the database does not answer here
        await process.has(lambda: engine.lease_id != first)
        await store.events.accept(engine.lease_id, [event], new)
        engine.reservations.enqueue(new)
        await settled(store, {State.DELIVERED: 1})
    assert len(kind.sent) == 1


async def test_what_is_made_ready_while_a_lost_lease_is_replaced_is_sent_once(
    store: Store, kind: ScriptedKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.subscriptions.add(make_subscription())
    registered, answered, register = asyncio.Event(), asyncio.Event(), store.leases.register

    async def slow(*args: Any) -> int:
        lease_id = await register(*args)
        registered.set()
        await answered.wait()
        return lease_id

    async with running(store, kind, Limits(lease=0.4, timeout=0.1)) as process:
        engine, event, first = process.engine, new_event(), process.engine.lease_id
        monkeypatch.setattr(store.leases, "register", slow)
        await store.leases.release(first)
        await registered.wait()
        new = engine.reservations.reserve_slots(await Matcher(store).match([event]))
        answered.set()
        await process.has(lambda: engine.lease_id not in {0, first})
        await store.events.accept(engine.lease_id, [event], new)
        engine.reservations.enqueue(new)
        await settled(store, {State.DELIVERED: 1})
    assert len(kind.sent) == 1


async def test_one_that_waited_for_another_of_its_subscription_is_left_to_others_when_the_lease_is_lost(
    store: Store, kind: ScriptedKind
) -> None:
    gate = Gate(asyncio.Event(), BAD)
    kind.answer = gate
    await store.subscriptions.add(make_subscription(persistent=False, retry=NEVER))
    async with running(store, kind, Limits(lease=0.4, timeout=0.1)) as process:
        first = process.engine.lease_id
        await process.accept(new_event(), new_event())
        await kind.until(lambda sent: len(sent) == 1)
        await store.leases.release(first)
        await process.has(lambda: process.engine.lease_id != first)
        gate.opened.set()
        found = await settled(store, {State.PENDING: 2})
        async with asyncio.timeout(20):
            while [one.attempts for one in found] != [1, 1]:
                found = await deliveries(store)
                await asyncio.sleep(0.02)
    # The one that was under way is repeated, the one that waited for it is not.
    assert len(kind.sent) == 3


async def test_what_waited_for_another_of_its_subscription_makes_no_attempt_once_the_breaker_is_open(
    store: Store, kind: ScriptedKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker_waits, "FIRST_WAIT", 3600)
    monkeypatch.setattr(breakers, "FAILURES", 1)
    gate = Gate(asyncio.Event(), BAD)
    kind.answer = gate
    await store.subscriptions.add(make_subscription(destination=A, persistent=False, retry=NEVER))
    async with running(store, kind) as process:
        await process.accept(*(new_event() for _ in range(5)))
        await kind.until(lambda sent: len(sent) == 1)
        gate.opened.set()
        await settled(store, {State.PENDING: 5})
    assert len(kind.sent) == 1


async def test_no_more_is_claimed_while_a_probe_is_under_way(
    store: Store, kind: ScriptedKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breakers, "POLL_INTERVAL", 0.02)
    gate = Gate(asyncio.Event())
    kind.answer = gate
    await store.subscriptions.add(make_subscription(destination=A))
    await open_breaker(store, A, utc_now() + timedelta(hours=1), "seen elsewhere")
    monkeypatch.setattr(scheduler, "POLL_INTERVAL", 0.02)
    looked: list[str] = []
    discovered: list[str] = []
    look, discover = store.queue.find_queues, store.queue.waiting_destinations

    async def looks(after: Mapping[str, str], first: int, more: int) -> Mapping[str, Waiting]:
        looked.extend(after)
        return await look(after, first, more)

    async def discovers(after: str, limit: int) -> list[tuple[str, datetime | None]]:
        discovered.append(after)
        return await discover(after, limit)

    async with running(store, kind) as process:
        await process.has(lambda: process.engine.blocks(A))
        await process.accept(new_event(), new_event())
        await open_breaker(store, A, utc_now(), "seen elsewhere", probed=True)
        await kind.until(lambda sent: len(sent) == 1)
        monkeypatch.setattr(store.queue, "find_queues", looks)
        monkeypatch.setattr(store.queue, "waiting_destinations", discovers)
        await process.has(lambda: len(discovered) >= 5)
        assert looked == []
        gate.opened.set()
        await settled(store, {State.DELIVERED: 2})


async def test_what_follows_from_outcomes_is_repeated_alone_when_the_store_goes_away_before_it(
    store: Store, kind: ScriptedKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, ordered = Gate(asyncio.Event()), Gate(asyncio.Event(), BAD)
    advance, passed = ordering.advance, []

    async def answer(sent: Sent) -> AttemptResult:
        if sent.subscription.ordered:
            ordered.opened.set()
            return GOOD
        return await (ordered if sent.number == 1 else gate)(sent)

    def deadlock_at_first(connection: Connection, delivery_ids: Sequence[str]) -> None:
        passed.append(delivery_ids)
        if len(passed) == 1:
            raise StoreUnavailable("deadlock detected")
        advance(connection, delivery_ids)

    monkeypatch.setattr(ordering, "advance", deadlock_at_first)
    monkeypatch.setattr(outcomes, "RETRY_DELAYS", (0.3,))
    kind.answer = answer
    await store.subscriptions.add(make_subscription(ordered=True))
    await store.subscriptions.add(make_subscription(destination=A, retry=RetryPolicy(strategy="immediate")))
    async with running(store, kind) as process:
        await process.accept(new_event())
        await kind.until(lambda sent: len(sent) == 3)  # the failed one is tried again, under a new claim
        await process.has(lambda: len(passed) == 2)
        await settled(store, {State.DELIVERED: 1, State.DELIVERING: 1})
        gate.opened.set()
        await settled(store, {State.DELIVERED: 2})
    assert len(kind.sent) == 3


async def test_what_a_claim_has_whose_answer_was_lost_is_delivered_soon(
    store: Store, kind: ScriptedKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when nothing else is due: no other claim would give it back."""
    monkeypatch.setattr(scheduler, "POLL_INTERVAL", 0.05)
    wanted, failed = store.queue._wanted, asyncio.Event()  # between the commit and the answer

    async def breaks_once(*arguments: Any) -> object:
        if not failed.is_set():
            failed.set()
            raise StoreUnavailable("after the commit")
        return await wanted(*arguments)

    await store.subscriptions.add(make_subscription(destination=A, retry=NEVER, ordered=True))
    async with running(store, kind) as process:
        monkeypatch.setattr(store.queue, "_wanted", breaks_once)
        await process.accept(new_event())
        await failed.wait()
        await settled(store, {State.DELIVERED: 1})
