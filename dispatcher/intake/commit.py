"""Committing: a batch of events is matched, stored with its deliveries in one transaction, and delivered."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from dispatcher.domain.deliveries import NewDelivery
from dispatcher.domain.errors import InvalidInput, StoreUnavailable
from dispatcher.domain.events import Event
from dispatcher.domain.subscriptions import Subscription
from dispatcher.intake.grouping import grouped
from dispatcher.telemetry.metrics import BATCH_EVENTS, BATCH_SECONDS

Source = Literal["amqp", "http"]

Result = Mapping[str, str] | InvalidInput
"""Of stored events the keys of the duplicates, and of what was there before; or why none can be stored."""


class Matcher(Protocol):
    """Finds out who wants what; see `dispatcher.matching.matcher.Matcher`."""

    async def match(self, events: Sequence[Event]) -> Sequence[tuple[Event, Subscription]]: ...


class Deliverer(Protocol):
    """Delivers what is stored; see `dispatcher.delivery.engine.Engine`."""

    async def room_for(self, matches: Sequence[tuple[Event, Subscription]]) -> None: ...

    @property
    def process(self) -> int: ...

    def reserve(self, matches: Sequence[tuple[Event, Subscription]]) -> list[NewDelivery]: ...

    def start(self, deliveries: Sequence[NewDelivery]) -> None: ...

    def release(self, deliveries: Sequence[NewDelivery]) -> None: ...


class EventStore(Protocol):
    """Stores events with their deliveries; see `dispatcher.store.contract.Store`."""

    async def accept(
        self, process: int, events: Sequence[Event], deliveries: Sequence[NewDelivery]
    ) -> Mapping[str, str]: ...


class Offer(Struct, eq=False):
    """The events of one message or request, stored together or not at all; `done` is told which."""

    events: Sequence[Event]
    source: Source
    done: Callable[[Result], None]
    size: int
    """Bytes of memory that the events take."""
    deliveries: list[NewDelivery] | None = None
    """What they cause; None until they are matched."""
    process: int | None = None
    """Under which number they were tried to be stored when the store did not answer."""
    suspect: bool = False
    """They failed alone while others were stored."""
    withdrawn: bool = False
    """Nobody waits for them any more; they need not be tried."""


class Committer:
    """Brings batches into the store, and their deliveries to the deliverer.

    `fan_out` is how many deliveries an event has caused lately, one at the least.
    """

    def __init__(self, matcher: Matcher, deliverer: Deliverer, store: EventStore) -> None:
        self._matcher = matcher
        self._deliverer = deliverer
        self._store = store
        self.fan_out = 1.0
        self._in_store_since: float | None = None

    @property
    def seconds_in_store(self) -> float:
        """How long the store has had the batch that it has now; 0 when it has none."""
        return 0.0 if self._in_store_since is None else time.perf_counter() - self._in_store_since

    async def commit(self, offers: Sequence[Offer]) -> Mapping[str, str]:
        """Match and store these events. Returns the keys of the duplicates, and of what was there before.

        After StoreUnavailable the same offers may be committed again, alone or with others: what was stored
        although the store gave no answer is recognised by its deliveries, so these are kept. After another
        error they are made anew, because the subscriptions may have changed.
        """
        try:
            return await self._commit(offers)
        except StoreUnavailable:
            raise
        except BaseException:
            self.release([offer for offer in offers if offer.process is None])
            raise

    def release(self, offers: Sequence[Offer]) -> None:
        """Forget the deliveries of offers that will not be committed."""
        for offer in offers:
            if offer.deliveries is not None:
                self._deliverer.release(offer.deliveries)
                offer.deliveries = None

    async def _commit(self, offers: Sequence[Offer]) -> Mapping[str, str]:
        began = time.perf_counter()
        await self._match([offer for offer in offers if offer.deliveries is None])
        events = [event for offer in offers for event in offer.events]
        deliveries = [delivery for offer in offers for delivery in offer.deliveries or ()]
        process = self._deliverer.process
        self._in_store_since = time.perf_counter()
        try:
            existing = await self._store.accept(process, events, deliveries)
        except StoreUnavailable:
            for offer in offers:
                offer.process = process
            raise
        finally:
            self._in_store_since = None
        for event in events:
            event.let_go()
        self._deliver(offers, existing, process)
        BATCH_SECONDS.observe(time.perf_counter() - began)
        BATCH_EVENTS.observe(len(events))
        return {key: other for key, other in existing.items() if key != other}

    async def _match(self, offers: Sequence[Offer]) -> None:
        if not offers:
            return
        events = [event for offer in offers for event in offer.events]
        matches = await self._matcher.match(events)
        self.fan_out = max(1.0, (self.fan_out + len(matches) / max(1, len(events))) / 2)
        await self._deliverer.room_for(matches)
        by_event: defaultdict[str, list[NewDelivery]] = defaultdict(list)
        for delivery in grouped(self._deliverer.reserve(matches)):
            by_event[delivery.event.key].append(delivery)
        for offer in offers:
            offer.deliveries = [
                delivery for event in offer.events for delivery in by_event.get(event.key, ())
            ]

    def _deliver(self, offers: Sequence[Offer], existing: Mapping[str, str], process: int) -> None:
        """Start the deliveries that this process has claimed now; the others are not ours, or not stored."""
        ours: list[NewDelivery] = []
        others: list[NewDelivery] = []
        now = self._deliverer.process
        for offer in offers:
            for delivery in offer.deliveries or ():
                known = existing.get(delivery.event.key)
                # Known under its own key: an earlier commit of ours, whose answer was lost.
                by = process if known is None else offer.process if known == delivery.event.key else None
                (ours if by == now else others).append(delivery)
        self._deliverer.start(ours)
        if others:
            self._deliverer.release(others)
