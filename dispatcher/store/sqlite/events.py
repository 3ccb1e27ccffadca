"""Accepting events and carrying out orders on SQLite."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dispatcher.domain.deliveries import OpenDelivery
from dispatcher.domain.events import Event
from dispatcher.domain.expansions import Expansion, NewExpansion
from dispatcher.store.batches import Batch
from dispatcher.store.events import EventRepository
from dispatcher.store.expansions import ExpansionRepository
from dispatcher.store.sqlite import hot_sql


class SqliteEvents(EventRepository):
    """See `dispatcher.store.events.EventRepository`."""

    async def accept(
        self,
        lease_id: int,
        events: Sequence[Event],
        deliveries: Sequence[OpenDelivery],
        expansions: Sequence[NewExpansion] = (),
    ) -> Mapping[str, str]:
        batch = Batch(events, deliveries, expansions)
        await self._write(hot_sql.accept, lease_id, batch)
        return batch.duplicates

    async def add_deliveries(self, lease_id: int, deliveries: Sequence[OpenDelivery]) -> None:
        await self._write(hot_sql.add_to_stored, lease_id, deliveries)


class SqliteExpansions(ExpansionRepository):
    """See `dispatcher.store.expansions.ExpansionRepository`."""

    async def expand(
        self, lease_id: int, orders: Sequence[Expansion], deliveries: Sequence[OpenDelivery]
    ) -> bool:
        return await self._write(hot_sql.expand, lease_id, [one.seq for one in orders], deliveries)
