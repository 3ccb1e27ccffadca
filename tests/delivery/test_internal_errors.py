"""One delivery may fail in any way at all; the others and the process go on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from dispatcher.delivery import attempt, attempt_log, breakers, lanes, outcomes
from dispatcher.delivery.outcomes import decide
from dispatcher.delivery.rate_limits import RateLimits
from dispatcher.domain import retry
from dispatcher.domain.deliveries import State
from dispatcher.domain.destinations import LONGEST_INTERVAL, RateLimit, Scopes, slots
from dispatcher.domain.ids import new_id
from dispatcher.domain.retry import RetryPolicy, internal_error_delay
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import AttemptResult
from dispatcher.store.schema import subscriptions
from dispatcher.store.store import Store
from dispatcher.telemetry.metrics import REGISTRY
from tests.delivery.conftest import GOOD, ScriptedKind, Sent, deliveries, running, settled
from tests.delivery.test_engine import new_event
from tests.factories import make_delivery, make_subscription

POISON = "https://poison:443"
QUICK = (0.01, 0.02, 0.03)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "INTERNAL_ERROR_DELAYS", QUICK)
    monkeypatch.setattr(outcomes, "RETRY_DELAYS", (0.01,))


def counted(where: str) -> float:
    return REGISTRY.get_sample_value("dispatcher_internal_errors_total", {"where": where}) or 0.0


@asynccontextmanager
async def logged() -> AsyncIterator[list[MutableMapping[str, Any]]]:
    with capture_logs() as logs:
        yield logs


def for_poison(call: Callable[..., Any], poisoned: Callable[..., bool]) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if poisoned(*args, **kwargs):
            raise OverflowError("date value out of range")
        return call(*args, **kwargs)

    return wrapped


def break_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = breakers.Breakers.blocks

    def broken(self: breakers.Breakers, scopes: Scopes) -> bool:
        if scopes.destination == POISON:
            raise OverflowError("date value out of range")
        return blocks(self, scopes)

    monkeypatch.setattr(breakers.Breakers, "blocks", broken)


def break_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    hold = RateLimits.acquire

    async def broken(self: RateLimits, subscription: Subscription, limit: RateLimit | None) -> float:
        if subscription.destination == POISON:
            raise ZeroDivisionError
        return await hold(self, subscription, limit)

    monkeypatch.setattr(RateLimits, "acquire", broken)


def break_deciding(monkeypatch: pytest.MonkeyPatch) -> None:
    def poisoned(claimed: Any, *_: Any) -> bool:
        return bool(claimed.subscription.destination == POISON)

    monkeypatch.setattr(attempt, "decide", for_poison(decide, poisoned))


BREAKS = {"gate": break_gate, "gate (rate limit)": break_rates, "outcome": break_deciding}


@pytest.mark.parametrize("what", BREAKS)
async def test_whatever_raises_for_one_delivery_ends_that_one_after_a_few_tries(
    store: Store, kind: ScriptedKind, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    BREAKS[what](monkeypatch)
    where = what.partition(" ")[0]
    before = counted(where)
    await store.subscriptions.add(make_subscription(destination=POISON, rate_limit=RateLimit(1000, 1000)))
    await store.subscriptions.add(make_subscription())
    async with running(store, kind) as process, logged() as logs:
        await process.accept(new_event())
        await settled(store, {State.EXHAUSTED: 1, State.DELIVERED: 1})
        await process.accept(new_event())
        await settled(store, {State.EXHAUSTED: 2, State.DELIVERED: 2})
    [ended, *_] = [one for one in await deliveries(store) if one.state is State.EXHAUSTED]
    assert ended.attempts == len(QUICK) + 1
    assert ended.reason is not None
    assert ended.reason.startswith(f"internal error ({where})")
    assert counted(where) - before == 2 * ended.attempts
    raised = [line for line in logs if line["event"] == "internal error"]
    assert len(raised) == 2 * ended.attempts
    assert all(line["exc_info"].__traceback__ is not None for line in raised)


async def test_a_log_line_that_cannot_be_made_changes_no_outcome(
    store: Store, kind: ScriptedKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "report", for_poison(attempt_log.report, lambda *_: True))
    await store.subscriptions.add(make_subscription())
    async with running(store, kind) as process:
        await process.accept(new_event(), new_event())
        await settled(store, {State.DELIVERED: 2})
    assert len(kind.sent) == 2


async def test_a_delivery_that_cannot_be_placed_is_stored_as_due_with_the_others_of_its_batch(
    store: Store, kind: ScriptedKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    reserve = lanes.Lanes.reserve

    def broken(
        self: lanes.Lanes, destination: str, size: int, *, fresh: bool, **of: str
    ) -> lanes.Lane | None:
        if fresh and destination == POISON:
            raise OverflowError
        return reserve(self, destination, size, fresh=fresh, **of)

    monkeypatch.setattr(lanes.Lanes, "reserve", broken)
    await store.subscriptions.add(make_subscription(destination=POISON))
    await store.subscriptions.add(make_subscription())
    async with running(store, kind) as process:
        await process.accept(new_event())
        await settled(store, {State.DELIVERED: 2})


@pytest.mark.parametrize(
    "answer",
    [
        AttemptResult(request_line="POST x", status=2**40),
        AttemptResult(request_line="POST x", status=500, error="x", body="\ud800\0" * 10),
        AttemptResult(request_line="POST x", status=500, error="x", attempt_state=3),  # type: ignore[arg-type]  # a kind's slip
    ],
)
async def test_an_outcome_that_the_store_refuses_holds_up_no_other(
    store: Store, kind: ScriptedKind, answer: AttemptResult
) -> None:
    async def odd(sent: Sent) -> AttemptResult:
        return answer if sent.subscription.destination == POISON else GOOD

    kind.answer = odd
    never = RetryPolicy(strategy="none")
    await store.subscriptions.add(make_subscription(destination=POISON, retry=never))
    await store.subscriptions.add(make_subscription())
    ended = State.DELIVERED if answer.error is None else State.EXHAUSTED
    wanted = {State.DELIVERED: 6} if answer.error is None else {State.DELIVERED: 3, ended: 3}
    async with running(store, kind) as process:
        with capture_logs():
            await process.accept(*(new_event() for _ in range(3)))
            await settled(store, wanted)


@pytest.mark.parametrize("broken", ["sealed", "details", "kind"])
async def test_a_subscription_that_cannot_be_read_ends_its_own_deliveries_only(
    store: Store, kind: ScriptedKind, broken: str
) -> None:
    poison = make_subscription(id=new_id("sub"))
    if broken == "kind":
        poison = msgspec.structs.replace(poison, target={"kind": "carrier pigeon"})
    await store.subscriptions.add(poison)
    await store.subscriptions.add(make_subscription())
    store.subscriptions._mapping._ready.clear()  # as after a start
    process_number = await store.leases.register("host", 1, 60)
    if broken != "kind":
        change = update(subscriptions).where(subscriptions.c.id == poison.id).values({broken: b"{"})
        await store.session.write(lambda connection: connection.execute(change))
    event = new_event()
    waiting = [make_delivery(event, poison, claimed=False, due_at=event.time)]
    await store.events.accept(process_number, [event], waiting)
    with capture_logs():
        async with running(store, kind) as process:
            await settled(store, {State.EXHAUSTED: 1})
            await process.accept(new_event())
            await settled(store, {State.DELIVERED: 1, State.EXHAUSTED: 1 if broken == "details" else 2})
    reasons = {one.reason for one in await deliveries(store) if one.state is State.EXHAUSTED}
    assert all(reason is not None and "internal error" in reason for reason in reasons)


def test_a_rate_that_is_stored_and_too_low_to_count_in_seconds_is_one_a_day() -> None:
    limit = RateLimit(per_second=1e-300)
    assert limit.interval == LONGEST_INTERVAL
    assert slots(limit, 0.0, 1e9, 5)[0].granted == 1
    many = RateLimit(per_second=5e-324, burst=100_000)
    given, full_at = slots(many, 0.0, 1e9, 10**6)
    assert given.granted == 100_000
    assert slots(many, full_at, 1e9, 1)[0].wait <= LONGEST_INTERVAL * 1.01


async def test_a_stored_rate_of_nearly_nothing_holds_back_its_subscription_and_no_process(
    store: Store, kind: ScriptedKind
) -> None:
    await store.subscriptions.add(make_subscription(rate_limit=RateLimit(per_second=1e-300)))
    await store.subscriptions.add(make_subscription())
    async with running(store, kind) as process:
        await process.accept(*(new_event() for _ in range(3)))
        await settled(store, {State.DELIVERED: 4, State.PENDING: 2})


@pytest.mark.parametrize(
    ("tried", "retries", "delay"),
    [(1, 12, QUICK[0]), (3, 12, QUICK[2]), (4, 12, None), (1, 0, None), (2, 1, None)],
)
def test_an_internal_error_is_retried_a_few_times_if_the_policy_retries_at_all(
    tried: int, retries: int, delay: float | None
) -> None:
    assert internal_error_delay(tried, retries) == delay


@pytest.mark.parametrize("chance", [0.0, 0.999])
def test_no_retry_policy_of_the_api_overflows(chance: float) -> None:
    largest = RetryPolicy(limit=1440, delay=2_592_000, factor=100, max_delay=2_592_000, jitter=1)
    for tried in range(1, 1441):
        delay = largest.delay_after(tried, chance)
        assert delay is not None
        assert 0 <= delay <= 2 * 2_592_000
