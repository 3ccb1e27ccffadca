"""A store that says what it has accepted, for those in this process who wait for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from dispatcher.domain.deliveries import OpenDelivery
from dispatcher.domain.events import Event
from dispatcher.domain.expansions import NewExpansion
from dispatcher.intake.committer import EventStore


class AnnouncingStore:
    """Stores events in `store`, and then calls `stored` with them; also with those that were there."""

    def __init__(self, store: EventStore, stored: Callable[[Sequence[Event]], None]) -> None:
        self._store = store
        self._stored = stored

    async def accept(
        self,
        lease_id: int,
        events: Sequence[Event],
        deliveries: Sequence[OpenDelivery],
        expansions: Sequence[NewExpansion],
    ) -> Mapping[str, str]:
        """See `dispatcher.store.events.EventRepository.accept`."""
        existing = await self._store.accept(lease_id, events, deliveries, expansions)
        self._stored(events)
        return existing
