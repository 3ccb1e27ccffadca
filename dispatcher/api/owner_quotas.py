"""Holds callers to their quotas: events a minute, bytes that are kept, subscriptions and destinations.

No quota depends on a count in this process alone: events are granted by the store, a share of a minute at a time, and
subscriptions are counted in the transaction that stores one.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from weakref import WeakValueDictionary

from cachetools import LRUCache, TTLCache

from dispatcher.domain.destinations import RateLimit
from dispatcher.domain.events import Event
from dispatcher.domain.keys import ApiKey
from dispatcher.domain.quotas import Caps, Quotas, exceeded
from dispatcher.store.store import Store

OVERRIDE_SECONDS = 5.0
"""How long it may take until what an admin set for an owner counts everywhere."""

STORED_SECONDS = 30.0
"""How long the bytes that an owner has stored are taken as they were read."""

NOTE_SECONDS = 5.0
"""How long the bytes that owners publish are added up before they are noted in the store."""

SHARE = 60
"""A process takes at most the events of a minute divided by this at once."""


class OwnerQuotas:
    """The quotas of all owners. `defaults` are an owner's, `tenant_subscriptions` (0: none) is for a whole tenant."""

    def __init__(self, store: Store, defaults: Quotas, tenant_subscriptions: int = 0) -> None:
        self._store = store
        self.defaults = defaults
        self._tenant_subscriptions = tenant_subscriptions
        self._quotas: TTLCache[tuple[str, str], Quotas] = TTLCache(10_000, OVERRIDE_SECONDS)
        self._stored: TTLCache[tuple[str, str], float] = TTLCache(10_000, STORED_SECONDS)
        self._granted: LRUCache[str, int] = LRUCache(10_000)
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._published: Counter[tuple[str, str]] = Counter()
        self._noted_at = time.monotonic()

    async def of(self, tenant: str, owner: str) -> Quotas:
        """What an owner may use: the defaults, and in their place what an admin set. Raises StoreUnavailable."""
        found = self._quotas.get((tenant, owner))
        if found is None:
            override = await self._store.quotas.override(tenant, owner)
            found = self.defaults if override is None else override.over(self.defaults)
            self._quotas[tenant, owner] = found
        return found

    async def caps(self, caller: ApiKey) -> Caps | None:
        """What a subscription is stored under; None for an admin, who has no quota."""
        if caller.admin:
            return None
        quotas = await self.of(caller.tenant, caller.owner)
        return Caps(
            subscriptions=quotas.subscriptions,
            destinations=quotas.destinations,
            in_tenant=self._tenant_subscriptions,
        )

    async def admit(self, caller: ApiKey, events: Sequence[Event], _: object = None) -> None:
        """Count events that a key publishes over HTTP. Trusted keys have no quota.

        Raises QuotaExceeded when these are too many for the minute, or the owner has too much stored.
        """
        if caller.trusted:
            return
        quotas = await self.of(caller.tenant, caller.owner)
        if quotas.stored_mib:
            await self._check_stored(caller, quotas.stored_mib)
        if quotas.events_per_minute:
            await self._take(caller, quotas.events_per_minute, len(events))
        self._published[caller.tenant, caller.owner] += sum(len(event.document) for event in events)
        await self._note()

    async def _check_stored(self, caller: ApiKey, limit: int) -> None:
        whose = (caller.tenant, caller.owner)
        stored = self._stored.get(whose)
        if stored is None:
            stored = self._stored[whose] = await self._store.quotas.stored_mib(*whose)
        if stored >= limit:
            raise exceeded("stored_mib", limit, caller.owner, "events that are kept no longer make room")

    async def _take(self, caller: ApiKey, per_minute: int, count: int) -> None:
        # One request of a key asks the store at a time: each takes a share, and what it leaves is the others'.
        async with self._asking.setdefault(caller.id, asyncio.Lock()):
            granted = self._granted.get(caller.id, 0)
            if granted < count:
                limit = RateLimit(per_second=per_minute / 60, burst=per_minute)
                wanted = max(count - granted, per_minute // SHARE)
                given = await self._store.rate_limits.take_slots(f"events:{caller.id}", limit, wanted)
                granted += given.granted
                if granted < count:
                    self._granted[caller.id] = granted
                    over = exceeded(
                        "events_per_minute",
                        per_minute,
                        f"the key {caller.id}",
                        f"{count} events are too many now",
                    )
                    over.retry_after = max(given.wait, (count - granted) * limit.interval)
                    raise over
            self._granted[caller.id] = granted - count

    async def _note(self) -> None:
        now = time.monotonic()
        if now - self._noted_at < NOTE_SECONDS:
            return
        self._noted_at = now
        published, self._published = self._published, Counter()
        await self._store.quotas.note_stored(published)
