"""The delivery engine: takes fresh and due deliveries through their lanes to their targets, and settles them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

import structlog
from msgspec import Struct

from dispatcher.delivery.attempt import Attempts
from dispatcher.delivery.breakers import Breakers, BreakerStore
from dispatcher.delivery.internal_errors import contained
from dispatcher.delivery.lanes import Lane, Lanes, Work
from dispatcher.delivery.lease import Lease, LeaseStore
from dispatcher.delivery.outcomes import OutcomeStore, OutcomeWriter, put_back
from dispatcher.delivery.pace import Pace
from dispatcher.delivery.rates import Rates, RateStore
from dispatcher.delivery.scheduler import ClaimStore, Scheduler
from dispatcher.delivery.senders import DigestStore, Senders
from dispatcher.delivery.upkeep import Upkeep, UpkeepStore
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


class DeliveryStore(
    ClaimStore, DigestStore, LeaseStore, OutcomeStore, BreakerStore, RateStore, UpkeepStore, Protocol
):
    """What delivering needs of the store; see `dispatcher.store.contract.Store`."""


class Limits(Struct, frozen=True, kw_only=True):
    """The bounds of one process: deliveries in memory, attempts at once for a destination; times in seconds."""

    concurrency: int = 64
    queue: int = 1000
    in_memory: int = 5000
    timeout: float = 15.0
    lease: float = 60.0
    grace: float = 20.0


class Engine:
    """Everything between the store and the targets, for one process."""

    def __init__(self, store: DeliveryStore, kinds: Mapping[str, TargetKind], limits: Limits) -> None:
        self._limits = limits
        self._lanes = Lanes(limits.concurrency, limits.queue, limits.in_memory)
        self._lease = Lease(store, limits.lease)
        self._pace = Pace()
        self._scheduler = Scheduler(store, self._lanes)
        self._outcomes = OutcomeWriter(store, self._written)
        self._breakers = Breakers(store, limits.timeout * 2, self._block)
        self._blocked: dict[str, int] = {}
        self._upkeep = Upkeep(store, lambda: self._blocked, self._scheduler.wake)
        self._attempts = Attempts(
            Senders(store, kinds),
            self._breakers,
            Rates(store),
            self._lease,
            self._outcomes,
            timeout=limits.timeout,
            expect=self._scheduler.expect,
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
            log.error("stopped without the store: the lease has to end by itself", error=str(error))

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
        # Of its subscription only: the others of the batch are stored as they are.
        with contained("reserve", delivery=delivery_id, subscription=subscription.id):
            return self._place_or_store(delivery_id, event, subscription)
        return NewDelivery(delivery_id, event, subscription, claimed=False, due_at=utc_now())

    def _place_or_store(self, delivery_id: str, event: Event, subscription: Subscription) -> NewDelivery:
        if subscription.status == "paused":
            return NewDelivery(delivery_id, event, subscription, claimed=False, due_at=None)
        wait = subscription.retry.first_delay
        # In order or in a digest nothing goes straight: only the store knows whose turn it is.
        alone = not subscription.ordered and subscription.digest is None
        straight = not wait and alone and not self._stopping
        claimed = straight and self._place(subscription.destination, len(event.document))
        if not claimed:
            due_at = utc_now() + timedelta(seconds=wait)
            return NewDelivery(delivery_id, event, subscription, claimed=False, due_at=due_at)
        self._lease.hold(delivery_id)
        return NewDelivery(delivery_id, event, subscription, claimed=True)

    def _place(self, destination: str, size: int) -> bool:
        return self._lanes.reserve(destination, size, fresh=True) is not None

    def start(self, deliveries: Sequence[NewDelivery]) -> None:
        """Take deliveries from `reserve` that are stored now."""
        process = self.process
        for new in deliveries:
            if new.claimed and not self._lease.holds(new.id):
                self.release(
                    [new]
                )  # the lease was lost while it was stored: it is due, and claimed like all others
            elif new.claimed:
                lane = self._lanes[new.subscription.destination]
                self._lanes.enter(lane, Work(process, _as_claimed(new)))
                self._engage(lane)
            elif new.due_at is not None and _due_by_itself(new.subscription):
                self._scheduler.expect(new.due_at)

    def release(self, deliveries: Sequence[NewDelivery]) -> None:
        """Forget deliveries from `reserve` that were not stored."""
        for new in deliveries:
            if new.claimed:
                self._lanes.release(self._lanes[new.subscription.destination], len(new.event.document))
                self._lease.drop(new.id)

    # What others want to know

    def blocks(self, destination: str) -> bool:
        """Whether nothing goes out to a destination now, as far as this process knows."""
        return self._breakers.blocks(destination)

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
            with contained("claim", delivery=delivery.id):
                self._enter(process, delivery)
                continue
            self._outcomes.put(process, put_back(delivery, utc_now() + FULL_LANE_WAIT))

    def _enter(self, process: int, delivery: ClaimedDelivery) -> None:
        destination, size = delivery.subscription.destination, len(delivery.event.document)
        lane = self._lanes.reserve(destination, size, fresh=False)
        if lane is None:
            self._outcomes.put(process, put_back(delivery, utc_now() + FULL_LANE_WAIT))
        else:
            self._lanes.enter(lane, Work(process, delivery))
            self._engage(lane)

    def _written(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            self._lease.drop(outcome.delivery_id)
        if any(outcome.ordered for outcome in outcomes):
            self._scheduler.wake()

    def _block(self, places: dict[str, int]) -> None:
        """Give what waits for destinations without places back to the store; let others start anew."""
        free_again = self._blocked.keys() - places.keys()
        self._blocked = places
        self._lanes.block(places)
        for lane in self._lanes:
            if places.get(lane.destination) == 0:
                for work in self._lanes.take_queued(lane):
                    self._outcomes.put(work.process, put_back(work.claimed, utc_now()))
        if free_again or any(places.values()):
            self._scheduler.wake()

    # Through the lanes to the targets

    def _engage(self, lane: Lane) -> None:
        if lane.running < int(lane.limit) and not self._stopping:
            lane.running += 1
            worker = self._group.create_task(self._work(lane))
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def _work(self, lane: Lane) -> None:
        try:
            while lane.queue and lane.running <= int(lane.limit) and not self._stopping:
                work = lane.queue.popleft()
                try:
                    await self._attempts.make(work, lane)
                finally:
                    if self._lanes.done(lane, work):
                        self._scheduler.wake()
                if lane.queue:
                    self._engage(lane)
        finally:
            self._lanes.rest(lane)


def _due_by_itself(subscription: Subscription) -> bool:
    """Whether its new deliveries go to the store for another reason than that there is no place for them."""
    return subscription.ordered or subscription.digest is not None or subscription.retry.first_delay > 0


def _as_claimed(new: NewDelivery) -> ClaimedDelivery:
    return ClaimedDelivery(
        id=new.id,
        event=new.event,
        subscription=new.subscription,
        attempts=0,
        restarted_after=0,
        since=new.since or new.event.accepted_at,
    )
