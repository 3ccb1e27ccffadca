"""Subscriptions share a destination: one that fails, hangs or is asked to wait holds back itself only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import pytest

from dispatcher.delivery import breaker_waits, breakers
from dispatcher.delivery.breakers import FAILURES
from dispatcher.delivery.failures import Failures
from dispatcher.delivery.limits import Limits
from dispatcher.delivery.shares import divide, rotated
from dispatcher.domain.deliveries import OpenDelivery, Queue, State
from dispatcher.domain.destinations import Destination, HealthChanges, RateLimit, Scopes, owner_key
from dispatcher.domain.errors import Conflict, RateLimited
from dispatcher.domain.events import utc_now
from dispatcher.domain.ids import new_id
from dispatcher.domain.retry import RetryPolicy
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import AttemptResult
from dispatcher.store import breakers as stored_breakers
from dispatcher.store.filters import DestinationFilter
from dispatcher.store.store import Store
from tests.breakers import open_breaker
from tests.delivery.conftest import BAD, GOOD, ScriptedKind, Sent, deliveries, running, settled
from tests.delivery.test_engine import new_event
from tests.factories import make_subscription

A = "https://shared:443"
NEVER = RetryPolicy(strategy="delayed", delay=3600, jitter=0)
DOWN = AttemptResult(request_line="POST x", error="connection refused", destination_down=True)
WAIT = AttemptResult(request_line="POST x", status=429, error="answered 429", retry_after=3600)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breakers, "POLL_INTERVAL", 0.02)


@pytest.fixture
def for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(breaker_waits, "FIRST_WAIT", 3600)
    monkeypatch.setattr(breaker_waits, "LONGEST_WAIT", 3600)


def by(answers: dict[str, AttemptResult]) -> Callable[[Sent], Awaitable[AttemptResult]]:
    async def answer(sent: Sent) -> AttemptResult:
        return answers.get(sent.subscription.subscriber, GOOD)

    return answer


async def subscribe(store: Store, owner: str, **changes: object) -> Subscription:
    fields = {"destination": A, "subscriber": owner, "retry": NEVER} | changes
    subscription = make_subscription(**fields)
    await store.subscriptions.add(subscription)
    return subscription


async def shown(store: Store) -> Destination:
    found = await store.destinations.get(DestinationFilter(tenant="default", everyone=True), A)
    assert found is not None
    return found


def attempts_of(kind: ScriptedKind, owner: str) -> int:
    return sum(sent.subscription.subscriber == owner for sent in kind.sent)


@pytest.mark.usefixtures("for_long")
async def test_a_failing_path_is_left_alone_and_all_of_anothers_arrive_at_the_same_host(
    store: Store, kind: ScriptedKind
) -> None:
    kind.answer = by({"mallory": BAD})
    await subscribe(store, "mallory")
    await subscribe(store, "alice")
    async with running(store, kind) as process:
        for _ in range(5):
            await process.accept(*(new_event() for _ in range(20)))
        found = await settled(store, {State.DELIVERED: 100, State.PENDING: 100})
    # Attempts that ran together when the last of ten failures came are not taken back.
    assert FAILURES <= attempts_of(kind, "mallory") < 2 * FAILURES
    assert sum(one.attempts for one in found if one.state is State.PENDING) == attempts_of(kind, "mallory")
    assert (await shown(store)).open_until is None, "others arrive there"


async def test_a_hanging_path_takes_no_place_of_anothers(store: Store, kind: ScriptedKind) -> None:
    released = asyncio.Event()

    async def answer(sent: Sent) -> AttemptResult:
        if sent.subscription.subscriber == "mallory":
            await released.wait()
        return GOOD

    kind.answer = answer
    await subscribe(store, "mallory")
    async with running(store, kind) as process:
        await process.accept(*(new_event() for _ in range(200)))
        await kind.until(lambda sent: len(sent) == 8)
        await subscribe(store, "alice")
        for _ in range(5):
            await process.accept(*(new_event() for _ in range(20)))
            await kind.until(lambda _: attempts_of(kind, "alice") % 20 == 0)
        await kind.until(lambda _: attempts_of(kind, "alice") == 100)
        assert attempts_of(kind, "mallory") <= 8
        released.set()
        await settled(store, {State.DELIVERED: 400})


async def test_what_waits_in_the_store_of_one_hides_nothing_of_anothers(
    store: Store, kind: ScriptedKind
) -> None:
    process_before = await store.leases.register("host", 1, 60)
    flood, other = await subscribe(store, "mallory"), await subscribe(store, "alice")
    for one, count, age in ((flood, 600, 60), (other, 20, 1)):
        events = [new_event() for _ in range(count)]
        due = utc_now() - timedelta(seconds=age)
        new = [OpenDelivery(new_id("dlv"), event, one, due_at=due) for event in events]
        await store.events.accept(process_before, events, new)
    async with running(store, kind, Limits(concurrency=4, queue=40)):
        await kind.until(lambda _: attempts_of(kind, "alice") == 20)
        assert attempts_of(kind, "mallory") < 300


@pytest.mark.usefixtures("for_long")
async def test_a_host_that_cannot_be_reached_is_left_alone_by_all(store: Store, kind: ScriptedKind) -> None:
    kind.answer = by({"mallory": DOWN})
    await subscribe(store, "mallory")
    async with running(store, kind, Limits(concurrency=1)) as process:
        await process.accept(*(new_event() for _ in range(FAILURES)))
        await process.has(lambda: process.engine.blocks(A))
        await subscribe(store, "alice")
        await process.accept(new_event())
        await settled(store, {State.PENDING: FAILURES + 2})
    assert attempts_of(kind, "alice") == 0


@pytest.mark.usefixtures("for_long")
async def test_a_host_at_which_two_owners_fail_is_left_alone_by_all(store: Store, kind: ScriptedKind) -> None:
    kind.answer = by({"mallory": BAD, "bob": BAD})
    for owner in ("mallory", "bob"):
        await subscribe(store, owner)
    async with running(store, kind, Limits(concurrency=1)) as process:
        await process.accept(*(new_event() for _ in range(FAILURES)))
        await process.has(lambda: process.engine.blocks(A))
    assert len(kind.sent) == FAILURES


@pytest.mark.usefixtures("for_long")
async def test_many_failing_subscriptions_of_one_owner_hold_back_that_owner_only(
    store: Store, kind: ScriptedKind
) -> None:
    kind.answer = by({"mallory": BAD})
    for _ in range(3):
        await subscribe(store, "mallory")
    async with running(store, kind, Limits(concurrency=1)) as process:
        await process.accept(*(new_event() for _ in range(5)))
        await settled(store, {State.PENDING: 15})
        assert attempts_of(kind, "mallory") == FAILURES
        await subscribe(store, "mallory")
        await subscribe(store, "alice")
        await process.accept(new_event())
        await settled(store, {State.PENDING: 19, State.DELIVERED: 1})
    assert attempts_of(kind, "mallory") == FAILURES


async def test_a_probe_is_of_another_subscription_each_time(
    store: Store, kind: ScriptedKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breaker_waits, "FIRST_WAIT", 0.05)
    monkeypatch.setattr(breaker_waits, "LONGEST_WAIT", 0.05)
    kind.answer = by({"mallory": BAD})
    await subscribe(store, "mallory")
    await subscribe(store, "alice")
    await open_breaker(store, A, utc_now() + timedelta(hours=1), "seen elsewhere")
    async with running(store, kind) as process:
        await process.has(lambda: process.engine.blocks(A))
        await process.accept(*(new_event() for _ in range(10)))
        await open_breaker(store, A, utc_now(), "seen elsewhere", probed=True)
        await kind.until(lambda _: attempts_of(kind, "alice") == 10)
    first = [sent.subscription.subscriber for sent in kind.sent]
    assert "alice" in first[:2]


async def test_what_another_process_holds_back_is_held_back_here_too(
    store: Store, kind: ScriptedKind
) -> None:
    kind.answer = by({"mallory": WAIT})
    await subscribe(store, "mallory")
    async with running(store, kind) as one, running(store, kind) as other:
        await one.accept(new_event())
        await settled(store, {State.PENDING: 1})
        mallory = kind.sent[0].subscription
        await other.has(lambda: not other.engine.may_go(mallory))
        await other.accept(*(new_event() for _ in range(5)))
        await settled(store, {State.PENDING: 6})
    assert len(kind.sent) == 1


async def test_a_receiver_that_asks_to_wait_gets_nothing_more_of_that_subscription_until_then(
    store: Store, kind: ScriptedKind
) -> None:
    kind.answer = by({"mallory": WAIT})
    await subscribe(store, "mallory")
    await subscribe(store, "alice")
    async with running(store, kind, Limits(concurrency=1)) as process:
        await process.accept(*(new_event() for _ in range(30)))
        found = await settled(store, {State.PENDING: 30, State.DELIVERED: 30})
    assert attempts_of(kind, "mallory") == 1
    assert sum(one.attempts for one in found if one.state is State.PENDING) == 1


async def test_two_subscriptions_that_are_asked_to_wait_hold_back_the_others_of_their_owner(
    store: Store, kind: ScriptedKind
) -> None:
    kind.answer = by({"mallory": WAIT})
    for _ in range(4):
        await subscribe(store, "mallory")
    await subscribe(store, "alice")
    async with running(store, kind, Limits(concurrency=1)) as process:
        await process.accept(*(new_event() for _ in range(5)))
        await settled(store, {State.PENDING: 20, State.DELIVERED: 5})
        assert not process.engine.blocks(A)
    assert attempts_of(kind, "mallory") == 2


async def test_a_target_that_wants_one_delivery_later_holds_back_no_other(
    store: Store, kind: ScriptedKind
) -> None:
    # As Argo's does when a node is suspended a moment after it was to be resumed.
    later = AttemptResult(request_line="PUT x", status=400, error="too early", retry_after=3600, healthy=True)

    async def answer(sent: Sent) -> AttemptResult:
        return later if sent.event.event == "RUNNING" else GOOD

    kind.answer = answer
    await subscribe(store, "alice")
    await subscribe(store, "bob")
    async with running(store, kind, Limits(concurrency=1)) as process:
        await process.accept(new_event(event="RUNNING"))
        await settled(store, {State.PENDING: 2})
        await process.accept(new_event())
        await settled(store, {State.PENDING: 2, State.DELIVERED: 2})


async def test_two_owners_that_are_asked_to_wait_hold_back_all(store: Store, kind: ScriptedKind) -> None:
    kind.answer = by({"mallory": WAIT, "bob": WAIT})
    for owner in ("mallory", "bob"):
        await subscribe(store, owner)
    async with running(store, kind, Limits(concurrency=1)) as process:
        await process.accept(new_event(), new_event())
        await process.has(lambda: process.engine.blocks(A))
        await subscribe(store, "alice")
        await process.accept(new_event())
        await settled(store, {State.PENDING: 7})
    assert len(kind.sent) == 2
    open_until = (await shown(store)).open_until
    assert open_until is not None
    assert open_until > utc_now() + timedelta(minutes=59)


async def test_after_the_wait_one_probe_goes_and_then_everything(store: Store, kind: ScriptedKind) -> None:
    asked = asyncio.Event()

    async def answer(_: Sent) -> AttemptResult:
        if asked.is_set():
            return GOOD
        asked.set()
        return AttemptResult(request_line="POST x", status=503, error="answered 503", retry_after=0.3)

    kind.answer = answer
    await subscribe(store, "alice")
    async with running(store, kind, Limits(concurrency=1)) as process:
        began = utc_now()
        await process.accept(*(new_event() for _ in range(30)))
        found = await settled(store, {State.DELIVERED: 30})
    assert len(kind.sent) == 31
    ended = [one.ended_at for one in found if one.ended_at is not None]
    assert min(ended) >= began + timedelta(seconds=0.3)


async def test_a_success_that_was_under_way_does_not_end_the_wait(store: Store, kind: ScriptedKind) -> None:
    late = asyncio.Event()

    async def answer(sent: Sent) -> AttemptResult:
        if sent is kind.sent[0]:
            await late.wait()
            return GOOD
        return WAIT

    kind.answer = answer
    await subscribe(store, "alice")
    async with running(store, kind, Limits(concurrency=2)) as process:
        await process.accept(new_event(), new_event())
        await settled(store, {State.DELIVERING: 1, State.PENDING: 1})
        late.set()
        await settled(store, {State.DELIVERED: 1, State.PENDING: 1})
        await process.accept(new_event())
        await settled(store, {State.DELIVERED: 1, State.PENDING: 2})
    assert len(kind.sent) == 2


async def test_a_breaker_behind_which_nothing_waits_is_forgotten(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_breakers, "ABANDONED", timedelta(0))
    await open_breaker(store, A, utc_now() - timedelta(seconds=1), "down")
    await store.purge_orphans()
    assert await store.breakers.destinations_to_watch() == []


async def test_more_destinations_are_watched_than_one_page_holds(
    store: Store, kind: ScriptedKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_breakers, "PAGE", 3)
    names = [f"https://{number}:443" for number in range(10)]
    for name in names:
        await open_breaker(store, name, utc_now() + timedelta(hours=1), "down")
    async with running(store, kind) as process:
        await process.has(lambda: all(process.engine.blocks(name) for name in names))


# Arithmetic


def scopes(owner: str, subscription: str) -> Scopes:
    return Scopes(subscription, owner_key(A, "default", owner), A)


def test_one_slip_of_a_second_owner_does_not_make_it_the_hosts_fault() -> None:
    failures = Failures()
    for _ in range(FAILURES - 2):
        assert failures.failed(scopes("mallory", "m"), FAILURES, down=False) is None
    assert failures.failed(scopes("alice", "a"), FAILURES, down=False) is None
    assert failures.failed(scopes("mallory", "m"), FAILURES, down=False) is None
    assert failures.failed(scopes("mallory", "m"), FAILURES, down=False) == "m"


def test_a_success_of_one_says_nothing_of_another_subscription() -> None:
    failures = Failures()
    for _ in range(FAILURES - 1):
        failures.failed(scopes("mallory", "m"), FAILURES, down=False)
        failures.answered(scopes("alice", "a"))
    assert failures.failed(scopes("mallory", "m"), FAILURES, down=False) == "m"


def test_a_fault_of_subscriptions_alone_is_never_held_against_what_they_share() -> None:
    failures = Failures()
    for _ in range(FAILURES - 1):
        for owner, subscription in (("mallory", "m"), ("mallory", "m2"), ("trudy", "t")):
            assert failures.failed(scopes(owner, subscription), FAILURES, down=False, shared=False) is None
    assert failures.failed(scopes("alice", "a"), FAILURES, down=False) is None
    assert failures.failed(scopes("mallory", "m"), FAILURES, down=False, shared=False) == "m"


def queue(owner: str, subscription: str, due: int) -> Queue:
    return Queue(destination=A, subscription_id=subscription, tenant="default", owner=owner, due=due)


def test_places_go_round_owners_and_what_one_does_not_need_goes_to_the_others() -> None:
    queues = [queue("mallory", "m1", 500), queue("mallory", "m2", 500), queue("alice", "a", 3)]
    assert dict(divide(queues, 10, may_have_more=False)) == {"m1": 4, "m2": 3, "a": 3}
    assert dict(divide(queues[2:], 10, may_have_more=False)) == {"a": 3}
    assert divide(queues, 0, may_have_more=True) == []


def test_probes_go_on_after_the_last_one() -> None:
    queues = [queue("x", name, 1) for name in ("c", "a", "b")]
    assert [one.subscription_id for one in rotated(queues, "a")] == ["b", "c", "a"]
    assert [one.subscription_id for one in rotated(queues, "")] == ["a", "b", "c"]


async def test_all_deliveries_end_in_one_visible_state(store: Store, kind: ScriptedKind) -> None:
    kind.answer = by({"mallory": BAD})
    once = RetryPolicy(strategy="none")
    await subscribe(store, "mallory", retry=once)
    await subscribe(store, "alice", retry=once)
    async with running(store, kind) as process:
        await process.accept(*(new_event() for _ in range(5)))
        await settled(store, {State.EXHAUSTED: 5, State.DELIVERED: 5})
    assert len(await deliveries(store)) == 10


@pytest.mark.usefixtures("for_long")
async def test_a_send_at_a_persons_request_keeps_to_the_limits_of_deliveries(
    store: Store, kind: ScriptedKind
) -> None:
    sends: list[str] = []

    async def send() -> AttemptResult:
        sends.append("sent")
        return GOOD

    kind.answer = by({"mallory": BAD})
    failing, limited = await subscribe(store, "mallory"), make_subscription(rate_limit=RateLimit(0.001))
    async with running(store, kind, Limits(concurrency=1, in_memory=20)) as process:
        trials = process.engine.trials
        assert await trials.send(failing, send) is GOOD
        await process.accept(*(new_event() for _ in range(FAILURES)))
        await process.has(lambda: not process.engine.may_go(failing))
        with pytest.raises(Conflict, match="kept failing"):
            await trials.send(failing, send)
        assert await trials.send(limited, send) is GOOD
        for _ in range(3):
            with pytest.raises(RateLimited, match="try again in 1000 s"):
                await trials.send(limited, send)
        for seconds in (1000, 2000):
            with pytest.raises(RateLimited, match=f"try again in {seconds} s"):
                await trials.send(limited, send, returns=True)
        await store.destinations.pause(A, "maintenance")
        await process.has(lambda: process.engine.blocks(A))
        with pytest.raises(Conflict, match="paused: maintenance"):
            await trials.send(make_subscription(destination=A), send)
    assert len(sends) == 2


@pytest.mark.usefixtures("for_long")
async def test_what_was_read_before_a_breaker_was_written_does_not_close_it(
    store: Store, kind: ScriptedKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes, answered, go_on = store.breakers.changes, asyncio.Event(), asyncio.Event()

    async def late(since: datetime | None) -> HealthChanges:
        # A row of this destination as it was before, as others may have changed it a moment ago.
        found = await changes(since)
        if since is None or not opening.is_set() or answered.is_set():
            return found
        answered.set()
        await go_on.wait()
        return HealthChanges(destinations=[Destination(key=A)], breakers=[], until=found.until)

    opening = asyncio.Event()
    kind.answer = by({"mallory": DOWN})
    await subscribe(store, "mallory")
    monkeypatch.setattr(store.breakers, "changes", late)
    async with running(store, kind, Limits(concurrency=1)) as process:
        opening.set()
        await answered.wait()
        await process.accept(*(new_event() for _ in range(FAILURES)))
        async with asyncio.timeout(20):
            while (await shown(store)).open_until is None:  # noqa: ASYNC110 - the store sends no notification
                await asyncio.sleep(0.01)
        await process.has(lambda: not process.engine.trials._breakers._writes.pending)
        go_on.set()
        await asyncio.sleep(0)
        assert process.engine.blocks(A)
