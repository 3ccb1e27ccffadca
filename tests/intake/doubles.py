"""A matcher, a deliverer and a store in memory that keep the rules of the real ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

from msgspec.structs import replace

from dispatcher.domain.deliveries import OpenDelivery
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.events import Event
from dispatcher.domain.expansions import NewExpansion
from dispatcher.domain.subscriptions import Subscription
from dispatcher.intake.batcher import MAX_BYTES, MAX_EVENTS, Batcher
from dispatcher.intake.committer import Committer
from dispatcher.intake.delivery_quotas import DeliveryQuotas
from dispatcher.intake.ingest_queue import IngestQueue
from dispatcher.intake.job_access import Match
from dispatcher.intake.matcher import Matcher
from tests.factories import make_delivery


class MemoryStore:
    """Stores in memory, a batch as a whole or not at all; `fault` is asked before, and may raise."""

    def __init__(self) -> None:
        self.events: dict[tuple[str, str, str, str | None], Event] = {}
        self.deliveries: dict[str, tuple[int, OpenDelivery]] = {}
        self.expansions: list[NewExpansion] = []
        self.batches: list[list[str]] = []
        self.fault: Callable[[Sequence[Event]], None] = lambda events: None
        self.open = asyncio.Event()
        self.open.set()
        self.entered = asyncio.Event()
        self.loses_answer = False
        self._changed = asyncio.Condition()

    @property
    def ids(self) -> list[str]:
        """The ids of what is stored, in the order of acceptance."""
        return [event.id for event in self.events.values()]

    async def holds(self, count: int) -> list[str]:
        """The ids of what is stored as soon as there are so many."""
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(lambda: len(self.events) >= count)
        return self.ids

    async def accept(
        self,
        process: int,
        events: Sequence[Event],
        deliveries: Sequence[OpenDelivery],
        expansions: Sequence[NewExpansion] = (),
    ) -> Mapping[str, str]:
        self.entered.set()
        await self.open.wait()
        await asyncio.sleep(0)
        self.fault(events)
        self.batches.append([event.id for event in events])
        existing: dict[str, str] = {}
        for event in events:
            if event.identity in self.events:
                existing[event.key] = self.events[event.identity].key
            else:
                self.events[event.identity] = event
        for delivery in deliveries:
            if delivery.event.key not in existing:
                self.deliveries[delivery.id] = (process, delivery)
        self.expansions += [one for one in expansions if one.event.key not in existing]
        async with self._changed:
            self._changed.notify_all()
        if self.loses_answer:
            self.loses_answer = False
            raise StoreUnavailable("the connection was lost in a commit")
        return existing


class Everybody(Matcher):
    """Matches each event with each of its subscriptions."""

    def __init__(self, *subscriptions: Subscription) -> None:
        self.subscriptions = list(subscriptions)
        self.fault: Callable[[Sequence[Event]], None] = lambda events: None

    async def select(
        self, messages: Sequence[Sequence[Event]], unwanted: Callable[[], bool] = lambda: False
    ) -> tuple[list[Match], list[NewExpansion]]:
        events = [event for message in messages for event in message]
        self.fault(events)
        await asyncio.sleep(0)
        return [(event, one) for event in events for one in self.subscriptions], []


class Deliverer:
    """Remembers what was reserved, started and released."""

    def __init__(self) -> None:
        self.lease_id = 1
        self.asked = 0
        self.reserved: dict[str, OpenDelivery] = {}
        self.started: list[OpenDelivery] = []
        self.released: list[OpenDelivery] = []

    async def wait_for_capacity(self, matches: Sequence[tuple[Event, Subscription]]) -> None:
        self.asked += 1

    def reserve_slots(self, matches: Sequence[tuple[Event, Subscription]]) -> list[OpenDelivery]:
        made = [replace(make_delivery(event, subscription), group=None) for event, subscription in matches]
        self.reserved |= {delivery.id: delivery for delivery in made}
        return made

    def enqueue(self, deliveries: Sequence[OpenDelivery]) -> None:
        for delivery in deliveries:
            if delivery.lease_id:
                del self.reserved[delivery.id]
        self.started += deliveries

    def cancel_reservations(self, deliveries: Sequence[OpenDelivery]) -> None:
        for delivery in deliveries:
            if delivery.lease_id:
                del self.reserved[delivery.id]
        self.released += deliveries


class Running:
    """An intake that runs while it is entered, with all of its parts at hand."""

    def __init__(
        self,
        *subscriptions: Subscription,
        quotas: DeliveryQuotas | None = None,
        max_events: int = MAX_EVENTS,
        max_bytes: int = MAX_BYTES,
        **options: Any,
    ) -> None:
        self.store = MemoryStore()
        self.matcher = Everybody(*subscriptions)
        self.deliverer = Deliverer()
        self.intake = IngestQueue(**options)
        self.committer = Committer(self.matcher, self.deliverer, self.store, quotas)
        self.batcher = Batcher(self.intake, self.committer, max_events=max_events, max_bytes=max_bytes)
        self.stop = self.batcher.stop

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self.batcher.run())
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop(5)
        await asyncio.wait({self._task})
        if not self._task.cancelled():
            self._task.result()
