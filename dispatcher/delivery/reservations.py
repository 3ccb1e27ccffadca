"""Reservations: slots in lanes for deliveries that are being stored, and for those that were claimed from the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from dispatcher.delivery.backpressure import Backpressure
from dispatcher.delivery.breakers import Breakers
from dispatcher.delivery.internal_errors import log_error
from dispatcher.delivery.lane_workers import LaneWorkers
from dispatcher.delivery.lanes import Lane, Lanes
from dispatcher.delivery.lease import Lease
from dispatcher.delivery.outcomes import OutcomeWriter, put_back
from dispatcher.delivery.scheduler import Scheduler
from dispatcher.domain.deliveries import OpenDelivery
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.ids import new_id
from dispatcher.domain.subscriptions import Subscription

FULL_LANE_WAIT = timedelta(seconds=1)
"""How long a delivery waits that was claimed for a lane with room while others took the last slot."""

PROGRESS_TIMEOUT = 0.05
"""Seconds within which something must leave a lane that intake waits for."""


class Reservations:
    """Brings deliveries into lanes: new ones are reserved a slot, stored, and enqueued or cancelled."""

    def __init__(
        self,
        lanes: Lanes,
        workers: LaneWorkers,
        lease: Lease,
        breakers: Breakers,
        scheduler: Scheduler,
        outcomes: OutcomeWriter,
    ) -> None:
        self._lanes = lanes
        self._workers = workers
        self._lease = lease
        self._breakers = breakers
        self._scheduler = scheduler
        self._outcomes = outcomes
        self._backpressure = Backpressure()

    @property
    def lease_id(self) -> int:
        """The lease under which deliveries are reserved now."""
        return self._lease.id

    async def wait_for_capacity(self, matches: Sequence[tuple[Event, Subscription]]) -> None:
        """Return when intake should go on with these: at once, unless this process has no CPU left for them.

        It waits for lanes that are getting empty, and for no other.
        """
        counts = Counter(subscription.destination for _, subscription in matches)
        before = {lane: lane.ended for lane in self._lanes.near_capacity(counts)}

        def crowded(waited: float) -> bool:
            lanes = self._lanes.near_capacity(counts)
            return any(
                waited < PROGRESS_TIMEOUT or lane.ended > before.get(lane, lane.ended) for lane in lanes
            )

        await self._backpressure.wait(crowded)

    def reserve_slots(self, matches: Sequence[tuple[Event, Subscription]]) -> list[OpenDelivery]:
        """Make the deliveries of a batch. Those that find a slot in their lane are claimed; it is kept for them."""
        return [self._reserve(event, subscription) for event, subscription in matches]

    def _reserve(self, event: Event, subscription: Subscription) -> OpenDelivery:
        delivery_id = new_id("dlv")
        try:
            return self._claim_or_store(delivery_id, event, subscription)
        except Exception as error:  # noqa: BLE001 - logged; the others of the batch are stored as they are
            log_error("reserve", error, delivery=delivery_id, subscription=subscription.id)
            return OpenDelivery(delivery_id, event, subscription, due_at=utc_now())

    def _claim_or_store(self, delivery_id: str, event: Event, subscription: Subscription) -> OpenDelivery:
        if subscription.status == "paused":
            return OpenDelivery(delivery_id, event, subscription)
        wait = subscription.retry.first_delay
        # In order or in a digest nothing goes straight: only the store knows whose turn it is.
        alone = not subscription.ordered and subscription.digest is None
        lease_id = self._lease.id
        straight = not wait and alone and lease_id > 0 and not self._workers.stopping
        if (
            straight
            and self._breakers.admits(subscription.scopes)
            and self._reserve_slot(subscription, len(event.document), fresh=True) is not None
        ):
            self._lease.track(delivery_id)
            return OpenDelivery(delivery_id, event, subscription, lease_id)
        return OpenDelivery(delivery_id, event, subscription, due_at=utc_now() + timedelta(seconds=wait))

    def _reserve_slot(self, subscription: Subscription, size: int, *, fresh: bool) -> Lane | None:
        return self._lanes.reserve(
            subscription.destination,
            size,
            fresh=fresh,
            subscription=subscription.id,
            owner=subscription.scopes.owner,
        )

    def enqueue(self, deliveries: Sequence[OpenDelivery]) -> None:
        """Take deliveries from `reserve_slots` that are stored now."""
        lease_id = self._lease.id
        for new in deliveries:
            if new.lease_id and new.lease_id != lease_id:
                # The lease was lost while it was stored: it is due, and claimed like all others.
                self.cancel_reservations([new])
            elif new.lease_id:
                self._workers.enqueue(self._lanes[new.subscription.destination], new)
            elif new.due_at is not None:
                self._scheduler.expect(new.subscription.destination, new.due_at)

    def cancel_reservations(self, deliveries: Sequence[OpenDelivery]) -> None:
        """Forget deliveries from `reserve_slots` that were not stored."""
        for new in deliveries:
            if new.lease_id:
                lane = self._lanes[new.subscription.destination]
                self._lanes.release(lane, len(new.event.document), new.subscription.id)
                self._lease.untrack(new.id)

    def enqueue_claimed(self, claimed: Sequence[OpenDelivery]) -> None:
        """Take deliveries that were claimed from the store; what finds no slot is put back."""
        for delivery in claimed:
            try:
                size = len(delivery.event.document)
                lane = self._reserve_slot(delivery.subscription, size, fresh=False)
                if lane is not None:
                    self._workers.enqueue(lane, delivery)
                    continue
            except Exception as error:  # noqa: BLE001 - logged; the other claims are not its fault
                log_error("claim", error, delivery=delivery.id)
            self._outcomes.put(delivery, put_back(delivery, utc_now() + FULL_LANE_WAIT))
