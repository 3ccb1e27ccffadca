"""One attempt: whether a delivery may be tried now, the try itself, and what follows from its result.

Whatever one delivery raises here becomes its outcome.
"""

from __future__ import annotations

import asyncio
import random
import time
from datetime import datetime, timedelta
from weakref import WeakValueDictionary

from cachetools import LRUCache
from msgspec.structs import replace

from dispatcher.delivery.attempt_log import count_members, report
from dispatcher.delivery.breakers import Breakers
from dispatcher.delivery.internal_errors import InternalError, Where, failed_inside, log_error, record
from dispatcher.delivery.lanes import Lane
from dispatcher.delivery.learning import learn
from dispatcher.delivery.lease import Lease
from dispatcher.delivery.outcomes import OutcomeWriter, decide, postponed, put_back, without_attempt
from dispatcher.delivery.rate_limits import RateLimits
from dispatcher.delivery.sender_cache import SenderCache
from dispatcher.domain.deliveries import Attempt, OpenDelivery, Outcome, State
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.events import utc_now
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import AttemptResult

STORE_WAIT = 1.0
"""Seconds to wait while the store is away."""


class Attempts:
    """Tries deliveries, each with one outcome."""

    def __init__(
        self,
        senders: SenderCache,
        breakers: Breakers,
        rates: RateLimits,
        lease: Lease,
        outcomes: OutcomeWriter,
        *,
        timeout: float,
    ) -> None:
        self._senders = senders
        self._breakers = breakers
        self._rates = rates
        self._lease = lease
        self._outcomes = outcomes
        self._timeout = timeout
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._completed: LRUCache[tuple[str, int], bool] = LRUCache(10_000)

    async def make(self, delivery: OpenDelivery, lane: Lane) -> None:
        """Try a delivery, and note its outcome. Never raises an Exception."""
        try:
            if delivery.subscription.persistent:
                await self._try(delivery, lane)
            else:
                await self._serialize_one_shot(delivery, lane)
        except StoreUnavailable:
            self._outcomes.put(delivery, put_back(delivery, utc_now() + timedelta(seconds=STORE_WAIT)))
        except InternalError as error:
            record(error, delivery=delivery.id, subscription=delivery.subscription.id)
            self._record_outcome(delivery, failed_inside(delivery, error, utc_now()))

    async def _serialize_one_shot(self, delivery: OpenDelivery, lane: Lane) -> None:
        """One at a time for a subscription that ends with its first success."""
        subscription = delivery.subscription
        async with self._locks.setdefault(subscription.id, asyncio.Lock()):
            if (subscription.id, subscription.revision) in self._completed:
                reason = "the subscription ended with an earlier delivery"
                self._record_outcome(delivery, without_attempt(delivery, State.SUPERSEDED, utc_now(), reason))
            else:
                await self._try(delivery, lane)

    async def _try(self, delivery: OpenDelivery, lane: Lane) -> None:
        """Try it when it may be. Raises InternalError, with the step that went wrong, and StoreUnavailable."""
        where: Where = "gate"
        try:
            if not await self._gate(delivery):
                return
            where = "send"
            started_at, began = utc_now(), time.perf_counter()
            result, others = await self._senders.send(delivery, delivery.attempts + 1)
            where = "outcome"
            learn(self._breakers, delivery.subscription, lane, result, began)
            if result.not_attempted:
                self._give_back(delivery, postponed(delivery, result, utc_now()))
                return
            outcome = _outcome(delivery, result, started_at, time.perf_counter() - began)
            if others:
                outcome = replace(outcome, leads=True)
        except (InternalError, StoreUnavailable):
            raise
        except Exception as error:
            raise InternalError(where, error) from error
        self._record_outcome(delivery, outcome, others)
        if result.disable_subscription or not delivery.subscription.persistent:
            self._end_if_asked(delivery.subscription, outcome.state, result)

    async def _gate(self, delivery: OpenDelivery) -> bool:
        """Whether it may be tried now; else it has been put back, or it is not ours any more."""
        subscription = delivery.subscription
        if (wait := await self._wait(subscription)) is not None:
            self._outcomes.put(delivery, put_back(delivery, utc_now() + timedelta(seconds=wait)))
            return False
        # An attempt must end before the lease can: without a heartbeat nothing is begun. Nothing comes between.
        if not self._lease.is_valid_for(self._timeout):
            await self._lease.wait_until_valid_for(self._timeout)
        # Else the lease was lost: others have this delivery now.
        return delivery.lease_id == self._lease.id

    async def _wait(self, subscription: Subscription) -> float | None:
        """Seconds after which a delivery may be tried, None when that is now."""
        if self._breakers.blocks(subscription.scopes):
            return 0.0
        limit = self._breakers.rate_limit(subscription.destination)
        if limit is None and subscription.rate_limit is None:
            return None
        return await self._rates.acquire(subscription, limit) or None

    def _give_back(self, delivery: OpenDelivery, outcome: Outcome) -> None:
        """Let a delivery wait in the store that was not tried, or end it because that would be too long."""
        if outcome.state.final:
            self._record_outcome(delivery, outcome)
        else:
            self._outcomes.put(delivery, outcome)

    def _end_if_asked(self, subscription: Subscription, state: State, result: AttemptResult) -> None:
        if result.disable_subscription:
            self._outcomes.end_subscription(
                subscription.id, "disabled", result.error or "disabled by the receiver"
            )
        elif state is State.DELIVERED and not subscription.persistent:
            self._completed[subscription.id, subscription.revision] = True
            self._outcomes.end_subscription(subscription.id, "completed", "delivered once, as asked")

    def _record_outcome(self, delivery: OpenDelivery, outcome: Outcome, others: int = 0) -> None:
        self._outcomes.put(delivery, outcome)
        try:
            if others:
                count_members(delivery, outcome, others)
            report(delivery, outcome)
        except Exception as error:  # noqa: BLE001 - logged; the outcome stands, whatever is missing of its report
            log_error("report", error, delivery=outcome.delivery_id)


def _outcome(delivery: OpenDelivery, result: AttemptResult, started_at: datetime, duration: float) -> Outcome:
    attempt = Attempt(
        number=delivery.attempts + 1,
        started_at=started_at,
        duration=duration,
        request=result.request_line,
        status=result.status,
        error=result.error,
        answer=result.body,
    )
    return decide(delivery, attempt, result, utc_now(), random.random())  # noqa: S311 - no secret
