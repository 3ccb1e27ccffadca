"""The delivery engine: takes fresh and due deliveries through their lanes to their targets, and settles them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta

import structlog

from dispatcher.delivery.attempt import Attempts
from dispatcher.delivery.breakers import Breakers
from dispatcher.delivery.internal_errors import log_error
from dispatcher.delivery.lanes import Lane, Lanes
from dispatcher.delivery.lease import Lease
from dispatcher.delivery.limits import Limits
from dispatcher.delivery.outcomes import OutcomeWriter, Settled, put_back
from dispatcher.delivery.pace import Pace
from dispatcher.delivery.rates import Rates
from dispatcher.delivery.scheduler import Scheduler
from dispatcher.delivery.senders import Senders
from dispatcher.delivery.store import DeliveryStore
from dispatcher.delivery.trial import Trials
from dispatcher.delivery.upkeep import Upkeep
from dispatcher.domain.deliveries import OpenDelivery
from dispatcher.domain.destinations import RateLimit
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.ids import new_id
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import TargetKind
from dispatcher.telemetry.background import keep_running
from dispatcher.telemetry.metrics import INFLIGHT

log = structlog.get_logger("dispatcher.delivery")

FULL_LANE_WAIT = timedelta(seconds=1)
"""How long a delivery waits that was claimed for a lane with room while others took the last place."""

PROGRESS = 0.05
"""Seconds within which something must leave a lane that intake waits for."""

CANCEL_TIMEOUT = 2.0
"""Seconds that attempts have to end after the grace time."""


class Engine:
    """Everything between the store and the targets, for one process."""

    def __init__(self, store: DeliveryStore, kinds: Mapping[str, TargetKind], limits: Limits) -> None:
        self._limits = limits
        self._lanes = Lanes(limits.concurrency, limits.queue, limits.in_memory)
        self._lease = Lease(store.leases, limits.lease)
        self._pace = Pace()
        self._outcomes = OutcomeWriter(store.queue, store.subscriptions, self._written)
        self._breakers = Breakers(store.breakers, limits.timeout * 2, self._changed)
        self._scheduler = Scheduler(store.queue, self._lanes, self._breakers)
        self._upkeep = Upkeep(store, self._breakers.blocked_destinations, self._scheduler.room_again)
        rates = Rates(store.rate_limits)
        self.trials = Trials(self._breakers, rates, self._lanes, self._trial_ended)
        self._attempts = Attempts(
            Senders(store.digests, kinds),
            self._breakers,
            rates,
            self._lease,
            self._outcomes,
            timeout=limits.timeout,
        )
        self._workers: set[asyncio.Task[None]] = set()
        self._stopping = False
        INFLIGHT.set_function(lambda: self._lanes.load)

    @property
    def lease_id(self) -> int:
        """The lease under which this process claims."""
        return self._lease.id

    @property
    def problem(self) -> str | None:
        """Why outcomes are not written, None when they are."""
        return self._outcomes.problem

    async def begin(self) -> None:
        """Enter this process into the store. Raises StoreUnavailable."""
        await self._lease.begin()

    def launch(self, group: asyncio.TaskGroup) -> None:
        """Deliver until `stop`."""
        self._group = group

        def run(where: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
            return group.create_task(keep_running(where, work))

        self._leasing = run("lease", lambda: self._lease.run(self._lanes.drop_queued, self._scheduler.wake))
        self._claiming = run("claims", lambda: self._scheduler.run(lambda: self.lease_id, self._take))
        self._writing = run("outcomes", self._outcomes.run)
        self._watching = run("breakers", self._breakers.run)
        self._keeping = run("upkeep", lambda: self._upkeep.run(lambda: self.lease_id))

    async def stop(self) -> None:
        """Begin nothing more, wait for running attempts within the grace time, write outcomes, give claims back."""
        self._stopping = True
        self._claiming.cancel()
        self._keeping.cancel()
        if self._workers:
            _, late = await asyncio.wait(self._workers, timeout=self._limits.grace)
            for worker in late:
                worker.cancel()
            if late:  # an attempt may still have something to say of what it sent
                await asyncio.wait(late, timeout=CANCEL_TIMEOUT)
        self._outcomes.stop()
        await asyncio.wait({self._writing}, timeout=self._limits.grace)
        self._writing.cancel()
        self._watching.cancel()
        self._leasing.cancel()
        try:
            await self._lease.end()
        except StoreUnavailable as error:
            log.error("stopped without the database: the lease will expire", error=str(error))

    # Between matching and the store

    async def room_for(self, matches: Sequence[tuple[Event, Subscription]]) -> None:
        """Return when intake should go on with these: at once, unless this process has no CPU left for them.

        It waits for lanes that are getting empty, and for no other.
        """
        counts = Counter(subscription.destination for _, subscription in matches)
        before = {lane: lane.ended for lane in self._lanes.crowded(counts)}

        def crowded(waited: float) -> bool:
            lanes = self._lanes.crowded(counts)
            return any(waited < PROGRESS or lane.ended > before.get(lane, lane.ended) for lane in lanes)

        await self._pace.keep(crowded)

    def reserve(self, matches: Sequence[tuple[Event, Subscription]]) -> list[OpenDelivery]:
        """Make the deliveries of a batch. Those that find a place in their lane are claimed; it is kept for them."""
        return [self._reserve(event, subscription) for event, subscription in matches]

    def _reserve(self, event: Event, subscription: Subscription) -> OpenDelivery:
        delivery_id = new_id("dlv")
        try:
            return self._place_or_store(delivery_id, event, subscription)
        except Exception as error:  # noqa: BLE001 - logged; the others of the batch are stored as they are
            log_error("reserve", error, delivery=delivery_id, subscription=subscription.id)
            return OpenDelivery(delivery_id, event, subscription, due_at=utc_now())

    def _place_or_store(self, delivery_id: str, event: Event, subscription: Subscription) -> OpenDelivery:
        if subscription.status == "paused":
            return OpenDelivery(delivery_id, event, subscription)
        wait = subscription.retry.first_delay
        # In order or in a digest nothing goes straight: only the store knows whose turn it is.
        alone = not subscription.ordered and subscription.digest is None
        straight = not wait and alone and self._lease.id > 0 and not self._stopping
        claimed = straight and self._place(subscription, len(event.document))
        if not claimed:
            due_at = utc_now() + timedelta(seconds=wait)
            return OpenDelivery(delivery_id, event, subscription, due_at=due_at)
        self._lease.hold(delivery_id)
        return OpenDelivery(delivery_id, event, subscription, self._lease.id)

    def _place(self, subscription: Subscription, size: int) -> bool:
        if not self._breakers.admits(subscription.scopes):
            return False
        return self._reserve_place(subscription, size, fresh=True) is not None

    def _reserve_place(self, subscription: Subscription, size: int, *, fresh: bool) -> Lane | None:
        return self._lanes.reserve(
            subscription.destination,
            size,
            fresh=fresh,
            subscription=subscription.id,
            owner=subscription.scopes.owner,
        )

    def start(self, deliveries: Sequence[OpenDelivery]) -> None:
        """Take deliveries from `reserve` that are stored now."""
        lease_id = self._lease.id
        for new in deliveries:
            if new.lease_id and new.lease_id != lease_id:
                # The lease was lost while it was stored: it is due, and claimed like all others.
                self.release([new])
            elif new.lease_id:
                lane = self._lanes[new.subscription.destination]
                lane.enter(new)
                self._engage(lane)
            elif new.due_at is not None:
                self._scheduler.expect(new.subscription.destination, new.due_at)

    def release(self, deliveries: Sequence[OpenDelivery]) -> None:
        """Forget deliveries from `reserve` that were not stored."""
        for new in deliveries:
            if new.lease_id:
                lane = self._lanes[new.subscription.destination]
                self._lanes.release(lane, len(new.event.document), new.subscription.id)
                self._lease.drop(new.id)

    # What others want to know

    def blocks(self, destination: str) -> bool:
        """Whether nothing goes out to a destination now, as far as this process knows."""
        until = self._breakers.destination_open_until(destination)
        return until is not None and until > utc_now()

    def may_go(self, subscription: Subscription) -> bool:
        """Whether deliveries of a subscription may begin, as far as this process knows."""
        return not self._breakers.blocks(subscription.scopes)

    def rate_limit(self, destination: str) -> RateLimit | None:
        """The rate limit of a destination, as far as this process knows."""
        return self._breakers.rate_limit(destination)

    def lane(self, destination: str) -> Lane | None:
        """The lane of a destination, None when this process knows nothing of it."""
        return self._lanes.find(destination)

    # From the store back into the lanes

    def wake(self) -> None:
        """Look into the store now: somebody made deliveries due."""
        self._scheduler.wake()

    def _take(self, claimed: Sequence[OpenDelivery]) -> None:
        for delivery in claimed:
            try:
                self._enter(delivery)
            except Exception as error:  # noqa: BLE001 - logged; the other claims are not its fault
                log_error("claim", error, delivery=delivery.id)
                self._outcomes.put(delivery, put_back(delivery, utc_now() + FULL_LANE_WAIT))

    def _enter(self, delivery: OpenDelivery) -> None:
        lane = self._reserve_place(delivery.subscription, len(delivery.event.document), fresh=False)
        if lane is None:
            self._outcomes.put(delivery, put_back(delivery, utc_now() + FULL_LANE_WAIT))
        else:
            lane.enter(delivery)
            self._engage(lane)

    def _written(self, settled: Sequence[Settled]) -> None:
        for delivery, outcome in settled:
            self._lease.drop(delivery.id)
            if outcome.due_at is not None:
                self._scheduler.expect(delivery.subscription.destination, outcome.due_at)
            elif outcome.ordered and outcome.state.final:  # the next one of its job may go
                self._scheduler.expect(delivery.subscription.destination, utc_now())

    def _changed(self, destination: str, when: datetime) -> None:
        """Look at a destination then, and give back to the store what must not go there now."""
        self._scheduler.expect(destination, when)
        lane = self._lanes.find(destination)
        if lane is not None and lane.queued:
            for delivery in self._lanes.take_queued(lane, self.may_go):
                self._outcomes.put(delivery, put_back(delivery, utc_now()))

    # Through the lanes to the targets

    def _engage(self, lane: Lane) -> None:
        if not self._stopping and (delivery := lane.take()) is not None:
            worker = self._group.create_task(self._work(lane, delivery))
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def _work(self, lane: Lane, first: OpenDelivery) -> None:
        """Try one delivery after the other as long as there is a place to run for it."""
        delivery: OpenDelivery | None = first
        while delivery is not None:
            try:
                await self._attempts.make(delivery, lane)
            finally:
                self._leave(lane, delivery.subscription.id, len(delivery.event.document))
            delivery = None if self._stopping else lane.take()
            # There may be a place for another one too.
            self._engage(lane)

    def _trial_ended(self, lane: Lane, subscription: str) -> None:
        self._leave(lane, subscription, 0)
        self._engage(lane)

    def _leave(self, lane: Lane, subscription: str, size: int) -> None:
        if self._lanes.done(lane, subscription, size):
            self._scheduler.expect(lane.destination, utc_now())
        if self._lanes.room_again():
            self._scheduler.room_again()
