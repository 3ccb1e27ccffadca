"""Committing: a batch of events is matched, stored with its deliveries in one transaction, and delivered."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from dispatcher.domain.deliveries import NewDelivery
from dispatcher.domain.errors import InvalidInput, StatementTimeout, StoreUnavailable
from dispatcher.domain.events import Event
from dispatcher.domain.expansions import NewExpansion
from dispatcher.domain.subscriptions import Subscription
from dispatcher.intake.grouping import grouped
from dispatcher.telemetry.metrics import BATCH_EVENTS, BATCH_SECONDS
from dispatcher.telemetry.time_slices import TimeSlices

PART = 50
"""Deliveries that are made or started before others may have their turn."""

Source = Literal["amqp", "http"]

Result = Mapping[str, str] | InvalidInput
"""Of stored events the keys of the duplicates, and of what was there before; or why none can be stored."""


class Selection(Protocol):
    """What events cause: deliveries now, and orders to make further ones."""

    @property
    def matches(self) -> Sequence[tuple[Event, Subscription]]: ...

    @property
    def expansions(self) -> Sequence[NewExpansion]: ...


class Matcher(Protocol):
    """Finds out who wants what; see `dispatcher.matching.matcher.Matcher`."""

    async def select(
        self, messages: Sequence[Sequence[Event]], unwanted: Callable[[], bool]
    ) -> Selection: ...


class Deliverer(Protocol):
    """Delivers what is stored; see `dispatcher.delivery.engine.Engine`."""

    async def room_for(self, matches: Sequence[tuple[Event, Subscription]]) -> None: ...

    @property
    def process(self) -> int: ...

    def reserve(self, matches: Sequence[tuple[Event, Subscription]]) -> list[NewDelivery]: ...

    def start(self, deliveries: Sequence[NewDelivery]) -> None: ...

    def release(self, deliveries: Sequence[NewDelivery]) -> None: ...


class Quotas(Protocol):
    """Decides what is due later; see `dispatcher.intake.delivery_quotas.DeliveryQuotas`."""

    async def admit(
        self, matches: Sequence[tuple[Event, Subscription]]
    ) -> tuple[Sequence[tuple[Event, Subscription]], Sequence[NewDelivery]]: ...


class EventStore(Protocol):
    """Stores events with their deliveries; see `dispatcher.store.events.EventRepository`."""

    async def accept(
        self,
        process: int,
        events: Sequence[Event],
        deliveries: Sequence[NewDelivery],
        expansions: Sequence[NewExpansion],
    ) -> Mapping[str, str]: ...


class Offer(Struct, eq=False):
    """The events of one message or request, stored together or not at all; `done` is told which."""

    events: Sequence[Event]
    source: Source
    done: Callable[[Result], None]
    size: int
    """Bytes of memory that the events take."""
    owner: tuple[str, str | None] = ("", None)
    """Tenant and owner of the first event: whose turn it is to store them."""
    deliveries: list[NewDelivery] | None = None
    """What they cause; None until they are matched."""
    expansions: Sequence[NewExpansion] = ()
    """The orders to make what they cause beside it."""
    process: int | None = None
    """Under which number they were tried to be stored when the store did not answer."""
    suspect_since: int | None = None
    """How many batches had been stored when they failed alone for the first time."""
    problem: str = "others are stored before them"
    """Why they are not stored yet."""
    withdrawn: bool = False
    """Nobody waits for them any more; they need not be tried."""
    skipped: bool = False
    """They were dropped before they were stored."""
    finished: bool = False
    """They are stored, refused or withdrawn."""
    after: list[Offer] = []
    """What has to be stored before them, because it has events of the same jobs."""

    @property
    def caused(self) -> int:
        """How many deliveries they cause."""
        return len(self.deliveries or ()) + sum(one.count for one in self.expansions)

    @property
    def dropped(self) -> bool:
        """Whether they are not to be stored any more. What may be stored already has to be found out."""
        return self.withdrawn and self.process is None


class Committer:
    """Brings batches into the store, and their deliveries to the deliverer; without `quotas` all go at once."""

    def __init__(
        self, matcher: Matcher, deliverer: Deliverer, store: EventStore, quotas: Quotas | None = None
    ) -> None:
        self._matcher = matcher
        self._deliverer = deliverer
        self._store = store
        self._quotas = quotas
        self._in_store_since: float | None = None

    @property
    def seconds_in_store(self) -> float:
        """How long the store has had the batch that it has now; 0 when it has none."""
        return 0.0 if self._in_store_since is None else time.perf_counter() - self._in_store_since

    async def commit(self, offers: Sequence[Offer]) -> Mapping[str, str]:
        """Match and store these events. Returns the keys of the duplicates, and of what was there before.

        Offers that are dropped before they are stored are left out. After StoreUnavailable the same offers may be
        committed again, alone or with others: what was stored although the store gave no answer is recognised by its
        deliveries, so these are kept. After another error they are created again, because the subscriptions may have
        changed.
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
                offer.deliveries, offer.expansions = None, ()

    async def _commit(self, offers: Sequence[Offer]) -> Mapping[str, str]:
        began = time.perf_counter()
        await self._match([offer for offer in offers if offer.deliveries is None])
        for offer in offers:
            if offer.dropped:
                self.release([offer])
                offer.skipped = True
        offers = [offer for offer in offers if not offer.skipped]
        if not offers:
            return {}
        events = [event for offer in offers for event in offer.events]
        deliveries = [delivery for offer in offers for delivery in offer.deliveries or ()]
        expansions = [expansion for offer in offers for expansion in offer.expansions]
        process = self._deliverer.process
        self._in_store_since = time.perf_counter()
        try:
            existing = await self._store.accept(process, events, deliveries, expansions)
        except StatementTimeout:
            raise  # the database says that nothing was stored
        except StoreUnavailable:
            for offer in offers:
                offer.process = process
            raise
        finally:
            self._in_store_since = None
        for event in events:
            event.let_go()
        await self._deliver(offers, existing, process)
        BATCH_SECONDS.observe(time.perf_counter() - began)
        BATCH_EVENTS.observe(len(events))
        return {key: other for key, other in existing.items() if key != other}

    async def _match(self, offers: Sequence[Offer]) -> None:
        if not offers:
            return
        selection = await self._matcher.select(
            [offer.events for offer in offers], lambda: all(offer.withdrawn for offer in offers)
        )
        matches, over_quota = await self._admit(selection.matches)
        await self._deliverer.room_for(matches)
        by_event: defaultdict[str, list[NewDelivery]] = defaultdict(list)
        for delivery in (*await self._reserve(matches), *grouped(over_quota)):
            by_event[delivery.event.key].append(delivery)
        later: defaultdict[str, list[NewExpansion]] = defaultdict(list)
        for expansion in selection.expansions:
            later[expansion.event.key].append(expansion)
        for offer in offers:
            offer.deliveries = [
                delivery for event in offer.events for delivery in by_event.get(event.key, ())
            ]
            if later:
                offer.expansions = [one for event in offer.events for one in later.get(event.key, ())]

    async def _admit(
        self, matches: Sequence[tuple[Event, Subscription]]
    ) -> tuple[Sequence[tuple[Event, Subscription]], Sequence[NewDelivery]]:
        return (matches, ()) if self._quotas is None else await self._quotas.admit(matches)

    async def _reserve(self, matches: Sequence[tuple[Event, Subscription]]) -> list[NewDelivery]:
        """Make the deliveries, a part at a time."""
        made: list[NewDelivery] = []
        slices = TimeSlices()
        try:
            for start in range(0, len(matches), PART):
                made += grouped(self._deliverer.reserve(matches[start : start + PART]))
                if slices.over:
                    await slices.others()
        except BaseException:
            self._deliverer.release(made)
            raise
        return made

    async def _deliver(self, offers: Sequence[Offer], existing: Mapping[str, str], process: int) -> None:
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
        slices = TimeSlices()
        for start in range(0, len(ours), PART):
            self._deliverer.start(ours[start : start + PART])
            if slices.over:
                await slices.others()
        if others:
            self._deliverer.release(others)
