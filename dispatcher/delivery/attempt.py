"""One attempt: whether a delivery may be tried now, the try itself, and what follows from the answer.

Whatever one delivery raises here becomes its outcome.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from datetime import timedelta
from weakref import WeakValueDictionary

from cachetools import LRUCache
from msgspec.structs import replace

from dispatcher.delivery.breakers import Breakers
from dispatcher.delivery.failures import scopes_of
from dispatcher.delivery.internal_errors import InternalError, contained, during, failed_inside, record
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
from dispatcher.domain.targets import Answer

STORE_WAIT = 1.0
"""Seconds to wait while the store is away."""


_GATE, _SEND, _OUTCOME = during("gate"), during("send"), during("outcome")


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
                await self._gate(work, lane)
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
                await self._gate(work, lane)

    async def _gate(self, work: Work, lane: Lane) -> None:
        with _GATE:
            if (wait := await self._wait(work.claimed.subscription)) is not None:
                self.put(work, put_back(work.claimed, utc_now() + timedelta(seconds=wait)))
                return
            # An attempt must end before the lease can: without a heartbeat nothing is begun. Nothing comes between.
            await self._lease.lasting(self._timeout)
        if work.process == self._lease.process:
            await self._try(work, lane)
        # Else the lease was lost: others have this delivery now.

    async def _wait(self, subscription: Subscription) -> float | None:
        """Seconds after which a delivery may be tried, None when that is now."""
        if self._breakers.blocks(scopes_of(subscription)):
            return 0.0
        limit = self._breakers.rate_limit(subscription.destination)
        return await self._rates.hold(subscription, limit) or None

    async def _try(self, work: Work, lane: Lane) -> None:
        claimed = work.claimed
        started_at, began = utc_now(), time.perf_counter()
        number = claimed.attempts + 1
        with _SEND:
            answer, others = await self._senders.send(claimed, number)
        with _OUTCOME:
            learn(self._breakers, claimed.subscription, lane, answer, began)
            if answer.untried:
                self._give_back(work, postponed(claimed, answer, utc_now()))
                return
            attempt = Attempt(
                number=number,
                started_at=started_at,
                duration=time.perf_counter() - began,
                request=answer.request,
                status=answer.status,
                error=answer.error,
                answer=answer.body,
            )
            outcome = decide(claimed, attempt, answer, utc_now(), random.random())  # noqa: S311 - no secret
            if others:
                outcome = replace(outcome, leads=True)
        self._settle(work, outcome, others)
        self._end_if_asked(claimed.subscription, outcome.state, answer)

    def _give_back(self, work: Work, outcome: Outcome) -> None:
        """Let a delivery wait in the store that was not tried, or end it because that would be too long."""
        if outcome.state.final:
            self._settle(work, outcome)
        else:
            self.put(work, outcome)

    def _end_if_asked(self, subscription: Subscription, state: State, answer: Answer) -> None:
        if answer.disable:
            self._outcomes.end_subscription(
                subscription.id, "disabled", answer.error or "disabled by the receiver"
            )
        elif state is State.DELIVERED and not subscription.persistent:
            self._completed[subscription.id, subscription.revision] = True
            self._outcomes.end_subscription(subscription.id, "completed", "delivered once, as asked")

    def _settle(self, work: Work, outcome: Outcome, others: int = 0) -> None:
        self.put(work, outcome)
        # The outcome stands, whatever is missing of its log line or the metrics.
        with contained("report", delivery=outcome.delivery_id):
            if others:
                count_members(work.claimed, outcome, others)
            report(work.claimed, outcome)
