"""Batching: what waits to be stored is taken and committed together, one batch after the other.

While one batch is committed the next one gathers: a batch grows with the load, and never waits for company.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import structlog

from dispatcher.domain.errors import InvalidInput, StatementTimeout, StoreUnavailable
from dispatcher.intake.committer import Committer
from dispatcher.intake.ingest_queue import IngestQueue
from dispatcher.intake.submission import SourceName, Submission
from dispatcher.telemetry.metrics import EVENTS, EVENTS_UNMATCHED

log = structlog.get_logger("dispatcher.intake")

MAX_EVENTS = 500
"""Deliveries that a batch is expected to cause, and events that it has, at most."""

MAX_BYTES = 32 << 20
"""Memory that the events of a batch take, at most."""

SLOW_BATCH = 8.0
"""Seconds that the database may take for a batch before this counts as a problem."""

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
"""Seconds between two tries to store a batch, doubled from one to the next."""

_Failed = list[tuple[Submission, Exception]]


class Batcher:
    """Stores what waits in a queue, in its order.

    Messages with many events are matched and stored apart, one after the other, while the others go on.
    """

    def __init__(
        self,
        queue: IngestQueue,
        committer: Committer,
        *,
        max_events: int = MAX_EVENTS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._queue = queue
        self._committer = committer
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._batches, self._large = BatchWriter(queue, committer), BatchWriter(queue, committer)
        self._task: asyncio.Task[None] | None = None

    @property
    def problem(self) -> str | None:
        """Why no events are stored, None when they are or when there are none."""
        failure = self._batches.failure or self._large.failure
        if failure is not None and self._queue.waiting:
            return f"{self._queue.waiting} events wait: {failure}"
        seconds = self._committer.seconds_in_store
        if seconds > SLOW_BATCH:
            return f"a batch of events has been in the database for {seconds:.0f} s"
        return None

    async def run(self) -> None:
        """Store what is submitted until `stop`. An error that cannot be handled rises from here."""
        self._task = asyncio.current_task()
        large = asyncio.create_task(self._store_large())
        try:
            await self._store_batches()
            await large
        finally:
            large.cancel()
            await asyncio.gather(large, return_exceptions=True)

    async def stop(self, grace: float) -> None:
        """Take no more requests, and store what was submitted; after `grace` seconds leave the rest."""
        self._queue.close()
        if self._task is None:
            return
        done, _ = await asyncio.wait({self._task}, timeout=grace)
        if not done:
            log.warning(
                "stopped before all events were stored: their publishers have to retry",
                events=self._queue.waiting,
            )
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _store_batches(self) -> None:
        while not self._queue.over:
            if submissions := self._queue.take(self._max_events, self._max_bytes):
                await self._batches.settle(submissions, self._more)
            else:
                await self._queue.changed()

    async def _store_large(self) -> None:
        while not self._queue.over:
            if (submission := self._queue.take_large()) is not None:
                await self._large.settle([submission], lambda _: [])
            else:
                await self._queue.changed()

    def _more(self, beside: Sequence[Submission]) -> list[Submission]:
        room = self._max_events - sum(len(submission.events) for submission in beside)
        return self._queue.take(max(1, room), self._max_bytes, beside)


class BatchWriter:
    """Stores batches one after the other, until each of their submissions is stored or refused.

    While the store cannot be reached a batch is kept and tried again. When it is refused for another reason, or takes
    too long, it is halved until the message is found that is the reason; the others are not held up by it.
    """

    def __init__(self, queue: IngestQueue, committer: Committer) -> None:
        self._queue = queue
        self._committer = committer
        self._failing = False
        self._failure = ""

    @property
    def failure(self) -> str | None:
        """Why nothing is stored, None while something is."""
        return self._failure if self._failing else None

    async def settle(
        self, submissions: list[Submission], more: Callable[[Sequence[Submission]], list[Submission]]
    ) -> None:
        """Go on until each of them is stored or refused; what `more` gives beside those that fail joins them."""
        pause = FIRST_PAUSE
        while submissions:
            before = self._committer.stored
            failed = await self._try(submissions)
            progress = self._committer.stored > before
            self._log_state(failed, progress)
            submissions = [
                submission for submission, error in failed if not self._given_up(submission, error, before)
            ]
            if submissions and not progress:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
                # One at least: who gets through shows that it is not the store that fails.
                submissions += more(submissions)

    async def _try(self, submissions: Sequence[Submission]) -> _Failed:
        """Store the submissions. Returns those that failed, each with the error that it failed with alone."""
        try:
            duplicates = await self._committer.commit(submissions)
        except Exception as error:  # noqa: BLE001 - it is judged when the others have been tried
            together = isinstance(error, StoreUnavailable) and not isinstance(error, StatementTimeout)
            if together or len(submissions) == 1:
                return [(submission, error) for submission in submissions]
        else:
            self._confirm(submissions, duplicates)
            return []
        half = len(submissions) // 2
        failed = await self._try(submissions[:half])
        if failed and isinstance(failed[-1][1], StoreUnavailable):
            # What comes later must not be stored before them.
            return failed + [(submission, failed[-1][1]) for submission in submissions[half:]]
        return failed + await self._try(submissions[half:])

    def _given_up(self, submission: Submission, error: Exception, before: int) -> bool:
        """Drop what no one waits for any more, and refuse what fails because of what it is.

        Nothing is refused as long as the fault may be the store's: not before something was stored since it failed.
        `before`: how many batches had been stored when this one was begun.
        """
        submission.problem = (
            "the database cannot be reached" if isinstance(error, StoreUnavailable) else "internal error"
        )
        if isinstance(error, StatementTimeout):
            submission.problem = "the database gave them up"
        if submission.dropped:
            self._committer.release([submission])
            self._queue.done(submission, None)
            return True
        if isinstance(error, StoreUnavailable):
            return False
        if not isinstance(error, InvalidInput):
            if submission.suspect_since is None:
                submission.suspect_since = before
                return False
            if self._committer.stored == submission.suspect_since:
                return False
            log.error(
                "rejected events that cannot be stored",
                events=[e.id for e in submission.events],
                exc_info=error,
            )
            error = InvalidInput("", f"the event cannot be stored: {str(error).partition(chr(10))[0]:.300}")
        self._committer.release([submission])
        EVENTS.labels(submission.source, "refused").inc(len(submission.events))
        self._queue.done(submission, error)
        return True

    def _confirm(self, submissions: Sequence[Submission], existing: Mapping[str, str]) -> None:
        wanted = {one.event.key for submission in submissions for one in submission.deliveries or ()}
        wanted.update(one.event.key for submission in submissions for one in submission.expansions)
        counts: Counter[tuple[SourceName, str]] = Counter()
        for submission in submissions:
            if submission.skipped:
                self._queue.done(submission, None)
                continue
            duplicates = (
                {e.key: existing[e.key] for e in submission.events if e.key in existing} if existing else {}
            )
            counts[submission.source, "accepted"] += len(submission.events) - len(duplicates)
            counts[submission.source, "duplicate"] += len(duplicates)
            counts[submission.source, "unmatched"] += sum(
                event.key not in wanted and event.key not in duplicates for event in submission.events
            )
            if duplicates:
                _log_duplicates(submission, duplicates)
            self._queue.done(submission, duplicates)
        for (source, result), count in counts.items():
            if result == "unmatched":
                EVENTS_UNMATCHED.labels(source).inc(count)
            else:
                EVENTS.labels(source, result).inc(count)

    def _log_state(self, failed: _Failed, progress: bool) -> None:
        """Log when storing begins to fail, and when it works again."""
        count = sum(len(submission.events) for submission, _ in failed)
        if failed and not progress and not self._failing:
            error = failed[0][1]
            if isinstance(error, StoreUnavailable):
                log.warning("intake stalled: the database cannot be reached", error=str(error), events=count)
            else:
                log.error("intake stalled: store rejects all batches", exc_info=error, events=count)
            # What was not expected may quote an event, and this is shown to everybody.
            known = isinstance(error, StoreUnavailable)
            self._failure = str(error) if known else "the database refuses all of them"
        elif self._failing and (progress or not failed):
            log.info("intake resumed")
        self._failing = bool(failed) and not progress


def _log_duplicates(submission: Submission, duplicates: Mapping[str, str]) -> None:
    for event in submission.events:
        if (stored := duplicates.get(event.key)) is not None:
            log.debug("duplicate event", id=event.key, stored_id=stored, source_id=event.id, job=event.job_id)
