"""Selecting who wants the events of a batch: page by page, so that neither memory nor others' time depends on how many.

What an event causes beyond FAN_OUT, alone or with the other events of its message, becomes orders.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Protocol

from msgspec import Struct

from dispatcher.domain.events import Event
from dispatcher.domain.expansions import CHUNK, FAN_OUT, Candidates, NewExpansion, bitmap
from dispatcher.domain.ids import new_id
from dispatcher.domain.subscriptions import Subscription, event_match_keys
from dispatcher.telemetry.time_slices import TimeSlices

Match = tuple[Event, Subscription]
Allowed = Callable[[list[Match]], Awaitable[list[Match]]]
"""Those of these matches whose subscriber may see the job."""

OF_OWNER, OF_BATCH = 5 * FAN_OUT, 20 * FAN_OUT
"""Deliveries that one owner's events in a batch cause without orders, and those of all."""


class PageStore(Protocol):
    """What selecting needs of the store; see `dispatcher.store.subscriptions.SubscriptionRepository`."""

    def find_matching_pages(
        self, match_keys: Iterable[str], size: int
    ) -> AsyncIterator[list[Subscription]]: ...


class Selection(Struct, frozen=True):
    """What the events of a batch cause: deliveries now, and orders to make further ones."""

    matches: Sequence[Match]
    expansions: Sequence[NewExpansion]

    @property
    def count(self) -> int:
        """How many deliveries that is in all."""
        return len(self.matches) + sum(one.count for one in self.expansions)


class _Wanted:
    """Who wants one event: who they are, up to FAN_OUT with its message, and which places on their pages they have."""

    __slots__ = ("bits", "budget", "event", "keys", "places", "subscriptions")

    def __init__(self, event: Event, budget: _Budget) -> None:
        self.event = event
        self.keys = event_match_keys(event)
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


class _Page:
    """Up to CHUNK candidates by their match keys; those without filters are asked once for each name of events."""

    def __init__(
        self, subscriptions: list[Subscription], wants: Callable[[Event, Subscription], bool]
    ) -> None:
        self.subscriptions = subscriptions
        self.candidates = Candidates(bytes.fromhex(new_id("sub")[4:]), [one.id for one in subscriptions])
        self.of_jobs = any(one.job_id is not None for one in subscriptions)
        self._wants = wants
        self._plain: defaultdict[str, list[int]] = defaultdict(list)
        self._filtered: defaultdict[str, list[int]] = defaultdict(list)
        self._named: dict[tuple[str, str], list[int]] = {}
        self._bitmaps: dict[tuple[int, ...], bytes] = {}
        for place, one in enumerate(subscriptions):
            (self._filtered if one.filters else self._plain)[one.match_key].append(place)

    def places(self, event: Event, keys: Sequence[str]) -> list[int]:
        """The places of those who want an event, no matter who may see it."""
        found: list[int] = []
        for key in keys:
            if key in self._plain:
                found += self._named.get((key, event.event)) or self._of_name(event, key)
            if key in self._filtered:
                found += [
                    place for place in self._filtered[key] if self._wants(event, self.subscriptions[place])
                ]
        return found

    def of(self, places: Sequence[int]) -> list[Subscription]:
        """Those at some places."""
        return [self.subscriptions[place] for place in places]

    def _of_name(self, event: Event, key: str) -> list[int]:
        known = self._named.get((key, event.event))  # that may be of none of them
        if known is None:
            known = [place for place in self._plain[key] if self._wants(event, self.subscriptions[place])]
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


async def select(
    messages: Sequence[Sequence[Event]],
    store: PageStore,
    wants: Callable[[Event, Subscription], bool],
    allowed: Allowed,
    unwanted: Callable[[], bool] = lambda: False,
) -> Selection:
    """What the events of these messages cause; nothing when they are `unwanted` before that is known.

    `wants` says whether a subscription selects an event, `allowed` is asked for those whose job may be somebody else's.
    """
    slices = TimeSlices()
    wanted = await _all_wanted(messages, slices)
    async for subscriptions in store.find_matching_pages({key for one in wanted for key in one.keys}, CHUNK):
        page = _Page(subscriptions, wants)
        found, doubtful = await _of_page(page, wanted, slices, unwanted)
        if unwanted():
            return Selection((), ())
        refused = await _refused(doubtful, allowed)
        for one, places in found:
            if refused:
                places = [p for p in places if (one.event.key, subscriptions[p].id) not in refused]  # noqa: PLW2901
            one.add(page, places)
            if slices.over:
                await slices.others()
    return Selection(
        [(one.event, subscription) for one in wanted for subscription in one.subscriptions or ()],
        [
            NewExpansion(one.event, candidates, bits)
            for one in wanted
            for candidates, bits in one.bits
            if any(bits)
        ],
    )


async def _of_page(
    page: _Page, wanted: Sequence[_Wanted], slices: TimeSlices, unwanted: Callable[[], bool]
) -> tuple[list[tuple[_Wanted, list[int]]], list[Match]]:
    """Who wants what of a page, and those of the matches whose job may be somebody else's. It ends when `unwanted`."""
    found: list[tuple[_Wanted, list[int]]] = []
    doubtful: list[Match] = []
    for one in wanted:
        places = page.places(one.event, one.keys)
        if places:
            found.append((one, places))
        if page.of_jobs:
            doubtful += [(one.event, its) for its in page.of(places) if its.job_id is not None]
        if slices.over:
            await slices.others()
            if unwanted():
                break
    return found, doubtful


async def _all_wanted(messages: Sequence[Sequence[Event]], slices: TimeSlices) -> list[_Wanted]:
    together = [OF_BATCH]
    of_owners: defaultdict[tuple[str, str | None], list[int]] = defaultdict(lambda: [OF_OWNER])
    wanted: list[_Wanted] = []
    for message in messages:
        of_message = [FAN_OUT]
        for event in message:
            budget = _Budget(of_message, of_owners[event.tenant, event.owner], together)
            wanted.append(_Wanted(event, budget))
            if slices.over:
                await slices.others()
    return wanted


async def _refused(doubtful: list[Match], allowed: Allowed) -> set[tuple[str, str]]:
    if not doubtful:
        return set()
    kept = {(event.key, subscription.id) for event, subscription in await allowed(doubtful)}
    return {(event.key, subscription.id) for event, subscription in doubtful} - kept
