"""One attempt: whether a delivery may be tried now, the try itself, and what follows from the answer.

Whatever one delivery raises here becomes its outcome.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from weakref import WeakValueDictionary

from cachetools import LRUCache
from msgspec.structs import replace

from dispatcher.delivery.breakers import Breakers
from dispatcher.delivery.internal_errors import InternalError, Where, failed_inside, log_error, record
from dispatcher.delivery.lanes import Lane, Work
from dispatcher.delivery.learning import learn
from dispatcher.delivery.lease import Lease
from dispatcher.delivery.outcomes import OutcomeWriter, decide, postponed, put_back, without_attempt
from dispatcher.delivery.rates import Rates
from dispatcher.delivery.report import count_members, report
from dispatcher.delivery.senders import Senders
from dispatcher.domain.deliveries import Attempt, ClaimedDelivery, Outcome, State
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.events import utc_now
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import AttemptResult

STORE_WAIT = 1.0
"""Seconds to wait while the store is away."""


class Attempts:
    """Tries deliveries. `due_again` is called with what will be due again when its outcome is written."""

    def __init__(
        self,
        senders: Senders,
        breakers: Breakers,
        rates: Rates,
        lease: Lease,
        outcomes: OutcomeWriter,
        *,
        timeout: float,
        due_again: Callable[[ClaimedDelivery], None],
    ) -> None:
        self._senders = senders
        self._breakers = breakers
        self._rates = rates
        self._lease = lease
        self._outcomes = outcomes
        self._timeout = timeout
        self._due_again = due_again
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._completed: LRUCache[tuple[str, int], bool] = LRUCache(10_000)

    async def make(self, work: Work, lane: Lane) -> None:
        """Try a delivery, and note its outcome. Never raises an Exception."""
        try:
            if work.claimed.subscription.persistent:
                await self._try(work, lane)
            else:
                await self._make_alone(work, lane)
        except StoreUnavailable:
            self.put(work, put_back(work.claimed, utc_now() + timedelta(seconds=STORE_WAIT)))
        except InternalError as error:
            record(error, delivery=work.claimed.id, subscription=work.claimed.subscription.id)
            self._settle(work, failed_inside(work.claimed, error, utc_now()))

    def put(self, work: Work, outcome: Outcome) -> None:
        """Note the outcome of a delivery that goes on later or was not tried."""
        self._outcomes.put(work.process, outcome)
        if outcome.due_at is not None:
            self._due_again(work.claimed)

    async def _make_alone(self, work: Work, lane: Lane) -> None:
        """One at a time for a subscription that ends with its first success."""
        subscription = work.claimed.subscription
        async with self._locks.setdefault(subscription.id, asyncio.Lock()):
            if (subscription.id, subscription.revision) in self._completed:
                reason = "the subscription ended with an earlier delivery"
                self._settle(work, without_attempt(work.claimed, State.SUPERSEDED, utc_now(), reason))
            else:
                await self._try(work, lane)

    async def _try(self, work: Work, lane: Lane) -> None:
        """Try it when it may be. Raises InternalError, with the step that went wrong, and StoreUnavailable."""
        claimed = work.claimed
        where: Where = "gate"
        try:
            if not await self._may_begin(work):
                return
            where = "send"
            started_at, began = utc_now(), time.perf_counter()
            answer, others = await self._senders.send(claimed, claimed.attempts + 1)
            where = "outcome"
            learn(self._breakers, claimed.subscription, lane, answer, began)
            if answer.not_attempted:
                self._give_back(work, postponed(claimed, answer, utc_now()))
                return
            outcome = _outcome(claimed, answer, started_at, time.perf_counter() - began)
            if others:
                outcome = replace(outcome, leads=True)
        except (InternalError, StoreUnavailable):
            raise
        except Exception as error:
            raise InternalError(where, error) from error
        self._settle(work, outcome, others)
        if answer.disable_subscription or not claimed.subscription.persistent:
            self._end_if_asked(claimed.subscription, outcome.state, answer)

    async def _may_begin(self, work: Work) -> bool:
        """Whether it may be tried now; else it has been put back, or it is not ours any more."""
        subscription = work.claimed.subscription
        if (wait := await self._wait(subscription)) is not None:
            self.put(work, put_back(work.claimed, utc_now() + timedelta(seconds=wait)))
            return False
        # An attempt must end before the lease can: without a heartbeat nothing is begun. Nothing comes between.
        if not self._lease.lasts(self._timeout):
            await self._lease.lasting(self._timeout)
        # Else the lease was lost: others have this delivery now.
        return work.process == self._lease.process

    async def _wait(self, subscription: Subscription) -> float | None:
        """Seconds after which a delivery may be tried, None when that is now."""
        if self._breakers.blocks(subscription.scopes):
            return 0.0
        limit = self._breakers.rate_limit(subscription.destination)
        if limit is None and subscription.rate_limit is None:
            return None
        return await self._rates.hold(subscription, limit) or None

    def _give_back(self, work: Work, outcome: Outcome) -> None:
        """Let a delivery wait in the store that was not tried, or end it because that would be too long."""
        if outcome.state.final:
            self._settle(work, outcome)
        else:
            self.put(work, outcome)

    def _end_if_asked(self, subscription: Subscription, state: State, answer: AttemptResult) -> None:
        if answer.disable_subscription:
            self._outcomes.end_subscription(
                subscription.id, "disabled", answer.error or "disabled by the receiver"
            )
        elif state is State.DELIVERED and not subscription.persistent:
            self._completed[subscription.id, subscription.revision] = True
            self._outcomes.end_subscription(subscription.id, "completed", "delivered once, as asked")

    def _settle(self, work: Work, outcome: Outcome, others: int = 0) -> None:
        self.put(work, outcome)
        try:
            if others:
                count_members(work.claimed, outcome, others)
            report(work.claimed, outcome)
        except Exception as error:  # noqa: BLE001 - logged; the outcome stands, whatever is missing of its report
            log_error("report", error, delivery=outcome.delivery_id)


def _outcome(
    claimed: ClaimedDelivery, answer: AttemptResult, started_at: datetime, duration: float
) -> Outcome:
    attempt = Attempt(
        number=claimed.attempts + 1,
        started_at=started_at,
        duration=duration,
        request=answer.request_line,
        status=answer.status,
        error=answer.error,
        answer=answer.body,
    )
    return decide(claimed, attempt, answer, utc_now(), random.random())  # noqa: S311 - no secret
