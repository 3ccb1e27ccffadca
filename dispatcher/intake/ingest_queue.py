"""The ingest queue: events from every source wait here to be stored, within bounds, and their owners take turns.

They take turns by deficit round robin (Shreedhar and Varghese 1995). One owner's events stay in their order, and so do
those of one job, whatever owner they name.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Mapping, Sequence

from msgspec import Struct

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.events import Event
from dispatcher.intake.fan_out import FanOut
from dispatcher.intake.hooks import EventHook, HookCall, HookRuns
from dispatcher.intake.submission import Busy, Limits, NotStored, Owner, Result, SourceName, Submission
from dispatcher.telemetry.background import InternalErrors

LARGE = 100
"""Events of one message or request from which on it is stored apart, so that others need not wait for it."""


class _Queue(Struct, eq=False):
    """What waits of one owner; `events` and `size` count what is being stored too."""

    owner: Owner
    submissions: deque[Submission]
    credit: float = 0.0
    events: int = 0
    size: int = 0


class _Batch:
    """What is taken, and how much more may be: deliveries and bytes."""

    def __init__(self, room: float, space: int, beside: Sequence[Submission]) -> None:
        self.room = room
        self.space = space
        self.submissions: list[Submission] = []
        self.together = set(map(id, beside))

    @property
    def full(self) -> bool:
        return self.room <= 0 or self.space <= 0

    def add(self, submission: Submission, cost: float) -> None:
        self.room -= cost
        self.space -= submission.size
        self.submissions.append(submission)
        self.together.add(id(submission))


ROOM = Limits(10_000, 128 << 20)
"""What may wait to be stored."""

SHARE = 4
"""One owner's events may take this part of the room for what waits: a quarter."""


class IngestQueue:
    """The submissions that wait: `every` bounds all of them together, `each` those of one owner.

    A request waits for `patience` seconds at most. `hooks` run for stored events before their publisher hears of it.
    """

    def __init__(
        self,
        every: Limits = ROOM,
        each: Limits | None = None,
        *,
        patience: float = 10.0,
        hooks: Sequence[EventHook] = (),
    ) -> None:
        self._every = every
        self._each = each or Limits(every.events // SHARE, every.size // SHARE)
        self._patience = patience
        self._hooks = hooks
        self._hook_runs = HookRuns()
        self._queues: dict[Owner, _Queue] = {}
        self._turns: OrderedDict[Owner, _Queue] = OrderedDict()
        self._last_of_job: dict[tuple[str, str], Submission] = {}
        self._fan_out = FanOut()
        self._changed = asyncio.Event()
        self._closed = False
        self._errors = InternalErrors("intake")
        self.waiting = 0
        """Events that were submitted and are not stored yet."""
        self.waiting_bytes = 0
        """What these take in memory."""

    def submit_nowait(
        self, events: Sequence[Event], source: SourceName, on_stored: Callable[[Result], None]
    ) -> None:
        """Take events of which the broker sends only so many ahead; `on_stored` is called when they are committed.

        It gets an InvalidInput when they never can be; then none of them is stored.
        """
        if self._hooks and (calls := self._calls(events)):
            on_stored = self._hook_runs.before(on_stored, calls)
        self.put(_submission(events, source, on_stored))

    async def submit(self, events: Sequence[Event]) -> Mapping[str, str]:
        """Store events that came over HTTP: all of them, or none and an error.

        Returns when they are committed, with the keys of the duplicates and of what was there before. Raises
        InvalidInput when they can never be stored, Busy when too many of their owner wait, and NotStored when they
        are not stored within `patience` seconds. In the last case they may be stored still: publishing them
        again is safe when the caller gave them ids.
        """
        stored: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

        def on_stored(result: Result) -> None:
            if not stored.done():
                stored.set_result(result)

        submission = _submission(events, "http", on_stored)
        if self._closed:
            raise Busy("the service is stopping; publish these events again later")
        if (refusal := self.refusal(submission)) is not None:
            raise Busy(f"{refusal}; publish these again later")
        self.put(submission)
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
        for hook, event in self._calls(events):
            await hook.run(event)
        return result

    def close(self) -> None:
        """Take no more requests."""
        self._closed = True
        self._changed.set()

    @property
    def over(self) -> bool:
        """Whether nothing waits, and nothing will."""
        return self._closed and not self.waiting

    async def changed(self) -> None:
        """Return when something is submitted or done, or this is closed."""
        self._changed.clear()
        await self._changed.wait()

    def refusal(self, submission: Submission) -> str | None:
        """Why there is no room for a submission now, None when there is. An owner of whom nothing waits has room."""
        queue = self._queues.get(submission.owner)
        if queue is not None:
            events, size = queue.events + len(submission.events), queue.size + submission.size
            if self._each.exceeded(events, size):
                return f"{queue.events} events of {queue.owner[1] or 'no owner'} wait to be stored already"
        if self.waiting and self._every.exceeded(
            self.waiting + len(submission.events), self.waiting_bytes + submission.size
        ):
            return f"{self.waiting} events wait to be stored already"
        return None

    def put(self, submission: Submission) -> None:
        """Let a submission wait behind those of its owner and those of its jobs."""
        owner, count = submission.owner, len(submission.events)
        queue = self._queues.get(owner)
        if queue is None:
            queue = self._queues[owner] = _Queue(owner, deque())
        for event in submission.events:
            job = (event.tenant, event.job_id)
            before = self._last_of_job.get(job)
            if before is not None and before is not submission:
                submission.after.append(before)
            self._last_of_job[job] = submission
        queue.submissions.append(submission)
        if owner not in self._turns:
            queue.credit = 0.0  # who had nothing to send has saved nothing up
            self._turns[owner] = queue
        queue.events += count
        queue.size += submission.size
        self.waiting += count
        self.waiting_bytes += submission.size
        self._changed.set()

    def take(self, room: float, space: int, beside: Sequence[Submission] = ()) -> list[Submission]:
        """Submissions that cause `room` deliveries together or take `space` bytes: one at least, if one may go.

        They go `beside` others, in one batch after them. `done` is to be called for each. Large ones are left to
        `take_large`.
        """
        batch = _Batch(room, space, beside)
        while self._turns and not batch.full:
            credit = self._round(batch, max(1.0, batch.room / len(self._turns)))
            if credit is None:
                break
            for queue in self._turns.values():
                queue.credit += credit
        return batch.submissions

    def _round(self, batch: _Batch, quantum: float) -> float | None:
        """Give each queue a turn. How much more credit all need until somebody has enough; None when none may go."""
        before, lacking = len(batch.submissions), list[float]()
        for queue in list(self._turns.values()):
            queue.credit += quantum
            lack = self._serve(queue, batch)
            if lack is not None:
                lacking.append(lack)
            if queue.owner in self._turns:
                self._turns.move_to_end(queue.owner)
            if batch.full:
                break
        if len(batch.submissions) > before:
            return 0.0
        return min(lacking) if lacking else None

    def _serve(self, queue: _Queue, batch: _Batch) -> float | None:
        """Take what a queue has credit for. How much it lacks for the next one, None when that is not the reason."""
        while not batch.full and (submission := self._first(queue, batch.together, large=False)) is not None:
            cost = self._fan_out.expected(submission.owner, len(submission.events))
            if cost > queue.credit:
                return cost - queue.credit
            queue.credit -= cost
            self._pop(queue)
            batch.add(submission, cost)
        return None

    def take_large(self) -> Submission | None:
        """The next large one, if one may go: `done` is to be called for it. Its owner's others wait until then."""
        for queue in list(self._turns.values()):
            submission = self._first(queue, (), large=True)
            if submission is not None:
                self._turns.move_to_end(queue.owner)
                self._pop(queue)
                return submission
        return None

    def _first(self, queue: _Queue, together: Collection[int], *, large: bool) -> Submission | None:
        """The first submission of a queue, if it may go now: alone, or in a batch with these."""
        while queue.submissions and queue.submissions[0].withdrawn:
            submission = queue.submissions[0]
            self._pop(queue)
            self.done(submission, None)
        if not queue.submissions:
            return None
        submission = queue.submissions[0]
        if (len(submission.events) >= LARGE) is not large:
            return None
        before = submission.after
        waits = before and any(not one.finished and id(one) not in together for one in before)
        return None if waits else submission

    def _pop(self, queue: _Queue) -> None:
        queue.submissions.popleft()
        if not queue.submissions:
            self._turns.pop(queue.owner, None)

    def done(self, submission: Submission, result: Result | None) -> None:
        """Forget what is stored or refused, and tell its publisher; with None forget what is not wanted any more."""
        submission.finished = True
        submission.after.clear()
        queue, count = self._queues[submission.owner], len(submission.events)
        queue.events -= count
        queue.size -= submission.size
        self.waiting -= count
        self.waiting_bytes -= submission.size
        for event in submission.events:
            job = (event.tenant, event.job_id)
            if self._last_of_job.get(job) is submission:
                del self._last_of_job[job]
        if not queue.submissions and not queue.events:
            del self._queues[queue.owner]
        self._changed.set()
        if result is None:
            return
        if not isinstance(result, InvalidInput):
            self._fan_out.learn(submission.owner, count, submission.caused)
        try:
            submission.on_stored(result)
        except Exception as error:  # noqa: BLE001 - it is about one message; the others get their result too
            self._errors.report(error, events=[event.id for event in submission.events][:10])

    def _calls(self, events: Sequence[Event]) -> list[HookCall]:
        return [
            (hook, event)
            for hook in self._hooks
            for event in events
            if event.type.count(".") == hook.dots and any(mark in event.document for mark in hook.marks)
        ]


def _submission(
    events: Sequence[Event], source: SourceName, on_stored: Callable[[Result], None]
) -> Submission:
    owner = (events[0].tenant, events[0].owner) if events else ("", None)
    return Submission(events, source, on_stored, sum([event.size for event in events]), owner)
