"""Sends that are no deliveries, such as a test of a subscription: they keep to the limits of deliveries."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from dispatcher.delivery.breakers import Breakers, Standing
from dispatcher.delivery.lanes import Lane, Lanes
from dispatcher.delivery.learning import learn
from dispatcher.delivery.rate_limits import RateLimits
from dispatcher.domain.destinations import Scopes
from dispatcher.domain.errors import Conflict, RateLimited
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import AttemptResult


class Trials:
    """Sends once and now, or says why not. `ended` is called with the lane and the subscription after each."""

    def __init__(
        self, breakers: Breakers, rates: RateLimits, lanes: Lanes, ended: Callable[[Lane, str], None]
    ) -> None:
        self._breakers = breakers
        self._rates = rates
        self._lanes = lanes
        self._ended = ended

    async def send(
        self,
        subscription: Subscription,
        send: Callable[[], Awaitable[AttemptResult]],
        *,
        returns: bool = False,
    ) -> AttemptResult:
        """What `send` returns. It runs as an attempt at the destination, and where a probe is due it is that one.

        Raises Conflict while a breaker is open or the destination is paused, and when as much runs or waits there as
        may. Raises RateLimited when a rate limit has nothing left; who `returns` then has that time to itself. Raises
        StoreUnavailable.
        """
        scopes, destination = subscription.scopes, subscription.destination
        self._standing(scopes)
        with self._place(subscription) as lane:
            limit = self._breakers.rate_limit(destination)
            wait = await self._rates.acquire(subscription, limit, returns=returns)
            if wait:
                problem = f"a rate limit of {destination} has nothing left; try again in {wait:.0f} s"
                raise RateLimited(problem, wait)
            # Once more: it may have changed meanwhile, and nothing comes between this and the send.
            if self._standing(scopes) == "probe" and not await self._breakers.begin_probes([scopes]):
                raise Conflict(f"nothing is sent to {destination} now: another probe is on its way")
            began = time.perf_counter()
            result = await send()
            learn(self._breakers, subscription, lane, result, began)
            return result

    def _standing(self, scopes: Scopes) -> Standing:
        standing, _ = self._breakers.standing(scopes)
        if standing == "closed":
            reason = self._breakers.reason(scopes)
            raise Conflict(f"nothing is sent to {scopes.destination} now: {reason}")
        return standing

    @contextmanager
    def _place(self, subscription: Subscription) -> Iterator[Lane]:
        """A place to run. Raises Conflict when there is none."""
        key, destination = subscription.id, subscription.destination
        owner = subscription.scopes.owner
        lane = self._lanes.reserve(destination, 0, fresh=True, subscription=key, owner=owner)
        if lane is None:
            raise Conflict(f"too much waits for {destination}; try again later")
        if not lane.begin(key):
            self._lanes.release(lane, 0, key)
            raise Conflict(f"as many attempts as may run at {destination} now; try again later")
        try:
            yield lane
        finally:
            self._ended(lane, key)
