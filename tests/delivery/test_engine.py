"""The delivery engine over a real store."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from dispatcher.delivery.limits import Limits
from dispatcher.domain.deliveries import State
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.retry import RetryPolicy, Schedule
from dispatcher.domain.targets import AttemptResult
from dispatcher.store.store import Store
from tests.delivery.conftest import BAD, GOOD, ScriptedKind, Sent, deliveries, running, settled
from tests.factories import make_event, make_subscription

QUICK = RetryPolicy(strategy="delayed", delay=0.05, jitter=0)


def new_event(**changes: object) -> Event:
    return make_event(accepted_at=utc_now(), **changes)


@dataclass
class Gate:
    """An answer that waits until it is opened."""

    opened: asyncio.Event
    answer: AttemptResult = GOOD

    async def __call__(self, _: Sent) -> AttemptResult:
        await self.opened.wait()
        return self.answer


async def test_a_fresh_delivery_goes_out_at_once_and_its_attempt_is_kept(
    store: Store, kind: ScriptedKind
) -> None:
    await store.subscriptions.add(make_subscription())
    async with running(store, kind) as process:
        await process.accept(new_event())
        (delivery,) = await settled(store, {State.DELIVERED: 1})
    (attempt,) = await store.deliveries.attempts(delivery.id)
    assert (attempt.number, attempt.status, attempt.error) == (1, 204, None)
    assert [(sent.delivery_id, sent.number) for sent in kind.sent] == [(delivery.id, 1)]


async def test_a_failed_delivery_comes_back_from_the_store_under_the_same_id(
    store: Store, kind: ScriptedKind
) -> None:
    async def third_time(sent: Sent) -> AttemptResult:
        return GOOD if sent.number == 3 else BAD

    kind.answer = third_time
    await store.subscriptions.add(make_subscription(retry=QUICK))
    async with running(store, kind) as process:
        await process.accept(new_event())
        (delivery,) = await settled(store, {State.DELIVERED: 1})
    assert [sent.number for sent in kind.sent] == [1, 2, 3]
    assert {sent.delivery_id for sent in kind.sent} == {delivery.id}
    assert [attempt.error for attempt in await store.deliveries.attempts(delivery.id)] == [
        "answered 500",
        "answered 500",
        None,
    ]


async def test_a_delivery_without_retries_left_is_exhausted_and_can_be_sent_again(
    store: Store, kind: ScriptedKind
) -> None:
    async def fail(_: Sent) -> AttemptResult:
        return BAD

    kind.answer = fail
    await store.subscriptions.add(make_subscription(retry=RetryPolicy(strategy="none")))
    async with running(store, kind) as process:
        await process.accept(new_event())
        (delivery,) = await settled(store, {State.EXHAUSTED: 1})
        assert delivery.reason == "no retries left after 1 attempts: answered 500"
        kind.answer = kind.good
        assert await store.deliveries.retry("default", delivery.id)
        await settled(store, {State.DELIVERED: 1})
    assert [sent.number for sent in kind.sent] == [1, 2]


async def test_what_does_not_fit_into_a_lane_waits_in_the_store_and_comes_back(
    store: Store, kind: ScriptedKind
) -> None:
    gate = Gate(asyncio.Event())
    kind.answer = gate
    await store.subscriptions.add(make_subscription())
    async with running(store, kind, Limits(concurrency=2, queue=8, in_memory=500)) as process:
        await process.accept(*(new_event() for _ in range(40)))
        await settled(store, {State.DELIVERING: 8, State.PENDING: 32})
        gate.opened.set()
        await settled(store, {State.DELIVERED: 40})
    assert len(kind.sent) == 40


async def test_a_hanging_destination_delays_only_itself(store: Store, kind: ScriptedKind) -> None:
    gate = Gate(asyncio.Event())

    async def hang_there(sent: Sent) -> AttemptResult:
        return await gate(sent) if "hangs" in sent.subscription.destination else GOOD

    kind.answer = hang_there
    await store.subscriptions.add(make_subscription(owner="*", destination="https://hangs:443"))
    await store.subscriptions.add(make_subscription(owner="*", destination="https://works:443"))
    async with running(store, kind, Limits(concurrency=2, queue=20, in_memory=500)) as process:
        for _ in range(10):
            await process.accept(*(new_event() for _ in range(10)))
            await kind.until(lambda sent: sum("works" in s.subscription.destination for s in sent) % 10 == 0)
        await settled(store, {State.DELIVERED: 100, State.DELIVERING: 20, State.PENDING: 80})
        gate.opened.set()


async def test_a_stop_finishes_what_runs_and_gives_back_what_waits(store: Store, kind: ScriptedKind) -> None:
    gate = Gate(asyncio.Event())
    kind.answer = gate
    await store.subscriptions.add(make_subscription())
    async with running(store, kind, Limits(concurrency=3)) as process:
        await process.accept(*(new_event() for _ in range(10)))
        await kind.until(lambda sent: len(sent) == 3)
        stopping = asyncio.create_task(process.engine.stop())
        await asyncio.sleep(0)
        gate.opened.set()
        await stopping
        found = await deliveries(store)
    assert sorted(d.state for d in found) == [State.DELIVERED] * 3 + [State.PENDING] * 7
    assert len(kind.sent) == 3


async def test_a_stop_does_not_wait_longer_than_its_grace(store: Store, kind: ScriptedKind) -> None:
    kind.answer = Gate(asyncio.Event())
    await store.subscriptions.add(make_subscription())
    async with running(store, kind, Limits(grace=0.1)) as process:
        await process.accept(new_event())
        await kind.until(lambda sent: len(sent) == 1)
    (delivery,) = await deliveries(store)
    assert (delivery.state, delivery.attempts) == (State.PENDING, 0)


async def test_gone_disables_the_subscription_and_cancels_what_waits(
    store: Store, kind: ScriptedKind
) -> None:
    async def gone(_: Sent) -> AttemptResult:
        return AttemptResult(
            request_line="POST x", status=410, error="answered 410 Gone", disable_subscription=True
        )

    kind.answer = gone
    subscription = make_subscription(retry=RetryPolicy(strategy=Schedule((3600, 1))))
    await store.subscriptions.add(subscription)
    async with running(store, kind) as process:
        await process.accept(new_event(), new_event())
        waiting, other = await settled(store, {State.PENDING: 2})
        await store.deliveries.retry("default", other.id)
        await settled(store, {State.EXHAUSTED: 1, State.CANCELLED: 1})
    found = await store.subscriptions.get("default", subscription.id)
    assert found is not None
    assert (found.status, found.status_reason) == ("disabled", "answered 410 Gone")
    cancelled = await store.deliveries.get("default", waiting.id)
    assert cancelled is not None
    assert cancelled.state is State.CANCELLED


async def test_a_subscription_that_is_not_persistent_ends_with_its_first_success(
    store: Store, kind: ScriptedKind
) -> None:
    async def second_time(sent: Sent) -> AttemptResult:
        return GOOD if len(kind.sent) > 1 else BAD

    kind.answer = second_time
    subscription = make_subscription(persistent=False)
    await store.subscriptions.add(subscription)
    async with running(store, kind) as process:
        await process.accept(*(new_event() for _ in range(10)))
        await settled(store, {State.DELIVERED: 1, State.SUPERSEDED: 9})
        await process.accept(new_event())
        assert len(await deliveries(store)) == 10
    found = await store.subscriptions.get("default", subscription.id)
    assert found is not None
    assert found.status == "completed"
    assert len(kind.sent) == 2


async def test_a_fault_in_a_target_costs_an_attempt_and_not_the_process(
    store: Store, kind: ScriptedKind
) -> None:
    async def broken(sent: Sent) -> AttemptResult:
        raise ZeroDivisionError(sent.number)

    kind.answer = broken
    await store.subscriptions.add(make_subscription(retry=RetryPolicy(strategy="none")))
    async with running(store, kind) as process:
        await process.accept(new_event())
        (delivery,) = await settled(store, {State.EXHAUSTED: 1})
        assert delivery.reason is not None
        assert "internal error in the webhook target: ZeroDivisionError(1)" in delivery.reason
        kind.answer = kind.good
        await process.accept(new_event())
        await settled(store, {State.EXHAUSTED: 1, State.DELIVERED: 1})


async def test_deliveries_of_a_paused_subscription_are_held_until_it_is_resumed(
    store: Store, kind: ScriptedKind
) -> None:
    subscription = make_subscription(status="paused")
    await store.subscriptions.add(subscription)
    async with running(store, kind) as process:
        await process.accept(new_event())
        (delivery,) = await deliveries(store)
        assert (delivery.state, delivery.due_at) == (State.PENDING, None)
        resumed = make_subscription(id=subscription.id, revision=2)
        await store.subscriptions.save(resumed)
        await settled(store, {State.DELIVERED: 1})


async def test_a_schedule_can_delay_the_first_attempt(store: Store, kind: ScriptedKind) -> None:
    await store.subscriptions.add(make_subscription(retry=RetryPolicy(strategy=Schedule((0.2,)))))
    async with running(store, kind) as process:
        event = new_event()
        await process.accept(event)
        (delivery,) = await deliveries(store)
        assert delivery.state is State.PENDING
        (delivery,) = await settled(store, {State.DELIVERED: 1})
    assert delivery.ended_at is not None
    assert delivery.ended_at - event.accepted_at >= timedelta(seconds=0.2)


async def test_what_a_lost_lease_freed_is_delivered_by_somebody_else_only(
    store: Store, kind: ScriptedKind
) -> None:
    gate = Gate(asyncio.Event())
    kind.answer = gate
    await store.subscriptions.add(make_subscription())
    limits = Limits(concurrency=1, lease=0.4, timeout=0.1, grace=0)
    async with running(store, kind, limits) as process:
        first = process.engine.lease_id
        await process.accept(*(new_event() for _ in range(3)))
        await kind.until(lambda sent: len(sent) == 1)
        await store.leases.release(first)  # as others do when the lease has ended
        await process.has(lambda: process.engine.lease_id != first)
        gate.opened.set()
        await settled(store, {State.DELIVERED: 3})
    # The one that was under way is repeated, the ones that had not begun are not.
    assert len(kind.sent) == 4
