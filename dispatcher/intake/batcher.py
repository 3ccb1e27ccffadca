"""Batching: events from AMQP and HTTP are gathered and committed together, one batch after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog

from dispatcher.domain.errors import InvalidInput, StoreUnavailable
from dispatcher.domain.events import Event
from dispatcher.intake.committer import (
    Committer,
    Deliverer,
    EventStore,
    Quotas,
    Result,
    SourceName,
    Submission,
)
from dispatcher.intake.matcher import Matcher
from dispatcher.intake.queues import Limits, Queues
from dispatcher.intake.storing import Progress, Storing
from dispatcher.telemetry.background import InternalErrors

log = structlog.get_logger("dispatcher.intake")

SLOW_BATCH = 8.0
"""Seconds that the database may take for a batch before this counts as a problem."""

ROOM = Limits(10_000, 128 << 20)
"""What may wait to be stored."""

SHARE = 4
"""One owner's events may take this part of the room for what waits: a quarter."""


class Busy(StoreUnavailable):
    """More events wait to be stored than the intake takes, or it is stopping. Nothing was changed."""


class NotStored(StoreUnavailable):
    """Events were not stored in time; the message says why. They may be stored still."""


class IngestQueue:
    """Takes events in and stores them in the order in which they were offered; owners take turns.

    While one batch is being committed the next one gathers: a batch grows with the load, and never waits for
    company. Messages with many events are matched and stored apart, one after the other, while the others go on.
    """

    def __init__(
        self,
        matcher: Matcher,
        deliverer: Deliverer,
        store: EventStore,
        *,
        max_events: int = 500,
        max_bytes: int = 32 << 20,
        waiting: Limits = ROOM,
        patience: float = 10.0,
        quotas: Quotas | None = None,
    ) -> None:
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._patience = patience
        self._queues = Queues(waiting, Limits(waiting.events // SHARE, waiting.size // SHARE))
        progress = Progress()
        self._batches, self._large = (
            Storing(Committer(matcher, deliverer, store, quotas), progress, self._conclude) for _ in range(2)
        )
        self._arrived = asyncio.Event()
        self._large_may_go = asyncio.Event()
        self._stopping = False
        self._errors = InternalErrors("intake")
        self._task: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """Events that were offered and are not stored yet."""
        return self._queues.events

    @property
    def waiting_bytes(self) -> int:
        """What these take in memory."""
        return self._queues.size

    def submit_nowait(
        self, events: Sequence[Event], source: SourceName, on_stored: Callable[[Result], None]
    ) -> None:
        """Take events of which the broker sends only so many ahead; `on_stored` is called when they are committed.

        It gets an InvalidInput when they never can be; then none of them is stored.
        """
        self._enqueue(_submission(events, source, on_stored))

    async def submit(self, events: Sequence[Event]) -> Mapping[str, str]:
        """Store events that came over HTTP: all of them, or none and an error.

        Returns when they are committed, with the keys of the duplicates and of what was there before. Raises
        InvalidInput when they can never be stored, Busy when too many of their owner wait, and NotStored when they
        are not stored within `patience` seconds. In the last case they may be stored still: publishing them
        again is safe when the caller gave them ids.
        """
        stored: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        def done(result: Result) -> None:
            if not stored.done():
                stored.set_result(result)

        submission = _submission(events, "http", done)
        if self._stopping:
            raise Busy("the service is stopping; publish these events again later")
        if (refusal := self._queues.refusal(submission)) is not None:
            raise Busy(f"{refusal}; publish these again later")
        self._enqueue(submission)
        try:
            async with asyncio.timeout(self._patience):
                result = await stored
        except TimeoutError:
            raise NotStored(
                f"the events could not be stored within {self._patience:g} s ({submission.problem}); publish them again"
            ) from None
        finally:
            submission.withdrawn = stored.cancelled()
        if isinstance(result, InvalidInput):
            raise result
        return result

    @property
    def problem(self) -> str | None:
        """Why no events are stored, None when they are or when there are none."""
        failure = self._batches.failure or self._large.failure
        if failure is not None and self.waiting:
            return f"{self.waiting} events wait: {failure}"
        seconds = max(self._batches.seconds_in_store, self._large.seconds_in_store)
        if seconds > SLOW_BATCH:
            return f"a batch of events has been in the database for {seconds:.0f} s"
        return None

    async def run(self) -> None:
        """Store what is offered until `stop`. An error that cannot be handled rises from here."""
        self._task = asyncio.current_task()
        large = asyncio.create_task(self._store_large())
        try:
            await self._store_batches()
            await large
        finally:
            large.cancel()
            await asyncio.gather(large, return_exceptions=True)

    async def stop(self, grace: float) -> None:
        """Take no more requests, and store what was offered; after `grace` seconds leave the rest."""
        self._stopping = True
        self._wake()
        if self._task is None:
            return
        done, _ = await asyncio.wait({self._task}, timeout=grace)
        if not done:
            log.warning(
                "stopped before all events were stored: their publishers have to retry", events=self.waiting
            )
            self._task.cancel()
            await asyncio.wait({self._task})

    def _enqueue(self, submission: Submission) -> None:
        self._queues.put(submission)
        self._wake()

    def _wake(self) -> None:
        self._arrived.set()
        self._large_may_go.set()

    def _conclude(self, submission: Submission, result: Result | None) -> None:
        if result is not None and not isinstance(result, InvalidInput):
            self._queues.learn(submission, submission.caused)
        self._queues.done(submission)
        self._wake()
        if result is None:
            return
        try:
            submission.on_stored(result)
        except Exception as error:  # noqa: BLE001 - it is about one message; the others get their result too
            self._errors.report(error, events=[event.id for event in submission.events][:10])

    async def _store_batches(self) -> None:
        while not self._over:
            self._arrived.clear()
            submissions = self._queues.take(self._max_events, self._max_bytes)
            if submissions:
                await self._batches.settle(submissions, self._more)
            else:
                await self._arrived.wait()

    async def _store_large(self) -> None:
        while not self._over:
            self._large_may_go.clear()
            submission = self._queues.take_large()
            if submission is not None:
                await self._large.settle([submission], lambda _: [])
            else:
                await self._large_may_go.wait()

    @property
    def _over(self) -> bool:
        return self._stopping and not self.waiting

    def _more(self, beside: Sequence[Submission]) -> list[Submission]:
        room = self._max_events - sum(len(submission.events) for submission in beside)
        return self._queues.take(max(1, room), self._max_bytes, beside)


def _submission(
    events: Sequence[Event], source: SourceName, on_stored: Callable[[Result], None]
) -> Submission:
    owner = (events[0].tenant, events[0].owner) if events else ("", None)
    return Submission(events, source, on_stored, sum([event.size for event in events]), owner)
