"""Deliveries and attempts: one event for one subscription, and each try to bring it there."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from dispatcher.domain.events import Event
from dispatcher.domain.subscriptions import Subscription


class State(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    """Waits in the store for its time, for room or for a subscription to be resumed."""
    DELIVERING = "delivering"
    """Claimed by a process that is trying it."""
    DELIVERED = "delivered"
    EXHAUSTED = "exhausted"
    """Given up: no retries left, too old, or refused for good. It can be sent again."""
    CANCELLED = "cancelled"
    """Stopped by a person, or with its subscription. It can be sent again."""
    SUPERSEDED = "superseded"
    """Not needed any more: another delivery ended a subscription that wanted one only."""

    @property
    def final(self) -> bool:
        """Whether nothing more happens by itself."""
        return self not in (State.PENDING, State.DELIVERING)


class OpenDelivery(Struct, frozen=True):
    """A delivery that has not ended, from the match that makes it, or the claim that reads it, to its outcome.

    `lease_id` is the lease under which it is claimed, 0 when it is not. A new one is stored claimed, to be tried at
    once; or due at `due_at`; or, without a time, held until somebody resumes its subscription. `group` is the group
    whose digest it goes into, for a subscription that gathers. `reason` says why it is due later than its subscription
    asks for: it never goes before `due_at` then.

    `attempts` have been made. When somebody sends it again its retry policy starts again: it counts the attempts after
    `restarted_after`, and the age from `since` on. `attempt_state` is what its target kind noted at the last attempt.
    """

    id: str
    event: Event
    subscription: Subscription
    lease_id: int = 0
    due_at: datetime | None = None
    since: datetime | None = None
    """None: since the acceptance of its event."""
    group: bytes | None = None
    reason: str | None = None
    attempts: int = 0
    restarted_after: int = 0
    attempt_state: str | None = None

    @property
    def age_from(self) -> datetime:
        """From when on its age counts."""
        return self.since or self.event.accepted_at


class Delivery(Struct, frozen=True, kw_only=True):
    """A delivery as it stands in the store."""

    id: str
    event_key: str
    event: str
    job_id: str
    subscription_id: str
    destination: str
    state: State
    attempts: int
    created_at: datetime
    due_at: datetime | None
    ended_at: datetime | None
    reason: str | None


class Attempt(Struct, frozen=True, kw_only=True):
    """One try of one delivery: when, how long (seconds), what was asked, what was answered or went wrong."""

    number: int
    started_at: datetime
    duration: float
    request: str
    status: int | None
    error: str | None
    answer: str | None


class Queue(Struct, frozen=True, kw_only=True):
    """What waits of one subscription for a destination: how many deliveries are due (as far as was looked)."""

    destination: str
    subscription_id: str
    tenant: str
    owner: str
    due: int


class Waiting(Struct, frozen=True, kw_only=True):
    """What waits for one destination: the queues of which something is due, and when the next delivery falls due.

    `complete`: there is no other queue of which something is due; else others are found after the subscription `last`.
    `next_due` is the earliest due time in the future.
    """

    queues: tuple[Queue, ...] = ()
    complete: bool = True
    last: str = ""
    next_due: datetime | None = None


class Share(NamedTuple):
    """How many deliveries of a subscription may be claimed."""

    subscription_id: str
    places: int


class DigestJoin(Struct, frozen=True):
    """That a delivery, whose event has `size` bytes, is to go with others of its subscription in one message."""

    subscription_id: str
    size: int


class Outcome(Struct, frozen=True, kw_only=True):
    """What became of a claimed delivery: its new state, and the attempt that led there if one was made.

    A `pending` outcome is due again at `due_at`; None holds it until its subscription is resumed. `attempt_state` is
    for the target kind at the next attempt. When an `ordered` one ends, the next delivery of its job may go; when one
    ends that `leads` a digest, its members end in the same way. One that `joins` waits for a digest that goes at
    `due_at`.
    """

    delivery_id: str
    state: State
    attempts: int
    due_at: datetime | None
    ended_at: datetime | None
    reason: str | None
    attempt: Attempt | None
    attempt_state: str | None = None
    ordered: bool = False
    leads: bool = False
    joins: DigestJoin | None = None


class ExpiredDelivery(Struct, frozen=True):
    """A delivery that waited for longer than its subscription allows (`max_age` seconds)."""

    id: str
    kind: str
    max_age: float
