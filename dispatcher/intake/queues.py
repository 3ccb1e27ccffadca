"""Queues of what waits to be stored: one for each owner, which take turns, so that one owner cannot hold up the others.

They take turns by deficit round robin (Shreedhar and Varghese 1995). One owner's events stay in their order, and so do
those of one job, whatever owner they name.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Collection, Sequence

from msgspec import Struct

from dispatcher.domain.expansions import FAN_OUT
from dispatcher.intake.committer import Submission

REMEMBERED = 10_000
"""Owners of whom it is remembered how many deliveries an event of theirs causes."""

LARGE = 100
"""Events of one message or request from which on it is stored apart, so that others need not wait for it."""

Owner = tuple[str, str | None]
"""Tenant and owner."""


class Limits(Struct, frozen=True):
    """How many events may wait, and how many bytes of memory they may take."""

    events: int
    size: int

    def exceeded(self, events: int, size: int) -> bool:
        """Whether so much is too much."""
        return events > self.events or size > self.size


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


class Queues:
    """The submissions that wait. `every` bounds all of them together, `each` those of one owner."""

    def __init__(self, every: Limits, each: Limits) -> None:
        self._every = every
        self._each = each
        self._queues: dict[Owner, _Queue] = {}
        self._turns: OrderedDict[Owner, _Queue] = OrderedDict()
        self._last_of_job: dict[tuple[str, str], Submission] = {}
        self._fan_out: dict[Owner, float] = {}
        self._usual = 1.0
        self.events = 0
        """Events that were offered and are not stored yet."""
        self.size = 0
        """What these take in memory."""

    def refusal(self, submission: Submission) -> str | None:
        """Why there is no room for an submission now, None when there is. An owner of whom nothing waits has room."""
        queue = self._queues.get(submission.owner)
        if queue is not None:
            events, size = queue.events + len(submission.events), queue.size + submission.size
            if self._each.exceeded(events, size):
                return f"{queue.events} events of {queue.owner[1] or 'no owner'} wait to be stored already"
        if self.events and self._every.exceeded(
            self.events + len(submission.events), self.size + submission.size
        ):
            return f"{self.events} events wait to be stored already"
        return None

    def put(self, submission: Submission) -> None:
        """Let an submission wait behind those of its owner and those of its jobs."""
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
        self.events += count
        self.size += submission.size

    def take(self, room: float, space: int, beside: Sequence[Submission] = ()) -> list[Submission]:
        """Offers that cause `room` deliveries together or take `space` bytes: one at least, if one may go.

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
            cost = self._cost(submission)
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
            self.done(submission)
        if not queue.submissions:
            return None
        submission = queue.submissions[0]
        if is_large(submission) is not large:
            return None
        if not submission.after or all(
            before.finished or id(before) in together for before in submission.after
        ):
            return submission
        return None

    def _pop(self, queue: _Queue) -> None:
        queue.submissions.popleft()
        if not queue.submissions:
            self._turns.pop(queue.owner, None)

    def done(self, submission: Submission) -> None:
        """Forget an submission that is stored, refused or not wanted any more."""
        submission.finished = True
        submission.after.clear()
        queue = self._queues[submission.owner]
        queue.events -= len(submission.events)
        queue.size -= submission.size
        self.events -= len(submission.events)
        self.size -= submission.size
        for event in submission.events:
            job = (event.tenant, event.job_id)
            if self._last_of_job.get(job) is submission:
                del self._last_of_job[job]
        if not queue.submissions and not queue.events:
            del self._queues[queue.owner]

    def learn(self, submission: Submission, deliveries: int) -> None:
        """Note how many deliveries an submission caused."""
        if submission.events:
            fan_out = max(1.0, deliveries / len(submission.events))
            owner = submission.owner
            known = self._fan_out.get(owner)
            if known is None:
                # Each owner counts once, so that no one of them decides what is expected of the others.
                self._usual += (min(fan_out, FAN_OUT) - self._usual) / 16
                if len(self._fan_out) >= REMEMBERED:
                    del self._fan_out[next(iter(self._fan_out))]
            self._fan_out[owner] = fan_out if known is None else (known + fan_out) / 2

    def _cost(self, submission: Submission) -> float:
        """How many deliveries an submission is expected to cause, and no less than it has events."""
        count = len(submission.events)
        expected = self._fan_out.get(submission.owner, self._usual)
        if expected <= 1.0:
            return count or 1.0
        return max(1.0, count + min(count * (expected - 1), FAN_OUT))


def is_large(submission: Submission) -> bool:
    """Whether it is stored apart from others."""
    return len(submission.events) >= LARGE
