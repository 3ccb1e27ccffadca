"""The delivery engine: takes fresh and due deliveries through their lanes to their targets, and settles them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime

import structlog

from dispatcher.delivery.attempt import Attempts
from dispatcher.delivery.breakers import Breakers
from dispatcher.delivery.lane_workers import LaneWorkers
from dispatcher.delivery.lanes import Lane, Lanes
from dispatcher.delivery.lease import Lease
from dispatcher.delivery.limits import Limits
from dispatcher.delivery.outcomes import OutcomeWriter, Settled, put_back
from dispatcher.delivery.rate_limits import RateLimits
from dispatcher.delivery.reservations import Reservations
from dispatcher.delivery.scheduler import Scheduler
from dispatcher.delivery.sender_cache import SenderCache
from dispatcher.delivery.store import DeliveryStore
from dispatcher.delivery.trial import Trials
from dispatcher.domain.destinations import RateLimit
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.events import utc_now
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import TargetKind
from dispatcher.telemetry.background import keep_running
from dispatcher.telemetry.metrics import INFLIGHT

log = structlog.get_logger("dispatcher.delivery")


class Engine:
    """Everything between the store and the targets, for one process.

    Intake hands deliveries to its `reservations`. What is sent at a person's request goes through its `trials`.
    """

    def __init__(self, store: DeliveryStore, kinds: Mapping[str, TargetKind], limits: Limits) -> None:
        self._grace = limits.grace
        self._lanes = Lanes(limits.concurrency, limits.queue, limits.in_memory)
        self._lease = Lease(store.leases, limits.lease)
        self._outcomes = OutcomeWriter(store.queue, store.subscriptions, self._on_outcomes_written)
        self._breakers = Breakers(store.breakers, limits.timeout * 2, self._on_destination_changed)
        self._scheduler = Scheduler(store.queue, self._lanes, self._breakers)
        rates, senders = RateLimits(store.rate_limits), SenderCache(store.digests, kinds)
        attempts = Attempts(
            senders, self._breakers, rates, self._lease, self._outcomes, timeout=limits.max_timeout
        )
        self._workers = LaneWorkers(self._lanes, attempts, self._scheduler)
        self.reservations = Reservations(
            self._lanes, self._workers, self._lease, self._breakers, self._scheduler, self._outcomes
        )
        self.trials = Trials(self._breakers, rates, self._lanes, self._workers.end_trial)
        INFLIGHT.set_function(lambda: self._lanes.load)

    async def begin(self) -> None:
        """Enter this process into the store. Raises StoreUnavailable."""
        await self._lease.begin()

    def launch(self, group: asyncio.TaskGroup) -> None:
        """Deliver until `stop`."""

        def run(where: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
            return group.create_task(keep_running(where, work))

        self._workers.launch(group)
        self._leasing = run("lease", lambda: self._lease.run(self._lanes.drop_queued, self._scheduler.wake))
        claim = self._scheduler.run
        self._claiming = run(
            "claims", lambda: claim(lambda: self.lease_id, self.reservations.enqueue_claimed)
        )
        self._writing = run("outcomes", self._outcomes.run)
        self._watching = run("breakers", self._breakers.run)

    async def stop(self) -> None:
        """Begin nothing more, wait for running attempts within the grace time, write outcomes, give claims back."""
        self._claiming.cancel()
        await self._workers.stop(self._grace)
        self._outcomes.stop()
        await asyncio.wait({self._writing}, timeout=self._grace)
        self._writing.cancel()
        self._watching.cancel()
        self._leasing.cancel()
        try:
            await self._lease.end()
        except StoreUnavailable as error:
            log.error("stopped without the database: the lease will expire", error=str(error))

    def wake(self) -> None:
        """Look into the store now: somebody made deliveries due."""
        self._scheduler.wake()

    # What others want to know

    @property
    def lease_id(self) -> int:
        """The lease under which this process claims."""
        return self._lease.id

    @property
    def problem(self) -> str | None:
        """Why outcomes are not written, None when they are."""
        return self._outcomes.problem

    def blocks(self, destination: str) -> bool:
        """Whether nothing goes out to a destination now, as far as this process knows."""
        until = self._breakers.destination_open_until(destination)
        return until is not None and until > utc_now()

    def blocked_destinations(self) -> Iterator[str]:
        """The destinations behind which something may wait."""
        return self._breakers.blocked_destinations()

    def may_go(self, subscription: Subscription) -> bool:
        """Whether deliveries of a subscription may begin, as far as this process knows."""
        return not self._breakers.blocks(subscription.scopes)

    def rate_limit(self, destination: str) -> RateLimit | None:
        """The rate limit of a destination, as far as this process knows."""
        return self._breakers.rate_limit(destination)

    def lane(self, destination: str) -> Lane | None:
        """The lane of a destination, None when this process knows nothing of it."""
        return self._lanes.find(destination)

    # What its parts tell each other

    def _on_outcomes_written(self, settled: Sequence[Settled]) -> None:
        for _, destination, outcome in settled:
            self._lease.untrack(outcome.delivery_id)
            if outcome.due_at is not None:
                self._scheduler.expect(destination, outcome.due_at)
            elif outcome.ordered and outcome.state.final:  # the next one of its job may go
                self._scheduler.expect(destination, utc_now())

    def _on_destination_changed(self, destination: str, when: datetime) -> None:
        """Look at a destination then, and give back to the store what must not go there now."""
        self._scheduler.expect(destination, when)
        lane = self._lanes.find(destination)
        if lane is not None and lane.queued:
            for delivery in self._lanes.take_queued(lane, self.may_go):
                self._outcomes.put(delivery, put_back(delivery, utc_now()))
