"""The delivery engine: takes fresh and due deliveries through their lanes to their targets, and settles them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Protocol
from weakref import WeakValueDictionary

import structlog
from cachetools import LRUCache
from msgspec import Struct

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
from dispatcher.delivery.report import report
from dispatcher.delivery.scheduler import ClaimStore, Scheduler
from dispatcher.domain.deliveries import Attempt, ClaimedDelivery, NewDelivery, Outcome, State
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.ids import new_id
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import Answer, Sender, TargetKind
from dispatcher.telemetry.metrics import INFLIGHT

log = structlog.get_logger("dispatcher.delivery")

FULL_LANE_WAIT = timedelta(seconds=1)
"""How long a delivery waits that was claimed for a lane with room while others took the last place."""


class DeliveryStore(ClaimStore, LeaseStore, OutcomeStore, Protocol):
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
        self._kinds = kinds
        self._limits = limits
        self._lanes = Lanes(limits.concurrency, limits.queue, limits.in_memory)
        self._lease = Lease(store, limits.lease)
        self._pace = Pace()
        self._scheduler = Scheduler(store, self._lanes)
        self._outcomes = OutcomeWriter(store, self._written)
        self._senders: LRUCache[str, tuple[int, Sender]] = LRUCache(10_000)
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
        """Deliver until `stop`. An error that nobody can handle ends the group."""
        self._group = group
        self._leasing = group.create_task(self._lease.run(self._lanes.drop_queued, self._scheduler.wake))
        self._claiming = group.create_task(self._scheduler.run(lambda: self.process, self._take))
        self._writing = group.create_task(self._outcomes.run())

    async def stop(self) -> None:
        """Begin nothing more, wait for running attempts within the grace time, write outcomes, give claims back."""
        self._stopping = True
        self._claiming.cancel()
        if self._workers:
            _, late = await asyncio.wait(self._workers, timeout=self._limits.grace)
            for worker in late:
                worker.cancel()
        self._outcomes.stop()
        await asyncio.wait({self._writing}, timeout=self._limits.grace)
        self._writing.cancel()
        self._leasing.cancel()
        try:
            await self._lease.end()
        except StoreUnavailable as error:
            log.error("stopped without the store: the lease has to end by itself", error=str(error))

    # Between matching and the store

    async def ready(self) -> None:
        """Return when intake should go on with its next batch: at once unless this process has no CPU left."""
        await self._pace.keep()

    def reserve(self, matches: Sequence[tuple[Event, Subscription]]) -> list[NewDelivery]:
        """Make the deliveries of a batch. Those that find a place in their lane are claimed; it is kept for them."""
        return [self._reserve(event, subscription) for event, subscription in matches]

    def _reserve(self, event: Event, subscription: Subscription) -> NewDelivery:
        delivery_id = new_id("dlv")
        if subscription.status == "paused":
            return NewDelivery(delivery_id, event, subscription, claimed=False, due_at=None)
        wait = subscription.retry.first_delay
        claimed = not wait and not self._stopping and self._place(subscription.destination)
        if not claimed:
            due_at = utc_now() + timedelta(seconds=wait)
            return NewDelivery(delivery_id, event, subscription, claimed=False, due_at=due_at)
        self._lease.hold(delivery_id)
        return NewDelivery(delivery_id, event, subscription, claimed=True)

    def _place(self, destination: str) -> bool:
        if self._lanes.reserve(destination, fresh=True) is None:
            self._pace.crowded()
            return False
        return True

    def start(self, deliveries: Sequence[NewDelivery]) -> None:
        """Take deliveries from `reserve` that are stored now."""
        process = self.process
        for new in deliveries:
            if new.claimed:
                lane = self._lanes[new.subscription.destination]
                self._lanes.enter(lane, Work(process, _as_claimed(new)))
                self._engage(lane)
            elif new.subscription.retry.first_delay and new.due_at is not None:
                self._scheduler.expect(new.due_at)

    def release(self, deliveries: Sequence[NewDelivery]) -> None:
        """Forget deliveries from `reserve` that were not stored."""
        for new in deliveries:
            if new.claimed:
                self._lanes.release(self._lanes[new.subscription.destination])
                self._lease.drop(new.id)

    # From the store back into the lanes

    def wake(self) -> None:
        """Look into the store now: somebody made deliveries due."""
        self._scheduler.wake()

    def _take(self, process: int, claimed: Sequence[ClaimedDelivery]) -> None:
        for delivery in claimed:
            lane = self._lanes.reserve(delivery.subscription.destination, fresh=False)
            if lane is None:
                self._outcomes.put(process, put_back(delivery, utc_now() + FULL_LANE_WAIT))
            else:
                self._lanes.enter(lane, Work(process, delivery))
                self._engage(lane)

    def _written(self, delivery_ids: Sequence[str]) -> None:
        for delivery_id in delivery_ids:
            self._lease.drop(delivery_id)

    # Through the lanes to the targets

    def _engage(self, lane: Lane) -> None:
        if lane.running < lane.limit and not self._stopping:
            lane.running += 1
            worker = self._group.create_task(self._work(lane))
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def _work(self, lane: Lane) -> None:
        try:
            while lane.queue and not self._stopping:
                work = lane.queue.popleft()
                try:
                    await self._handle(work)
                finally:
                    if self._lanes.done(lane):
                        self._pace.freed()
                        self._scheduler.wake()
        finally:
            self._lanes.rest(lane)

    async def _handle(self, work: Work) -> None:
        # An attempt must end before the lease can: without a heartbeat nothing is begun.
        await self._lease.lasting(self._limits.timeout)
        if work.process != self.process:
            return  # the lease was lost: others have this delivery now
        if work.claimed.subscription.persistent:
            await self._attempt(work)
        else:
            await self._attempt_single(work)

    async def _attempt_single(self, work: Work) -> None:
        """One at a time for a subscription that ends with its first success."""
        subscription = work.claimed.subscription
        lock = self._locks.setdefault(subscription.id, asyncio.Lock())
        async with lock:
            if (subscription.id, subscription.revision) in self._completed:
                reason = "the subscription ended with an earlier delivery"
                self._settle(work, without_attempt(work.claimed, State.SUPERSEDED, utc_now(), reason))
            else:
                await self._attempt(work)

    async def _attempt(self, work: Work) -> None:
        claimed = work.claimed
        started_at, began = utc_now(), time.perf_counter()
        number = claimed.attempts + 1
        answer = await self._send(claimed, number)
        if answer.postponed is not None:
            self._settle(work, postponed(claimed, answer, utc_now()))
            return
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
        self._settle(work, outcome)
        self._end_if_asked(claimed.subscription, outcome.state, answer)

    async def _send(self, claimed: ClaimedDelivery, number: int) -> Answer:
        try:
            return await self._sender(claimed.subscription).send(
                claimed.event, claimed.id, number, claimed.memo
            )
        except Exception as error:
            # A fault of a target kind may cost this delivery an attempt, but never the other deliveries their process.
            log.exception("target failed", delivery=claimed.id, subscription=claimed.subscription.id)
            return Answer(
                request="", error=f"internal error in the {claimed.subscription.kind} target: {error!r}"
            )

    def _sender(self, subscription: Subscription) -> Sender:
        cached = self._senders.get(subscription.id)
        if cached is not None and cached[0] == subscription.revision:
            return cached[1]
        sender = self._kinds[subscription.kind].sender(subscription)
        self._senders[subscription.id] = (subscription.revision, sender)
        return sender

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


def _as_claimed(new: NewDelivery) -> ClaimedDelivery:
    return ClaimedDelivery(
        id=new.id,
        event=new.event,
        subscription=new.subscription,
        attempts=0,
        restarted_after=0,
        since=new.since or new.event.accepted_at,
    )
