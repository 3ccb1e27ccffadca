"""What is sent beside deliveries runs as an attempt of its destination, and is learned from like one."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from dispatcher.delivery import breakers
from dispatcher.delivery.breakers import FAILURES
from dispatcher.delivery.limits import Limits
from dispatcher.domain.deliveries import State
from dispatcher.domain.errors import Conflict
from dispatcher.domain.events import utc_now
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import AttemptResult
from dispatcher.store.store import Store
from tests.breakers import open_breaker
from tests.delivery.conftest import GOOD, Running, ScriptedKind, Sent, running, settled
from tests.delivery.test_engine import new_event
from tests.factories import make_subscription

A = "https://a:443"
DOWN = AttemptResult(request_line="POST x", error="cannot connect", destination_down=True)


async def good() -> AttemptResult:
    return GOOD


async def down() -> AttemptResult:
    return DOWN


@pytest.fixture
async def subscription(store: Store) -> Subscription:
    found = make_subscription(destination=A)
    await store.subscriptions.add(found)
    return found


async def test_it_has_to_have_a_place_to_run_and_gives_it_back(
    store: Store, kind: ScriptedKind, subscription: Subscription
) -> None:
    go_on, began = asyncio.Event(), asyncio.Event()

    async def hangs(_: Sent) -> AttemptResult:
        await go_on.wait()
        return GOOD

    async def waits() -> AttemptResult:
        began.set()
        await go_on.wait()
        return GOOD

    kind.answer = hangs
    async with running(store, kind, Limits(concurrency=1)) as process:
        await process.accept(new_event())
        await kind.until(lambda sent: len(sent) == 1)
        with pytest.raises(Conflict, match="as many attempts as may run at https://a:443 now"):
            await process.engine.trials.send(subscription, good)
        go_on.set()
        await settled(store, {State.DELIVERED: 1})
        go_on.clear()
        trial = asyncio.create_task(process.engine.trials.send(subscription, waits))
        await began.wait()
        # What comes meanwhile waits for its place, and takes it.
        await process.accept(new_event())
        lane = process.engine.lane(A)
        assert lane is not None
        assert (lane.running, lane.queued) == (1, 1)
        go_on.set()
        assert await trial is GOOD
        await settled(store, {State.DELIVERED: 2})


async def opened(process: Running, store: Store) -> None:
    """A breaker that another process opened, and whose probe is due."""
    await open_breaker(store, A, utc_now() + timedelta(hours=1))
    await process.has(lambda: process.engine.blocks(A))
    await open_breaker(store, A, utc_now() - timedelta(hours=1), probed=True)
    await process.has(lambda: not process.engine.blocks(A))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breakers, "POLL_INTERVAL", 0.02)


@pytest.mark.usefixtures("quick")
async def test_one_that_arrives_closes_the_breaker_when_its_probe_is_due(
    store: Store, kind: ScriptedKind, subscription: Subscription
) -> None:
    async with running(store, kind) as process:
        await opened(process, store)
        assert await process.engine.trials.send(subscription, good) is GOOD
        assert process.engine.may_go(subscription)


@pytest.mark.usefixtures("quick")
async def test_one_process_only_probes_with_one(
    store: Store, kind: ScriptedKind, subscription: Subscription
) -> None:
    async with running(store, kind) as one, running(store, kind) as other:
        await opened(one, store)
        await other.has(lambda: not other.engine.blocks(A))
        found = await asyncio.gather(
            *(process.engine.trials.send(subscription, down) for process in (one, other)),
            return_exceptions=True,
        )
    assert sum(answer is DOWN for answer in found) == 1
    assert sum(isinstance(answer, Conflict) for answer in found) == 1


async def test_ten_that_do_not_arrive_open_the_breaker(
    store: Store, kind: ScriptedKind, subscription: Subscription
) -> None:
    async with running(store, kind) as process:
        for _ in range(FAILURES):
            assert await process.engine.trials.send(subscription, down) is DOWN
        assert process.engine.blocks(A)
        with pytest.raises(Conflict, match="it kept failing"):
            await process.engine.trials.send(subscription, down)


async def test_a_delivery_that_waits_because_the_relay_failed_at_something_else_counts_as_a_failure(
    store: Store, kind: ScriptedKind, subscription: Subscription
) -> None:
    """As when a recipient is to be asked first, and the relay cannot be reached."""

    async def waits(_: Sent) -> AttemptResult:
        return AttemptResult(
            request_line="MAIL",
            error="waits",
            retry_at_delay=3600,
            destination_error="cannot connect",
            destination_down=True,
        )

    kind.answer = waits
    async with running(store, kind, Limits(concurrency=1)) as process:
        await process.accept(*(new_event() for _ in range(FAILURES)))
        await process.has(lambda: process.engine.blocks(A))
        found = await settled(store, {State.PENDING: FAILURES})
    assert {one.attempts for one in found} == {0}
