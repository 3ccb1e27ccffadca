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
from dispatcher.delivery.lanes import Lane, Lanes, Work
from dispatcher.delivery.lease import Lease
from dispatcher.delivery.limits import Limits
from dispatcher.delivery.outcomes import OutcomeWriter, put_back
from dispatcher.delivery.pace import Pace
from dispatcher.delivery.rates import Rates
from dispatcher.delivery.scheduler import Scheduler
from dispatcher.delivery.senders import Senders
from dispatcher.delivery.store import DeliveryStore
from dispatcher.delivery.trial import Trials
from dispatcher.delivery.upkeep import Upkeep
from dispatcher.domain.deliveries import ClaimedDelivery, NewDelivery, Outcome
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
        self._look_after: dict[
            str, str
        ] = {}  # the destination to look at when the outcome of a delivery is written
        rates = Rates(store.rate_limits)
        self.trials = Trials(self._breakers, rates, self._lanes, self._trial_ended)
        self._attempts = Attempts(
            Senders(store.digests, kinds),
            self._breakers,
            rates,
            self._lease,
            self._outcomes,
            timeout=limits.timeout,
            due_again=self._due_again,
        )
        self._workers: set[asyncio.Task[None]] = set()
        self._stopping = False
        INFLIGHT.set_function(lambda: self._lanes.load)

    @property
    def process(self) -> int:
        """The number under which this process claims."""
        return self._lease.process

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
        self._claiming = run("claims", lambda: self._scheduler.run(lambda: self.process, self._take))
        self._writing = run("outcomes", self._outcomes.run)
        self._watching = run("breakers", self._breakers.run)
        self._keeping = run("upkeep", lambda: self._upkeep.run(lambda: self.process))

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

    def reserve(self, matches: Sequence[tuple[Event, Subscription]]) -> list[NewDelivery]:
        """Make the deliveries of a batch. Those that find a place in their lane are claimed; it is kept for them."""
        return [self._reserve(event, subscription) for event, subscription in matches]

    def _reserve(self, event: Event, subscription: Subscription) -> NewDelivery:
        delivery_id = new_id("dlv")
        try:
            return self._place_or_store(delivery_id, event, subscription)
        except Exception as error:  # noqa: BLE001 - logged; the others of the batch are stored as they are
            log_error("reserve", error, delivery=delivery_id, subscription=subscription.id)
            return NewDelivery(delivery_id, event, subscription, claimed=False, due_at=utc_now())

    def _place_or_store(self, delivery_id: str, event: Event, subscription: Subscription) -> NewDelivery:
        if subscription.status == "paused":
            return NewDelivery(delivery_id, event, subscription, claimed=False, due_at=None)
        wait = subscription.retry.first_delay
        # In order or in a digest nothing goes straight: only the store knows whose turn it is.
        alone = not subscription.ordered and subscription.digest is None
        straight = not wait and alone and not self._stopping
        claimed = straight and self._place(subscription, len(event.document))
        if not claimed:
            due_at = utc_now() + timedelta(seconds=wait)
            return NewDelivery(delivery_id, event, subscription, claimed=False, due_at=due_at)
        self._lease.hold(delivery_id)
        return NewDelivery(delivery_id, event, subscription, claimed=True)

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

    def start(self, deliveries: Sequence[NewDelivery]) -> None:
        """Take deliveries from `reserve` that are stored now."""
        process = self.process
        for new in deliveries:
            if new.claimed and not self._lease.holds(new.id):
                # The lease was lost while it was stored: it is due, and claimed like all others.
                self.release([new])
            elif new.claimed:
                lane = self._lanes[new.subscription.destination]
                self._lanes.enter(lane, Work(process, new.as_claimed()))
                self._engage(lane)
            elif new.due_at is not None:
                self._scheduler.expect(new.subscription.destination, new.due_at)

    def release(self, deliveries: Sequence[NewDelivery]) -> None:
        """Forget deliveries from `reserve` that were not stored."""
        for new in deliveries:
            if new.claimed:
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

    def _take(self, process: int, claimed: Sequence[ClaimedDelivery]) -> None:
        for delivery in claimed:
            try:
                self._enter(process, delivery)
            except Exception as error:  # noqa: BLE001 - logged; the other claims are not its fault
                log_error("claim", error, delivery=delivery.id)
                self._outcomes.put(process, put_back(delivery, utc_now() + FULL_LANE_WAIT))

    def _enter(self, process: int, delivery: ClaimedDelivery) -> None:
        lane = self._reserve_place(delivery.subscription, len(delivery.event.document), fresh=False)
        if lane is None:
            self._outcomes.put(process, put_back(delivery, utc_now() + FULL_LANE_WAIT))
        else:
            self._lanes.enter(lane, Work(process, delivery))
            self._engage(lane)

    def _written(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            self._lease.drop(outcome.delivery_id)
            destination = self._look_after.pop(outcome.delivery_id, None)
            if destination is None:
                continue
            if outcome.due_at is not None:
                self._scheduler.expect(destination, outcome.due_at)
            elif outcome.state.final:  # it was ordered: the next one of its job may go
                self._scheduler.expect(destination, utc_now())

    def _due_again(self, claimed: ClaimedDelivery) -> None:
        self._look_after[claimed.id] = claimed.subscription.destination

    def _changed(self, destination: str, when: datetime) -> None:
        """Look at a destination then, and give back to the store what must not go there now."""
        self._scheduler.expect(destination, when)
        lane = self._lanes.find(destination)
        if lane is not None and lane.queued:
            for work in self._lanes.take_queued(lane, self.may_go):
                self._outcomes.put(work.process, put_back(work.claimed, utc_now()))

    # Through the lanes to the targets

    def _engage(self, lane: Lane) -> None:
        if not self._stopping and (work := lane.take()) is not None:
            worker = self._group.create_task(self._work(lane, work))
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def _work(self, lane: Lane, first: Work) -> None:
        """Try one delivery after the other as long as there is a place to run for it."""
        work: Work | None = first
        while work is not None:
            if work.claimed.subscription.ordered:
                self._look_after[work.claimed.id] = lane.destination
            try:
                await self._attempts.make(work, lane)
            finally:
                self._leave(lane, work.claimed.subscription.id, len(work.claimed.event.document))
            work = None if self._stopping else lane.take()
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
