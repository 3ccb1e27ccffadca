"""Lane workers: the tasks that make attempts, as many for a lane as may run at once."""

from __future__ import annotations

import asyncio

from dispatcher.delivery.attempt import Attempts
from dispatcher.delivery.lanes import Lane, Lanes
from dispatcher.delivery.scheduler import Scheduler
from dispatcher.domain.deliveries import OpenDelivery
from dispatcher.domain.events import utc_now

CANCEL_TIMEOUT = 2.0
"""Seconds that attempts have to end after the grace time."""


class LaneWorkers:
    """The workers of all lanes. Each makes one attempt after the other until nothing more may begin in its lane."""

    def __init__(self, lanes: Lanes, attempts: Attempts, scheduler: Scheduler) -> None:
        self._lanes = lanes
        self._attempts = attempts
        self._scheduler = scheduler
        self._workers: set[asyncio.Task[None]] = set()
        self.stopping = False
        """Nothing begins any more."""

    def launch(self, group: asyncio.TaskGroup) -> None:
        """Begin attempts, as tasks of this group."""
        self._group = group

    async def stop(self, grace: float) -> None:
        """Begin nothing more, and wait for running attempts; what takes longer than the grace time is cancelled."""
        self.stopping = True
        if self._workers:
            _, late = await asyncio.wait(self._workers, timeout=grace)
            for worker in late:
                worker.cancel()
            if late:  # an attempt may still have something to say of what it sent
                await asyncio.wait(late, timeout=CANCEL_TIMEOUT)

    def enqueue(self, lane: Lane, delivery: OpenDelivery) -> None:
        """Let a delivery wait in its reserved slot, and begin when it is its turn."""
        lane.enter(delivery)
        self._spawn_worker(lane)

    def end_trial(self, lane: Lane, subscription: str) -> None:
        """Free the slot of a send that was no delivery."""
        self._free_slot(lane, subscription, 0)
        self._spawn_worker(lane)

    def _spawn_worker(self, lane: Lane) -> None:
        if not self.stopping and (delivery := lane.take()) is not None:
            worker = self._group.create_task(self._work(lane, delivery))
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def _work(self, lane: Lane, first: OpenDelivery) -> None:
        delivery: OpenDelivery | None = first
        while delivery is not None:
            try:
                await self._attempts.make(delivery, lane)
            finally:
                self._free_slot(lane, delivery.subscription.id, len(delivery.event.document))
            delivery = None if self.stopping else lane.take()
            # There may be room for another one too.
            self._spawn_worker(lane)

    def _free_slot(self, lane: Lane, subscription: str, size: int) -> None:
        if self._lanes.done(lane, subscription, size):
            self._scheduler.expect(lane.destination, utc_now())
