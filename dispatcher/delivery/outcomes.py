"""Outcomes: what follows from an attempt's result, and how outcomes are written in batches."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import chain, repeat
from typing import Protocol, TypeAlias

import structlog
from msgspec.structs import replace

from dispatcher.domain.deliveries import Attempt, DigestJoin, OpenDelivery, Outcome, State
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.retry import EARLY_RETRY, MAX_RETRY_AFTER, RetryPolicy
from dispatcher.domain.subscriptions import SubscriptionStatus
from dispatcher.domain.targets import AttemptResult
from dispatcher.telemetry.background import InternalErrors

log = structlog.get_logger("dispatcher.delivery")

LINGER = 0.02
"""Seconds that the first outcome of a batch waits for others. A crash repeats what is not written: keep it short."""

MAX_BATCH = 1000
SLOW_WRITE = 8.0
"""Seconds that outcomes may wait for the database before this counts as a problem."""

NOT_STORED = "what was answered could not be stored; the log says why"
Settled: TypeAlias = tuple[int, str, Outcome]
"""The lease and the destination of a delivery, and its outcome: without its document, which no lane counts any more."""

RETRY_DELAYS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


def decide(
    delivery: OpenDelivery, attempt: Attempt, result: AttemptResult, now: datetime, chance: float
) -> Outcome:
    """The outcome of one attempt: delivered or superseded, due again after the retry policy, or exhausted.

    What a result postpones is due then, however many retries are left.

    `chance` in [0, 1) places the next delay within its jitter.
    """
    if result.error is None:
        return _ended(delivery, State.DELIVERED, now, None, attempt)
    if result.superseded:
        return _ended(delivery, State.SUPERSEDED, now, result.error, attempt)
    if result.disable_subscription or result.permanent:
        return _given_up(delivery, result, now, result.error, attempt)
    policy = delivery.subscription.retry
    tried = attempt.number - delivery.restarted_after
    delay = _delay(policy, tried, result, chance)
    if delay is None:
        reason = f"no retries left after {tried} attempts: {result.error}"
        return _given_up(delivery, result, now, reason, attempt)
    due = now + timedelta(seconds=delay)
    if due > delivery.age_from + timedelta(seconds=policy.max_age):
        reason = f"the next attempt would be later than max_age ({policy.max_age:g} s): {result.error}"
        return _given_up(delivery, result, now, reason, attempt)
    return Outcome(
        delivery_id=delivery.id,
        state=State.PENDING,
        attempts=attempt.number,
        due_at=due,
        ended_at=None,
        reason=result.error,
        attempt=attempt,
        attempt_state=result.attempt_state or delivery.attempt_state,
        joins=_joining(delivery, result),
    )


def _delay(policy: RetryPolicy, tried: int, result: AttemptResult, chance: float) -> float | None:
    """Seconds until what is left is tried; None when there is no retry for it."""
    if result.retry_at_delay is not None:
        return result.retry_at_delay
    delay = policy.delay_after(tried, chance)
    if delay is not None and result.retry_after is not None:
        return min(result.retry_after, MAX_RETRY_AFTER)
    if delay is not None and result.retry_early and tried == 1:
        return min(delay, EARLY_RETRY)
    return delay


def _joining(delivery: OpenDelivery, result: AttemptResult) -> DigestJoin | None:
    """What a delivery joins that is to go with others."""
    return DigestJoin(delivery.subscription.id, len(delivery.event.document)) if result.coalesce else None


def postponed(delivery: OpenDelivery, result: AttemptResult, now: datetime) -> Outcome:
    """The outcome of a delivery that was not tried: it waits up to its max_age, or a later one took its place."""
    if result.superseded:
        return without_attempt(delivery, State.SUPERSEDED, now, result.error or "a later one has arrived")
    due = now + timedelta(seconds=result.retry_at_delay or 0)
    max_age = delivery.subscription.retry.max_age
    if due > delivery.age_from + timedelta(seconds=max_age):
        reason = f"the next attempt would be later than max_age ({max_age:g} s): {result.error}"
        return _given_up(delivery, result, now, reason, None)
    return Outcome(
        delivery_id=delivery.id,
        state=State.PENDING,
        attempts=delivery.attempts,
        due_at=due,
        ended_at=None,
        reason=result.error,
        attempt=None,
        attempt_state=result.attempt_state or delivery.attempt_state,
        joins=_joining(delivery, result),
    )


def retry_or_exhaust(
    delivery: OpenDelivery, attempt: Attempt, reason: str, due_at: datetime | None, now: datetime
) -> Outcome:
    """The outcome of a failed attempt: pending until `due_at`, or exhausted when that is None."""
    ended = _ended(delivery, State.EXHAUSTED, now, reason, attempt)
    return ended if due_at is None else replace(ended, state=State.PENDING, ended_at=None, due_at=due_at)


def without_attempt(delivery: OpenDelivery, state: State, now: datetime, reason: str) -> Outcome:
    """The outcome of a delivery that ends without being tried again."""
    return _ended(delivery, state, now, reason, None)


def put_back(delivery: OpenDelivery, due_at: datetime) -> Outcome:
    """The outcome of a delivery that was claimed but found no place: pending again, no attempt made."""
    return Outcome(
        delivery_id=delivery.id,
        state=State.PENDING,
        attempts=delivery.attempts,
        due_at=due_at,
        ended_at=None,
        reason=None,
        attempt=None,
        attempt_state=delivery.attempt_state,
    )


def _given_up(
    delivery: OpenDelivery,
    result: AttemptResult,
    now: datetime,
    reason: str | None,
    attempt: Attempt | None,
) -> Outcome:
    # With its state: when somebody sends it again, who has it already does not get it twice.
    ended = _ended(delivery, State.EXHAUSTED, now, reason, attempt)
    return replace(ended, attempt_state=result.attempt_state or delivery.attempt_state)


def _ended(
    delivery: OpenDelivery, state: State, now: datetime, reason: str | None, attempt: Attempt | None
) -> Outcome:
    return Outcome(
        delivery_id=delivery.id,
        state=state,
        attempts=delivery.attempts if attempt is None else attempt.number,
        due_at=None,
        ended_at=now,
        reason=reason,
        attempt=attempt,
        attempt_state=delivery.attempt_state,
        ordered=delivery.subscription.ordered,
    )


class OutcomeStore(Protocol):
    """What writing outcomes needs of the store; see `dispatcher.store.queue.DeliveryQueue`."""

    async def record_outcomes(self, lease_id: int, outcomes: Sequence[Outcome]) -> None: ...

    async def run_side_effects(self, outcomes: Sequence[Outcome]) -> None: ...


class EndingStore(Protocol):
    """Ends subscriptions; see `dispatcher.store.subscriptions.SubscriptionRepository`."""

    async def end(self, subscription_id: str, status: SubscriptionStatus, reason: str) -> None: ...


class OutcomeWriter:
    """Gathers outcomes and writes them in batches; keeps them while the store is away.

    Its memory is bounded by the lanes: while the store is away nothing new is accepted or claimed.
    `written` is called after each write with what was written.
    """

    def __init__(
        self,
        queue: OutcomeStore,
        subscriptions: EndingStore,
        written: Callable[[Sequence[Settled]], None],
    ) -> None:
        self._queue = queue
        self._subscriptions = subscriptions
        self._written = written
        self._waiting: list[Settled] = []
        self._endings: dict[str, tuple[SubscriptionStatus, str]] = {}
        self._errors = InternalErrors("outcomes")
        self._writing_since: float | None = None
        self._some = asyncio.Event()
        self._stopping = asyncio.Event()

    @property
    def problem(self) -> str | None:
        """Why no outcomes are written, None when they are."""
        seconds = 0.0 if self._writing_since is None else time.monotonic() - self._writing_since
        return (
            f"outcomes of attempts have waited for the database for {seconds:.0f} s"
            if seconds > SLOW_WRITE
            else None
        )

    def put(self, delivery: OpenDelivery, outcome: Outcome) -> None:
        """Take the outcome of a claimed delivery."""
        self._waiting.append((delivery.lease_id, delivery.subscription.destination, outcome))
        self._some.set()

    def end_subscription(self, subscription_id: str, status: SubscriptionStatus, reason: str) -> None:
        """End a subscription right after the outcome that is the reason for it."""
        self._endings[subscription_id] = (status, reason)
        self._some.set()

    def stop(self) -> None:
        """Let `run` return as soon as everything is written."""
        self._stopping.set()
        self._some.set()

    async def run(self) -> None:
        """Write until stopped, and then what is left."""
        while True:
            await self._some.wait()
            if not self._stopping.is_set() and len(self._waiting) < MAX_BATCH:
                await asyncio.sleep(LINGER)
            self._some.clear()
            while self._waiting or self._endings:
                await self._write_some()
            if self._stopping.is_set():
                return

    async def _write_some(self) -> None:
        batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
        endings, self._endings = self._endings, {}
        by_lease: defaultdict[int, list[Settled]] = defaultdict(list)
        for settled in batch:
            by_lease[settled[0]].append(settled)
        for lease_id, some in by_lease.items():
            outcomes = [outcome for _, _, outcome in some]
            await self._write(lease_id, outcomes)
            # By itself: a delivery that is due again may be claimed by now, and what is written again would end that.
            # What fails here for good is done by the sweeper, as after a crash.
            await self._attempt(partial(self._queue.run_side_effects, outcomes))
            self._written(some)
        for subscription_id, (status, reason) in endings.items():
            await self._attempt(partial(self._subscriptions.end, subscription_id, status, reason))

    async def _write(self, lease_id: int, outcomes: Sequence[Outcome]) -> None:
        """Write outcomes; when they are refused, by halves, until those are alone that cannot be written."""
        if await self._attempt(partial(self._queue.record_outcomes, lease_id, outcomes)):
            return
        if len(outcomes) > 1:
            half = len(outcomes) // 2
            await self._write(lease_id, outcomes[:half])
            await self._write(lease_id, outcomes[half:])
        elif outcomes[0].attempt is not None or outcomes[0].attempt_state is not None:
            # What a receiver answered is not worth the delivery's state.
            less = replace(outcomes[0], attempt=None, attempt_state=None, reason=NOT_STORED)
            await self._write(lease_id, [less])
        else:
            # Its delivery stays claimed until this process ends, and is repeated then.
            log.error("cannot store an outcome", delivery=outcomes[0].delivery_id)

    async def _attempt(self, write: Callable[[], Awaitable[None]]) -> bool:
        """Write when the store is there; False when it refuses."""
        self._writing_since = time.monotonic()
        try:
            await _until_stored(write)
        except Exception as error:  # noqa: BLE001 - it is reported, and the caller goes on with less
            self._errors.report(error)
            return False
        finally:
            self._writing_since = None
        return True


async def _until_stored(write: Callable[[], Awaitable[None]]) -> None:
    """Write again until the store is there. Other errors rise."""
    for delay in chain(RETRY_DELAYS, repeat(RETRY_DELAYS[-1])):
        try:
            return await write()
        except StoreUnavailable as error:
            log.warning("outcomes wait for the database", error=str(error), retry_in=delay)
            await asyncio.sleep(delay)
