"""The queue of deliveries on SQLite."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

from dispatcher.domain.deliveries import OpenDelivery, Outcome, Share, Waiting
from dispatcher.store.filters import Place
from dispatcher.store.mapping import Row
from dispatcher.store.queue import DeliveryQueue
from dispatcher.store.session import Session
from dispatcher.store.sqlite import hot_sql, queue_sql
from dispatcher.store.subscriptions import SubscriptionRepository


class SqliteQueue(DeliveryQueue):
    """See `dispatcher.store.queue.DeliveryQueue`."""

    def __init__(self, session: Session, subscriptions: SubscriptionRepository) -> None:
        super().__init__(session, subscriptions)
        self._claiming = asyncio.Lock()
        self._unsure: list[str] = []

    async def waiting_destinations(self, after: str, limit: int) -> list[tuple[str, datetime | None]]:
        return await self._read(queue_sql.waiting_destinations, after, limit)

    async def find_queues(self, after: Mapping[str, str], first: int, more: int) -> dict[str, Waiting]:
        return await self._read(queue_sql.find_queues, after, first, more)

    async def _waiting(self, after: Mapping[str, Place | None], limit: int) -> Mapping[str, Sequence[Row]]:
        return await self._read(queue_sql.waiting, after, limit)

    async def claim(self, lease_id: int, limit: int, shares: Sequence[Share]) -> list[OpenDelivery]:
        async with self._claiming:
            claiming = self._write(hot_sql.claim, lease_id, limit, shares, self._unsure)
            writing = asyncio.ensure_future(claiming)
            try:
                claims, revisions = await asyncio.shield(writing)
            finally:
                # When this is cancelled it goes on in its thread. Its claims are lost then, as they are when what
                # follows fails: the next call gives them back first.
                await asyncio.wait({writing})
                if writing.exception() is None:
                    self._unsure = [claim.id for claim in writing.result()[0]]
            wanted = await self._wanted(lease_id, claims, revisions)
            self._unsure = []
        return wanted

    async def _record(self, lease_id: int, outcomes: Sequence[Outcome]) -> None:
        await self._write(hot_sql.finish, lease_id, outcomes)
