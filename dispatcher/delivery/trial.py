"""Sends at a person's request, such as a test of a subscription: they keep to the limits of deliveries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from dispatcher.delivery.breakers import Breakers
from dispatcher.delivery.failures import scopes_of
from dispatcher.delivery.lanes import Lanes
from dispatcher.delivery.rates import Rates
from dispatcher.domain.errors import Conflict
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import Answer


class Trials:
    """Sends once and now, or says why not."""

    def __init__(self, breakers: Breakers, rates: Rates, lanes: Lanes) -> None:
        self._breakers = breakers
        self._rates = rates
        self._lanes = lanes

    async def send(self, subscription: Subscription, send: Callable[[], Awaitable[Answer]]) -> Answer:
        """What `send` answers. It takes a place of its destination meanwhile.

        Raises Conflict while a breaker is open or the destination is paused, when a rate limit has nothing left, and
        when as much waits for the destination as may.
        """
        destination, owner = subscription.destination, f"{subscription.tenant}/{subscription.subscriber}"
        reason = self._breakers.reason(scopes_of(subscription))
        if reason is not None:
            raise Conflict(f"nothing is sent to {destination} now: {reason}")
        wait = await self._rates.hold(subscription, self._breakers.rate_limit(destination))
        if wait:
            raise Conflict(f"a rate limit of {destination} has nothing left; try again in {wait:.0f} s")
        key = subscription.id
        lane = self._lanes.reserve(destination, 0, fresh=True, subscription=key, owner=owner)
        if lane is None:
            raise Conflict(f"too much waits for {destination}; try again later")
        try:
            return await send()
        finally:
            self._lanes.release(lane, 0, key)
