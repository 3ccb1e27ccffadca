"""A lane: what waits in memory for one destination, whose turn it is, and how much of it is tried at once.

Owners take turns, and within an owner the subscriptions. How many attempts run at once follows the answers: additive
increase, multiplicative decrease (Chiu and Jain 1989), with TCP's slow start (RFC 5681), for the destination and for
each subscription by itself, so that one that fails or hangs takes the places of no other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from cachetools import LRUCache

from dispatcher.domain.deliveries import OpenDelivery
from dispatcher.domain.subscriptions import Subscription

INITIAL_CONCURRENCY = 8
"""Attempts at once for a destination or a subscription that nothing is known of."""

SLOTS_PER_ATTEMPT = 16
"""Places in a lane for each attempt that may run at once: what a destination has not earned it cannot fill."""

REMEMBERED_QUEUES = 100
"""Subscriptions without work that a lane keeps for what was learned of them."""


class Limit:
    """How many attempts may run at once: `value`, at most `most`."""

    __slots__ = ("_cut_at", "_slow_start", "most", "value")

    def __init__(self, most: int) -> None:
        self.most = most
        self.value = float(min(INITIAL_CONCURRENCY, most))
        self._slow_start = True
        self._cut_at = 0.0

    def on_success(self) -> None:
        """Let more attempts run at once: one more each time until the first failure, then one more a round."""
        if self.value < self.most:
            self.value = min(self.most, self.value + (1.0 if self._slow_start else 1 / self.value))

    def on_failure(self, began: float, now: float) -> bool:
        """Halve what may run at once, once for all attempts that ran together (`began` and `now` on one clock)."""
        if began < self._cut_at:
            return False
        self.value = max(1.0, self.value / 2)
        self._slow_start = False
        self._cut_at = now
        return True

    def reset(self) -> None:
        """Begin with one attempt at a time: it has just come back."""
        self.value = 1.0
        self._slow_start = True


class _Queue:
    """What waits of one subscription, and what of it runs. `proven`: its last attempt was answered well."""

    __slots__ = ("limit", "owner", "proven", "reserved", "running", "subscription", "waiting")

    def __init__(self, subscription: str, owner: str, most: int) -> None:
        self.subscription = subscription
        self.owner = owner
        self.limit = Limit(most)
        self.waiting: deque[OpenDelivery] = deque()
        self.running = 0
        self.reserved = 0
        self.proven = False

    @property
    def load(self) -> int:
        return self.running + len(self.waiting) + self.reserved


class Lane:
    """One destination's queues, its running attempts and its promised places.

    `limit` is how many attempts may run at once now, `most` the highest that it may become. `has_store_backlog`: the
    store has deliveries that found no place here. `ended` counts what has left it.
    """

    __slots__ = (
        "_extra",
        "_idle",
        "_limit",
        "_queues",
        "_running_of",
        "_turns",
        "_unproven",
        "destination",
        "ended",
        "has_store_backlog",
        "most",
        "queued",
        "reserved",
        "running",
    )

    def __init__(self, destination: str, most: int) -> None:
        self.destination = destination
        self.most = most
        self.queued = 0
        self.reserved = 0
        self.running = 0
        self.has_store_backlog = False
        self.ended = 0
        # How many attempts may begin beyond `most`, each of an owner of whom nothing runs.
        self._extra = most // INITIAL_CONCURRENCY if most >= 2 * INITIAL_CONCURRENCY else 0
        self._limit = Limit(most)
        self._queues: dict[str, _Queue] = {}
        self._idle: LRUCache[str, _Queue] = LRUCache(REMEMBERED_QUEUES)
        self._turns: dict[str, deque[_Queue]] = {}  # by owner: those of which something waits
        self._running_of: dict[str, int] = {}
        self._unproven = 0

    @property
    def limit(self) -> float:
        """How many attempts may run at once now."""
        return self._limit.value

    @property
    def load(self) -> int:
        """How many places are taken: running, waiting and promised."""
        return self.running + self.queued + self.reserved

    def load_of(self, subscription: str) -> int:
        """How many places a subscription has taken."""
        queue = self._queues.get(subscription)
        return 0 if queue is None else queue.load

    # Places

    def reserve(self, subscription: str, owner: str) -> None:
        """Promise a place."""
        queue = self._queues.get(subscription)
        if queue is None:
            queue = self._idle.pop(subscription, None) or _Queue(subscription, owner, self.most)
            self._queues[subscription] = queue
        queue.reserved += 1
        self.reserved += 1

    def release(self, subscription: str) -> None:
        """Give a promised place back."""
        queue = self._queues[subscription]
        queue.reserved -= 1
        self.reserved -= 1
        self._retire(queue)

    def enter(self, delivery: OpenDelivery) -> None:
        """Let a delivery wait in its promised place."""
        queue = self._queues[delivery.subscription.id]
        queue.reserved -= 1
        self.reserved -= 1
        self.queued += 1
        if not queue.waiting:
            self._turns.setdefault(queue.owner, deque()).append(queue)
        queue.waiting.append(delivery)

    # Turns

    def take(self) -> OpenDelivery | None:
        """The delivery whose turn it is, which counts as running from now on; None when nothing may begin."""
        if not self._turns or self.running >= self.most + self._extra:
            return None
        # Asked after each attempt, and mostly in vain: then only an owner of whom nothing runs may begin.
        if self.running >= int(self._limit.value) and self._turns.keys() <= self._running_of.keys():
            return None
        for owner in list(self._turns):
            queue = self._next_of(owner)
            if queue is not None:
                self.queued -= 1
                self._begin(queue)
                if len(queue.waiting) == 1:
                    self._leave_turns(queue)
                return queue.waiting.popleft()
        return None

    def begin(self, subscription: str) -> bool:
        """Let a promised place run at once, without any delivery; False when nothing more of it may begin now."""
        queue = self._queues[subscription]
        if self.running >= self.most + self._extra or not self._may_begin(
            queue, idle=self._is_idle(queue.owner)
        ):
            return False
        queue.reserved -= 1
        self.reserved -= 1
        self._begin(queue)
        return True

    def finished(self, subscription: str) -> None:
        """What has run of a subscription has ended."""
        queue = self._queues[subscription]
        queue.running -= 1
        self.running -= 1
        self.ended += 1
        if not queue.proven:
            self._unproven -= 1
        left = self._running_of[queue.owner] - 1
        if left:
            self._running_of[queue.owner] = left
        else:
            del self._running_of[queue.owner]
        self._retire(queue)

    def take_queued(self, keep: Callable[[Subscription], bool] | None = None) -> list[OpenDelivery]:
        """Everything that waits and has not begun, but of the subscriptions to keep."""
        taken: list[OpenDelivery] = []
        for queue in [queue for turns in self._turns.values() for queue in turns]:
            if keep is None or not keep(queue.waiting[0].subscription):
                taken += queue.waiting
                self.queued -= len(queue.waiting)
                queue.waiting.clear()
                self._leave_turns(queue)
                self._retire(queue)
        return taken

    # What is learned

    def on_success(self, subscription: str) -> None:
        """An attempt was answered well."""
        self._limit.on_success()
        if (queue := self._queues.get(subscription)) is not None:
            queue.limit.on_success()
            self._prove(queue, proven=True)

    def on_failure(self, subscription: str, began: float, now: float, *, all_: bool) -> None:
        """An attempt failed, or was too much; `all_` when that is no fault of one subscription."""
        if (queue := self._queues.get(subscription)) is not None:
            queue.limit.on_failure(began, now)
            self._prove(queue, proven=False)
        if all_:
            self._limit.on_failure(began, now)

    def reset(self, subscription: str) -> None:
        """Begin with one attempt at a time: it has just come back."""
        if (queue := self._queues.get(subscription)) is not None:
            queue.limit.reset()
        if len(self._queues) <= 1:
            self._limit.reset()

    def _prove(self, queue: _Queue, *, proven: bool) -> None:
        if queue.proven != proven:
            queue.proven = proven
            self._unproven += -queue.running if proven else queue.running

    def _next_of(self, owner: str) -> _Queue | None:
        """The queue of an owner whose turn it is and that may begin one more; the owner goes to the end then."""
        turns = self._turns[owner]
        idle = self._is_idle(owner)
        if not idle and self.running >= int(self._limit.value):
            return None
        for _ in range(len(turns)):
            queue = turns[0]
            turns.rotate(-1)
            if self._may_begin(queue, idle=idle):
                if len(self._turns) > 1:
                    self._turns[owner] = self._turns.pop(owner)
                return queue
        return None

    def _is_idle(self, owner: str) -> bool:
        """One of an owner of whom nothing runs may always begin, whatever hangs of others."""
        return owner not in self._running_of and bool(self._extra or self.running < self.most)

    def _may_begin(self, queue: _Queue, *, idle: bool) -> bool:
        if queue.running >= int(queue.limit.value) or (not idle and self.running >= int(self._limit.value)):
            return False
        # Those of which nothing good is known leave half of the places to the others.
        return queue.proven or idle or not self._extra or self._unproven < self.most // 2

    def _begin(self, queue: _Queue) -> None:
        queue.running += 1
        self.running += 1
        self._running_of[queue.owner] = self._running_of.get(queue.owner, 0) + 1
        if not queue.proven:
            self._unproven += 1

    def _leave_turns(self, queue: _Queue) -> None:
        turns = self._turns[queue.owner]
        if turns[-1] is queue:
            turns.pop()
        else:
            turns.remove(queue)
        if not turns:
            del self._turns[queue.owner]

    def _retire(self, queue: _Queue) -> None:
        if queue.load == 0 and self._queues.pop(queue.subscription, None) is not None:
            self._idle[queue.subscription] = queue
