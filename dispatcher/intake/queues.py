"""Queues of what waits to be stored: one for each owner, which take turns, so that nobody's flood holds up the others.

They take turns by deficit round robin (Shreedhar and Varghese 1995). One owner's events stay in their order, and so do
those of one job, whoever they name as its owner.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Collection, Sequence

from msgspec import Struct

from dispatcher.domain.expansions import FAN_OUT
from dispatcher.intake.commit import Offer

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
    offers: deque[Offer]
    credit: float = 0.0
    events: int = 0
    size: int = 0


class _Batch:
    """What is taken, and how much more may be: deliveries and bytes."""

    def __init__(self, room: float, space: int, beside: Sequence[Offer]) -> None:
        self.room = room
        self.space = space
        self.offers: list[Offer] = []
        self.together = set(map(id, beside))

    @property
    def full(self) -> bool:
        return self.room <= 0 or self.space <= 0

    def add(self, offer: Offer, cost: float) -> None:
        self.room -= cost
        self.space -= offer.size
        self.offers.append(offer)
        self.together.add(id(offer))


class Queues:
    """The offers that wait. `every` bounds all of them together, `each` those of one owner."""

    def __init__(self, every: Limits, each: Limits) -> None:
        self._every = every
        self._each = each
        self._queues: dict[Owner, _Queue] = {}
        self._turns: OrderedDict[Owner, _Queue] = OrderedDict()
        self._last_of_job: dict[tuple[str, str], Offer] = {}
        self._fan_out: dict[Owner, float] = {}
        self._usual = 1.0
        self.events = 0
        """Events that were offered and are not stored yet."""
        self.size = 0
        """What these take in memory."""

    def refusal(self, offer: Offer) -> str | None:
        """Why there is no room for an offer now, None when there is. An owner of whom nothing waits has room."""
        queue = self._queues.get(offer.owner)
        if queue is not None:
            events, size = queue.events + len(offer.events), queue.size + offer.size
            if self._each.exceeded(events, size):
                return f"{queue.events} events of {queue.owner[1] or 'no owner'} wait to be stored already"
        if self.events and self._every.exceeded(self.events + len(offer.events), self.size + offer.size):
            return f"{self.events} events wait to be stored already"
        return None

    def put(self, offer: Offer) -> None:
        """Let an offer wait behind those of its owner and those of its jobs."""
        owner, count = offer.owner, len(offer.events)
        queue = self._queues.get(owner)
        if queue is None:
            queue = self._queues[owner] = _Queue(owner, deque())
        for event in offer.events:
            job = (event.tenant, event.job_id)
            before = self._last_of_job.get(job)
            if before is not None and before is not offer:
                offer.after.append(before)
            self._last_of_job[job] = offer
        queue.offers.append(offer)
        if owner not in self._turns:
            queue.credit = 0.0  # who had nothing to send has saved nothing up
            self._turns[owner] = queue
        queue.events += count
        queue.size += offer.size
        self.events += count
        self.size += offer.size

    def take(self, room: float, space: int, beside: Sequence[Offer] = ()) -> list[Offer]:
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
        return batch.offers

    def _round(self, batch: _Batch, quantum: float) -> float | None:
        """Give each queue a turn. How much more credit all need until somebody has enough; None when nobody may go."""
        before, lacking = len(batch.offers), list[float]()
        for queue in list(self._turns.values()):
            queue.credit += quantum
            lack = self._serve(queue, batch)
            if lack is not None:
                lacking.append(lack)
            if queue.owner in self._turns:
                self._turns.move_to_end(queue.owner)
            if batch.full:
                break
        if len(batch.offers) > before:
            return 0.0
        return min(lacking) if lacking else None

    def _serve(self, queue: _Queue, batch: _Batch) -> float | None:
        """Take what a queue has credit for. How much it lacks for the next one, None when that is not the reason."""
        while not batch.full and (offer := self._first(queue, batch.together, large=False)) is not None:
            cost = self._cost(offer)
            if cost > queue.credit:
                return cost - queue.credit
            queue.credit -= cost
            self._pop(queue)
            batch.add(offer, cost)
        return None

    def take_large(self) -> Offer | None:
        """The next large offer, if one may go: `done` is to be called for it. Its owner's others wait until then."""
        for queue in list(self._turns.values()):
            offer = self._first(queue, (), large=True)
            if offer is not None:
                self._turns.move_to_end(queue.owner)
                self._pop(queue)
                return offer
        return None

    def _first(self, queue: _Queue, together: Collection[int], *, large: bool) -> Offer | None:
        """The first offer of a queue, if it may go now: alone, or in a batch with these."""
        while queue.offers and queue.offers[0].withdrawn:
            offer = queue.offers[0]
            self._pop(queue)
            self.done(offer)
        if not queue.offers:
            return None
        offer = queue.offers[0]
        if is_large(offer) is not large:
            return None
        if not offer.after or all(before.finished or id(before) in together for before in offer.after):
            return offer
        return None

    def _pop(self, queue: _Queue) -> None:
        queue.offers.popleft()
        if not queue.offers:
            self._turns.pop(queue.owner, None)

    def done(self, offer: Offer) -> None:
        """Forget an offer that is stored, refused or not wanted any more."""
        offer.finished = True
        offer.after.clear()
        queue = self._queues[offer.owner]
        queue.events -= len(offer.events)
        queue.size -= offer.size
        self.events -= len(offer.events)
        self.size -= offer.size
        for event in offer.events:
            job = (event.tenant, event.job_id)
            if self._last_of_job.get(job) is offer:
                del self._last_of_job[job]
        if not queue.offers and not queue.events:
            del self._queues[queue.owner]

    def learn(self, offer: Offer, deliveries: int) -> None:
        """Note how many deliveries an offer caused."""
        if offer.events:
            fan_out = max(1.0, deliveries / len(offer.events))
            owner = offer.owner
            known = self._fan_out.get(owner)
            if known is None:
                # Each owner counts once, so that no one of them decides what is expected of the others.
                self._usual += (min(fan_out, FAN_OUT) - self._usual) / 16
                if len(self._fan_out) >= REMEMBERED:
                    del self._fan_out[next(iter(self._fan_out))]
            self._fan_out[owner] = fan_out if known is None else (known + fan_out) / 2

    def _cost(self, offer: Offer) -> float:
        """How many deliveries an offer is expected to cause, and no less than it has events."""
        count = len(offer.events)
        expected = self._fan_out.get(offer.owner, self._usual)
        if expected <= 1.0:
            return count or 1.0
        return max(1.0, count + min(count * (expected - 1), FAN_OUT))


def is_large(offer: Offer) -> bool:
    """Whether it is stored apart from others."""
    return len(offer.events) >= LARGE
