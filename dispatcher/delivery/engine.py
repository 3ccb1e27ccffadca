"""The delivery engine: takes fresh and due deliveries through their lanes to their targets, and settles them."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Protocol
from weakref import WeakValueDictionary

import structlog
from cachetools import LRUCache
from msgspec import Struct
from msgspec.structs import replace

from dispatcher.delivery.breakers import Breakers, BreakerStore
from dispatcher.delivery.lanes import Lane, Lanes, Work
from dispatcher.delivery.lease import Lease, LeaseStore
from dispatcher.delivery.outcomes import (
    OutcomeStore,
    OutcomeWriter,
    decide,
    postponed,
    put_back,
    without_attempt,
)
from dispatcher.delivery.pace import Pace
from dispatcher.delivery.rates import Rates, RateStore
from dispatcher.delivery.report import count_members, report
from dispatcher.delivery.scheduler import ClaimStore, Scheduler
from dispatcher.delivery.senders import DigestStore, Senders
from dispatcher.delivery.upkeep import Upkeep, UpkeepStore
from dispatcher.domain.deliveries import Attempt, ClaimedDelivery, NewDelivery, Outcome, State
from dispatcher.domain.destinations import RateLimit
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.ids import new_id
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import Answer, TargetKind
from dispatcher.telemetry.background import keep_running
from dispatcher.telemetry.metrics import INFLIGHT

log = structlog.get_logger("dispatcher.delivery")

FULL_LANE_WAIT = timedelta(seconds=1)
"""How long a delivery waits that was claimed for a lane with room while others took the last place."""


TOO_MANY = 429
"""The answer of a destination that wants fewer requests at once (RFC 6585)."""

PROGRESS = 0.05
"""Seconds within which something must leave a lane that intake waits for."""


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
        self._rates = Rates(store)
        self._upkeep = Upkeep(store, lambda: self._blocked, self._scheduler.wake)
        self._senders = Senders(store, kinds)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._completed: LRUCache[tuple[str, int], bool] = LRUCache(10_000)
        self._workers: set[asyncio.Task[None]] = set()
        self._stopping = False
        INFLIGHT.set_function(lambda: self._lanes.load)

    @property
    def process(self) -> int:
        """The number under which this process claims."""
        return self._lease.process

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
            lane = self._lanes.reserve(
                delivery.subscription.destination, len(delivery.event.document), fresh=False
            )
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
                    await self._handle(work, lane)
                finally:
                    if self._lanes.done(lane, work):
                        self._scheduler.wake()
                if lane.queue:
                    self._engage(lane)
        finally:
            self._lanes.rest(lane)

    async def _handle(self, work: Work, lane: Lane) -> None:
        subscription = work.claimed.subscription
        if subscription.persistent:
            await self._try(work, lane)
            return
        # One at a time for a subscription that ends with its first success.
        async with self._locks.setdefault(subscription.id, asyncio.Lock()):
            if (subscription.id, subscription.revision) in self._completed:
                reason = "the subscription ended with an earlier delivery"
                self._settle(work, without_attempt(work.claimed, State.SUPERSEDED, utc_now(), reason))
            else:
                await self._try(work, lane)

    async def _try(self, work: Work, lane: Lane) -> None:
        subscription = work.claimed.subscription
        if self._breakers.blocks(subscription.destination):
            self._give_back(work, put_back(work.claimed, utc_now()))
        elif wait := await self._rates.hold(
            subscription, self._breakers.rate_limit(subscription.destination)
        ):
            self._give_back(work, put_back(work.claimed, utc_now() + timedelta(seconds=wait)))
        else:
            # An attempt must end before the lease can: without a heartbeat nothing is begun. Nothing comes between.
            await self._lease.lasting(self._limits.timeout)
            if work.process == self.process:
                await self._attempt(work, lane)
            # Else the lease was lost: others have this delivery now.

    async def _attempt(self, work: Work, lane: Lane) -> None:
        claimed = work.claimed
        started_at, began = utc_now(), time.perf_counter()
        number = claimed.attempts + 1
        answer, others = await self._senders.send(claimed, number)
        if answer.untried:
            self._give_back(work, postponed(claimed, answer, utc_now()))
            return
        self._learn(lane, answer, began)
        attempt = Attempt(
            number=number,
            started_at=started_at,
            duration=time.perf_counter() - began,
            request=answer.request,
            status=answer.status,
            error=answer.error,
            answer=answer.body,
        )
        outcome = decide(claimed, attempt, answer, utc_now(), random.random())  # noqa: S311 - jitter is no secret
        if others:
            outcome = replace(outcome, leads=True)
            count_members(claimed, outcome, others)
        self._settle(work, outcome)
        self._end_if_asked(claimed.subscription, outcome.state, answer)

    def _learn(self, lane: Lane, answer: Answer, began: float) -> None:
        """Adapt to how the destination answers."""
        if answer.unwell:
            lane.failed(began, time.perf_counter())
            self._breakers.failed(lane.destination, answer.trouble or answer.error or "")
            return
        if answer.status == TOO_MANY or answer.overloaded:
            lane.failed(began, time.perf_counter())
        else:
            lane.succeeded()
        if self._breakers.answered(lane.destination):
            lane.start_anew()

    def _give_back(self, work: Work, outcome: Outcome) -> None:
        """Let a delivery wait in the store that was not tried, or end it because that would be too long."""
        if outcome.state.final:
            self._settle(work, outcome)
        else:
            self._outcomes.put(work.process, outcome)
            if outcome.due_at is not None:
                self._scheduler.expect(outcome.due_at)

    def _end_if_asked(self, subscription: Subscription, state: State, answer: Answer) -> None:
        if answer.disable:
            self._outcomes.end_subscription(
                subscription.id, "disabled", answer.error or "disabled by the receiver"
            )
        elif state is State.DELIVERED and not subscription.persistent:
            self._completed[subscription.id, subscription.revision] = True
            self._outcomes.end_subscription(subscription.id, "completed", "delivered once, as asked")

    def _settle(self, work: Work, outcome: Outcome) -> None:
        self._outcomes.put(work.process, outcome)
        if outcome.due_at is not None:
            self._scheduler.expect(outcome.due_at)
        report(work.claimed, outcome)


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
