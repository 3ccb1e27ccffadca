"""Ordered subscriptions: one job's events one after the other, in the order of acceptance."""

from __future__ import annotations

import asyncio

from dispatcher.delivery.limits import Limits
from dispatcher.domain.deliveries import State
from dispatcher.domain.retry import RetryPolicy
from dispatcher.domain.targets import AttemptResult
from dispatcher.store.store import Store
from tests.delivery.conftest import BAD, GOOD, ScriptedKind, Sent, running, settled
from tests.delivery.test_engine import QUICK, new_event
from tests.factories import make_subscription


async def test_a_jobs_events_arrive_in_order_although_some_fail_at_first(
    store: Store, kind: ScriptedKind
) -> None:
    async def first_time_bad(sent: Sent) -> AttemptResult:
        return BAD if sent.number == 1 and sent.event.event in ("e2", "e5") else GOOD

    kind.answer = first_time_bad
    await store.subscriptions.add(make_subscription(ordered=True, retry=QUICK))
    async with running(store, kind) as process:
        for number in range(8):
            await process.accept(new_event(event=f"e{number}"))
        await settled(store, {State.DELIVERED: 8})
    seen = [sent.event.event for sent in kind.sent]
    assert seen == ["e0", "e1", "e2", "e2", "e3", "e4", "e5", "e5", "e6", "e7"]


async def test_one_batch_keeps_the_order_too(store: Store, kind: ScriptedKind) -> None:
    await store.subscriptions.add(make_subscription(ordered=True))
    async with running(store, kind) as process:
        await process.accept(*(new_event(event=f"e{number}") for number in range(10)))
        await settled(store, {State.DELIVERED: 10})
    assert [sent.event.event for sent in kind.sent] == [f"e{number}" for number in range(10)]


async def test_a_failing_job_holds_back_no_other(store: Store, kind: ScriptedKind) -> None:
    async def bad_for_one(sent: Sent) -> AttemptResult:
        return BAD if sent.event.job_id == "bad" else GOOD

    kind.answer = bad_for_one
    later = RetryPolicy(strategy="delayed", delay=3600, jitter=0)
    await store.subscriptions.add(make_subscription(ordered=True, retry=later))
    async with running(store, kind) as process:
        await process.accept(*(new_event(job_id=job) for job in ("bad", "good") for _ in range(4)))
        await settled(store, {State.DELIVERED: 4, State.PENDING: 4})
    assert sum(sent.event.job_id == "bad" for sent in kind.sent) == 1


async def test_an_exhausted_one_lets_the_next_go(store: Store, kind: ScriptedKind) -> None:
    async def first_is_bad(sent: Sent) -> AttemptResult:
        return BAD if sent.event.event == "e0" else GOOD

    kind.answer = first_is_bad
    await store.subscriptions.add(make_subscription(ordered=True, retry=RetryPolicy(strategy="none")))
    async with running(store, kind) as process:
        await process.accept(*(new_event(event=f"e{number}") for number in range(3)))
        await settled(store, {State.DELIVERED: 2, State.EXHAUSTED: 1})


async def test_the_order_is_kept_over_a_restart(store: Store, kind: ScriptedKind) -> None:
    hang = asyncio.Event()

    async def wait(_: Sent) -> AttemptResult:
        await hang.wait()
        return GOOD

    kind.answer = wait
    await store.subscriptions.add(make_subscription(ordered=True))
    async with running(store, kind, Limits(grace=0.01)) as process:
        await process.accept(*(new_event(event=f"e{number}") for number in range(3)))
        await kind.until(lambda sent: len(sent) == 1)
        # It is not finished within the grace time, and given back.
    kind.answer = kind.good
    async with running(store, kind):
        await settled(store, {State.DELIVERED: 3})
    assert [sent.event.event for sent in kind.sent] == ["e0", "e0", "e1", "e2"]
