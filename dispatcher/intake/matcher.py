"""Matching: which subscriptions want the events of a batch, found with one query to the store.

Candidates are read page by page, so that neither memory nor others' time depends on how many there are. What an event
causes beyond FAN_OUT, alone or with the other events of its message, becomes orders to make deliveries later.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from typing import Protocol

import structlog

from dispatcher.domain.events import Event
from dispatcher.domain.expansions import CHUNK, FAN_OUT, Candidates, Expansion, NewExpansion, bitmap
from dispatcher.domain.ids import new_id
from dispatcher.domain.subscriptions import Subscription, event_match_keys
from dispatcher.intake.job_access import GrantStore, Match, forbidden
from dispatcher.telemetry.metrics import INTERNAL_ERRORS
from dispatcher.telemetry.time_slices import TimeSlices

log = structlog.get_logger("dispatcher.intake")

OF_OWNER, OF_BATCH = 5 * FAN_OUT, 20 * FAN_OUT
"""Deliveries that one owner's events in a batch cause without orders, and those of all."""


class SubscriptionStore(Protocol):
    """Finds subscriptions; see `dispatcher.store.subscriptions.SubscriptionRepository`."""

    async def find_matching(self, match_keys: Iterable[str]) -> list[Subscription]: ...

    def find_matching_pages(
        self, match_keys: Iterable[str], size: int
    ) -> AsyncIterator[list[Subscription]]: ...

    async def in_use(self, subscription_ids: Collection[str]) -> list[Subscription]: ...


class MatchStore(Protocol):
    """What matching needs of the store."""

    @property
    def subscriptions(self) -> SubscriptionStore: ...

    @property
    def jobs(self) -> GrantStore: ...


class Matcher:
    """Matches batches of events. Keeps nothing: a subscription works from the moment that it is stored."""

    def __init__(self, store: MatchStore) -> None:
        self._subscriptions = store.subscriptions
        self._grants = store.jobs

    async def match(self, events: Sequence[Event]) -> list[Match]:
        """Who wants what, in the order of the events. Raises StoreUnavailable."""
        keys = [event_match_keys(event) for event in events]
        by_key: defaultdict[str, list[Subscription]] = defaultdict(list)
        wanted_keys = {key for group in keys for key in group}
        for subscription in await self._subscriptions.find_matching(wanted_keys):
            by_key[subscription.match_key].append(subscription)
        return await self._allowed(
            [
                (event, subscription)
                for event, group in zip(events, keys, strict=True)
                for looked_at in (event.with_cached_document(),)
                for key in group
                for subscription in by_key.get(key, ())
                if _wants(looked_at, subscription)
            ],
            events,
        )

    async def select(
        self, messages: Sequence[Sequence[Event]], unwanted: Callable[[], bool] = lambda: False
    ) -> tuple[list[Match], list[NewExpansion]]:
        """The same for messages with any number of events and subscribers: what is too much becomes orders.

        It stops early, with nothing, when `unwanted` says so. Raises StoreUnavailable.
        """
        slices = TimeSlices()
        events = [event for message in messages for event in message]
        keys = [event_match_keys(event) for event in events]
        subscribers = _subscribers(messages)
        every_key = {key for group in keys for key in group}
        async for subscriptions in self._subscriptions.find_matching_pages(every_key, CHUNK):
            page = _Page(subscriptions)
            found, doubtful = await _of_page(page, events, keys, slices, unwanted)
            if unwanted():
                return [], []
            refused = await forbidden(doubtful, self._grants, events) if doubtful else ()
            for number, places in found:
                if refused:
                    key = events[number].key
                    places = [one for one in places if (key, subscriptions[one].id) not in refused]  # noqa: PLW2901
                subscribers[number].add(page, places)
                if slices.over:
                    await slices.others()
        selected = list(zip(events, subscribers, strict=True))
        return (
            [(event, one) for event, its in selected for one in its.subscriptions or ()],
            [
                NewExpansion(event, candidates, bits)
                for event, its in selected
                for candidates, bits in its.bits
                if any(bits)
            ],
        )

    async def expand(self, orders: Sequence[Expansion]) -> list[Match]:
        """Who is to get what orders stand for: those who are still in use and may see the job."""
        ids = dict.fromkeys(key for one in orders for key in one.subscription_ids)
        found = {one.id: one for one in await self._subscriptions.in_use(list(ids))}
        return await self._allowed(
            [(one.event, found[key]) for one in orders for key in one.subscription_ids if key in found]
        )

    async def _allowed(self, matches: list[Match], events: Sequence[Event] = ()) -> list[Match]:
        """Without those of events of somebody else who has not granted the job."""
        refused = await forbidden(matches, self._grants, events)
        return [(event, one) for event, one in matches if (event.key, one.id) not in refused]


class _Subscribers:
    """Who wants one event: who they are, up to FAN_OUT with its message, and which places on their pages they have."""

    __slots__ = ("bits", "budget", "places", "subscriptions")

    def __init__(self, budget: _Budget) -> None:
        self.budget = budget
        self.subscriptions: list[Subscription] | None = []
        self.places: list[tuple[Candidates, list[int]]] = []
        self.bits: list[tuple[Candidates, bytes]] = []

    def add(self, page: _Page, places: list[int]) -> None:
        """Note who wants it of one page."""
        if self.subscriptions is not None and self.budget.left < len(places):
            self.budget.spend(-len(self.subscriptions))
            self.subscriptions = None
            self.bits = [(one, bitmap(its, len(one.subscription_ids))) for one, its in self.places]
            self.places = []
        if self.subscriptions is None:
            self.bits.append((page.candidates, page.bitmap(places)))
        else:
            self.budget.spend(len(places))
            self.subscriptions += page.of(places)
            self.places.append((page.candidates, places))


class _Budget:
    """How many deliveries a message may cause still without orders: it shares what its owner has, and all together."""

    __slots__ = ("_all", "_message", "_owner")

    def __init__(self, message: list[int], owner: list[int], all_: list[int]) -> None:
        self._message = message
        self._owner = owner
        self._all = all_

    @property
    def left(self) -> int:
        """How many that are."""
        return min(self._message[0], self._owner[0], self._all[0])

    def spend(self, count: int) -> None:
        """Cause so many; a negative count gives them back."""
        self._message[0] -= count
        self._owner[0] -= count
        self._all[0] -= count


def _subscribers(messages: Sequence[Sequence[Event]]) -> list[_Subscribers]:
    """Of each event no one yet."""
    together = [OF_BATCH]
    of_owners: defaultdict[tuple[str, str | None], list[int]] = defaultdict(lambda: [OF_OWNER])
    found: list[_Subscribers] = []
    for message in messages:
        of_message = [FAN_OUT]
        found += [
            _Subscribers(_Budget(of_message, of_owners[event.tenant, event.owner], together))
            for event in message
        ]
    return found


class _Page:
    """Up to CHUNK candidates by their match keys; those without filters are asked once for each name of events."""

    def __init__(self, subscriptions: list[Subscription]) -> None:
        self.subscriptions = subscriptions
        self.candidates = Candidates(bytes.fromhex(new_id("sub")[4:]), [one.id for one in subscriptions])
        self.of_jobs = any(one.job_id is not None for one in subscriptions)
        self._plain: defaultdict[str, list[int]] = defaultdict(list)
        self._filtered: defaultdict[str, list[int]] = defaultdict(list)
        self._named: dict[tuple[str, str], list[int]] = {}
        self._bitmaps: dict[tuple[int, ...], bytes] = {}
        for place, one in enumerate(subscriptions):
            (self._filtered if one.filters else self._plain)[one.match_key].append(place)

    @property
    def has_filters(self) -> bool:
        """Whether there are subscriptions with filters."""
        return bool(self._filtered)

    def plain_places(self, event: Event, keys: Sequence[str]) -> list[int]:
        """The places of those without filters who want an event, no matter who may see it."""
        found: list[int] = []
        for key in keys:
            if key in self._plain:
                found += self._named.get((key, event.event)) or self._of_name(event, key)
        return found

    async def filtered_places(self, event: Event, keys: Sequence[str], slices: TimeSlices) -> list[int]:
        """The places of those with filters. These may cost some, so others have their turns in between."""
        found: list[int] = []
        event = event.with_cached_document()
        for key in keys:
            for place in self._filtered.get(key, ()):
                if _wants(event, self.subscriptions[place]):
                    found.append(place)
                if slices.over:
                    await slices.others()
        return found

    def of(self, places: Sequence[int]) -> list[Subscription]:
        """Those at some places."""
        return [self.subscriptions[place] for place in places]

    def _of_name(self, event: Event, key: str) -> list[int]:
        known = self._named.get((key, event.event))  # that may be of none of them
        if known is None:
            known = [place for place in self._plain[key] if _wants(event, self.subscriptions[place])]
            self._named[key, event.event] = known
        return known

    def bitmap(self, places: Sequence[int]) -> bytes:
        """The bitmap of some of these candidates. Many events have the same."""
        key = tuple(places)
        if key not in self._bitmaps:
            if len(self._bitmaps) > CHUNK:
                self._bitmaps.clear()
            self._bitmaps[key] = bitmap(places, len(self.subscriptions))
        return self._bitmaps[key]


async def _of_page(
    page: _Page,
    events: Sequence[Event],
    keys: Sequence[Sequence[str]],
    slices: TimeSlices,
    unwanted: Callable[[], bool],
) -> tuple[list[tuple[int, list[int]]], list[Match]]:
    """The numbers of events with the places of those who want them, and the matches of jobs that may be others'.

    It ends early when `unwanted`.
    """
    found: list[tuple[int, list[int]]] = []
    doubtful: list[Match] = []
    for number, event in enumerate(events):
        places = page.plain_places(event, keys[number])
        if page.has_filters:
            places += await page.filtered_places(event, keys[number], slices)
        if places:
            found.append((number, places))
            if page.of_jobs:
                doubtful += [(event, one) for one in page.of(places) if one.job_id is not None]
        if slices.over:
            await slices.others()
            if unwanted():
                break
    return found, doubtful


def _wants(event: Event, subscription: Subscription) -> bool:
    """Whether a subscription wants an event. One that cannot be asked does not: the others must not wait for it."""
    try:
        return subscription.wants(event)
    except Exception as error:
        INTERNAL_ERRORS.labels("match").inc()
        log.error(
            "internal error", where="match", subscription=subscription.id, event_id=event.key, exc_info=error
        )
        return False
