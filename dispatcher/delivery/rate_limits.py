"""Rate limits: how fast attempts may begin for a subscription or a destination, over all processes together.

The store grants attempts. Those who ask at the same moment share one request; each that has to wait gets a separate
time, so that not all come back at once.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from cachetools import LRUCache

from dispatcher.domain.destinations import RateLimit, Slots
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.subscriptions import Subscription

SHORT_WAIT = 0.25
"""Seconds that a delivery waits in its lane for a rate limit; for longer it goes back to the store."""

STORE_WAIT = 1.0
"""Seconds to wait while the store is away."""


class RateStore(Protocol):
    """What rate limits need of the store; see `dispatcher.store.rate_limits.RateLimitRepository`."""

    async def take_slots(self, key: str, limit: RateLimit, wanted: int) -> Slots: ...


class RateLimits:
    """The rate limits as this process uses them."""

    def __init__(self, store: RateStore) -> None:
        self._store = store
        self._gates: LRUCache[str, _Gate] = LRUCache(10_000)

    async def acquire(
        self, subscription: Subscription, of_destination: RateLimit | None, *, returns: bool = True
    ) -> float:
        """Return 0 when an attempt may begin as far as rate limits go, else the seconds to try again after.

        Who `returns` then has that time to itself.
        """
        limits = ((subscription.id, subscription.rate_limit), (subscription.destination, of_destination))
        gates = [(self._gate(key), limit) for key, limit in limits if limit is not None]
        try:
            # What one limit refuses anyway takes nothing of another one, for which the store would be asked in vain.
            for gate, limit in gates:
                if (
                    gate.closed_for(limit) > SHORT_WAIT
                    and (wait := await gate.wait(limit, returns=returns)) > 0
                ):
                    return wait
            for gate, limit in gates:
                while (wait := await gate.wait(limit, returns=returns)) > 0:
                    if wait > SHORT_WAIT:
                        return wait
                    await asyncio.sleep(wait)
        except StoreUnavailable:
            return STORE_WAIT
        return 0.0

    async def wait(self, key: str, limit: RateLimit) -> float:
        """0 when an attempt may begin now, else the seconds after which it should ask again.

        Raises StoreUnavailable.
        """
        return await self._gate(key).wait(limit)

    def _gate(self, key: str) -> _Gate:
        gate = self._gates.get(key)
        if gate is None:
            gate = self._gates[key] = _Gate(key, self._store)
        return gate


class _Gate:
    """One rate limit: those who ask, when it is worth asking again, and the next time that was not given away yet."""

    def __init__(self, key: str, store: RateStore) -> None:
        self._key = key
        self._store = store
        self._turn = asyncio.Lock()
        self._asking = 0
        self._granted = 0
        self._ask_at = 0.0
        self._untold = 0.0
        self._limit: RateLimit | None = None

    def closed_for(self, limit: RateLimit) -> float:
        """Seconds until it is worth asking the store; 0 when attempts are left, and when the limit is another one."""
        if self._granted or limit != self._limit:
            return 0.0
        return max(0.0, self._ask_at - time.monotonic())

    async def wait(self, limit: RateLimit, *, returns: bool = True) -> float:
        self._asking += 1
        try:
            async with self._turn:
                if limit != self._limit:
                    # What the limit before it said of times is void.
                    self._limit, self._ask_at, self._untold = limit, 0.0, 0.0
                if not self._granted and time.monotonic() >= self._ask_at:
                    await self._ask(limit)
                if self._granted:
                    self._granted -= 1
                    return 0.0
                return self._later(limit) if returns else max(self.closed_for(limit), 0.001)
        finally:
            self._asking -= 1

    async def _ask(self, limit: RateLimit) -> None:
        given = await self._store.take_slots(self._key, limit, self._asking)
        self._granted = given.granted
        self._ask_at = time.monotonic() + given.wait

    def _later(self, limit: RateLimit) -> float:
        now = time.monotonic()
        at = max(self._untold, self._ask_at, now + 0.001)
        self._untold = at + limit.interval
        return at - now
