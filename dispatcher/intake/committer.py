"""Committing: a batch of events is matched, stored with its deliveries in one transaction, and delivered."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from dispatcher.domain.deliveries import OpenDelivery
from dispatcher.domain.errors import StatementTimeout, StoreUnavailable
from dispatcher.domain.events import Event
from dispatcher.domain.expansions import NewExpansion
from dispatcher.intake.delivery_quotas import DeliveryQuotas
from dispatcher.intake.grouping import grouped
from dispatcher.intake.job_access import Match
from dispatcher.intake.matcher import Matcher
from dispatcher.intake.submission import Submission
from dispatcher.telemetry.metrics import BATCH_EVENTS, BATCH_SECONDS
from dispatcher.telemetry.time_slices import TimeSlices

PART = 50
"""Deliveries that are made or started before others may have their turn."""


class Deliverer(Protocol):
    """Delivers what is stored; see `dispatcher.delivery.reservations.Reservations`."""

    async def wait_for_capacity(self, matches: Sequence[Match]) -> None: ...

    @property
    def lease_id(self) -> int: ...

    def reserve_slots(self, matches: Sequence[Match]) -> list[OpenDelivery]: ...

    def enqueue(self, deliveries: Sequence[OpenDelivery]) -> None: ...

    def cancel_reservations(self, deliveries: Sequence[OpenDelivery]) -> None: ...


class EventStore(Protocol):
    """Stores events with their deliveries; see `dispatcher.store.events.EventRepository`."""

    async def accept(
        self,
        lease_id: int,
        events: Sequence[Event],
        deliveries: Sequence[OpenDelivery],
        expansions: Sequence[NewExpansion],
    ) -> Mapping[str, str]: ...


class Committer:
    """Brings batches into the store, and their deliveries to the deliverer; without `quotas` all go at once.

    `announce` is called with the events that are stored, also with those that were there before.
    """

    def __init__(
        self,
        matcher: Matcher,
        deliverer: Deliverer,
        store: EventStore,
        quotas: DeliveryQuotas | None = None,
        announce: Callable[[Sequence[Event]], None] = lambda _: None,
    ) -> None:
        self._matcher = matcher
        self._deliverer = deliverer
        self._store = store
        self._quotas = quotas
        self._announce = announce
        self._in_store_since: list[float] = []
        self.stored = 0
        """How many batches were stored: it shows that the store does not refuse everything."""

    @property
    def seconds_in_store(self) -> float:
        """How long the store has had one of the batches that it has now; 0 when it has none."""
        return time.perf_counter() - min(self._in_store_since) if self._in_store_since else 0.0

    async def commit(self, submissions: Sequence[Submission]) -> Mapping[str, str]:
        """Match and store these events. Returns the keys of the duplicates, and of what was there before.

        Submissions that are dropped before they are stored are left out. After StoreUnavailable the same ones may be
        committed again, alone or with others: what was stored although the store gave no answer is recognised by its
        deliveries, so these are kept. After another error they are created again, because the subscriptions may have
        changed.
        """
        try:
            return await self._commit(submissions)
        except StoreUnavailable:
            raise
        except BaseException:
            self.release([submission for submission in submissions if submission.lease_id is None])
            raise

    def release(self, submissions: Sequence[Submission]) -> None:
        """Forget the deliveries of submissions that will not be committed."""
        for submission in submissions:
            if submission.deliveries is not None:
                self._deliverer.cancel_reservations(submission.deliveries)
                submission.deliveries, submission.expansions = None, ()

    async def _commit(self, submissions: Sequence[Submission]) -> Mapping[str, str]:
        began = time.perf_counter()
        await self._match([submission for submission in submissions if submission.deliveries is None])
        for submission in submissions:
            if submission.dropped:
                self.release([submission])
                submission.skipped = True
        submissions = [submission for submission in submissions if not submission.skipped]
        if not submissions:
            return {}
        events = [event for submission in submissions for event in submission.events]
        deliveries = [delivery for submission in submissions for delivery in submission.deliveries or ()]
        expansions = [expansion for submission in submissions for expansion in submission.expansions]
        lease_id = self._deliverer.lease_id
        self._in_store_since.append(handed_in := time.perf_counter())
        try:
            existing = await self._store.accept(lease_id, events, deliveries, expansions)
        except StatementTimeout:
            raise  # the database says that nothing was stored
        except StoreUnavailable:
            for submission in submissions:
                submission.lease_id = lease_id
            raise
        finally:
            self._in_store_since.remove(handed_in)
        self._announce(events)
        for event in events:
            event.drop_cached_document()
        await self._hand_over(submissions, existing, lease_id)
        self.stored += 1
        BATCH_SECONDS.observe(time.perf_counter() - began)
        BATCH_EVENTS.observe(len(events))
        return {key: other for key, other in existing.items() if key != other}

    async def _match(self, submissions: Sequence[Submission]) -> None:
        if not submissions:
            return
        selected, orders = await self._matcher.select(
            [submission.events for submission in submissions],
            lambda: all(submission.withdrawn for submission in submissions),
        )
        matches, over_quota = await self._admit(selected)
        await self._deliverer.wait_for_capacity(matches)
        by_event: defaultdict[str, list[OpenDelivery]] = defaultdict(list)
        for delivery in (*await self._reserve(matches), *over_quota):
            by_event[delivery.event.key].append(delivery)
        later: defaultdict[str, list[NewExpansion]] = defaultdict(list)
        for expansion in orders:
            later[expansion.event.key].append(expansion)
        for submission in submissions:
            submission.deliveries = [
                delivery for event in submission.events for delivery in by_event.get(event.key, ())
            ]
            if later:
                submission.expansions = [
                    one for event in submission.events for one in later.get(event.key, ())
                ]

    async def _admit(self, matches: Sequence[Match]) -> tuple[Sequence[Match], Sequence[OpenDelivery]]:
        return (matches, ()) if self._quotas is None else await self._quotas.admit(matches)

    async def _reserve(self, matches: Sequence[Match]) -> list[OpenDelivery]:
        """Make the deliveries, a part at a time."""
        made: list[OpenDelivery] = []
        slices = TimeSlices()
        try:
            for start in range(0, len(matches), PART):
                new = self._deliverer.reserve_slots(matches[start : start + PART])
                gathered = any(one.subscription.digest is not None for one in new)
                made += grouped(new) if gathered else new
                if slices.over:
                    await slices.others()
        except BaseException:
            self._deliverer.cancel_reservations(made)
            raise
        return made

    async def _hand_over(
        self, submissions: Sequence[Submission], existing: Mapping[str, str], lease_id: int
    ) -> None:
        """Start the deliveries that this process has claimed now; the others are not ours, or not stored."""
        ours: list[OpenDelivery] = []
        others: list[OpenDelivery] = []
        current_lease_id = self._deliverer.lease_id
        for submission in submissions:
            for delivery in submission.deliveries or ():
                known = existing.get(delivery.event.key)
                stored_under: int | None = lease_id
                if known is not None:
                    # Under its own key it was stored by an earlier commit of ours, whose answer was lost.
                    stored_under = submission.lease_id if known == delivery.event.key else None
                (ours if stored_under == current_lease_id else others).append(delivery)
        slices = TimeSlices()
        for start in range(0, len(ours), PART):
            self._deliverer.enqueue(ours[start : start + PART])
            if slices.over:
                await slices.others()
        if others:
            self._deliverer.cancel_reservations(others)
