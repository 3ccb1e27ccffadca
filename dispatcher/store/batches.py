"""Batches on their way into the store: what is new in them, and their rows for statements that take many."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from hashlib import blake2b

from msgspec import Struct

from dispatcher.domain.deliveries import NewDelivery, Outcome, State
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.jobs import Job, project
from dispatcher.domain.permissions import Permission, permission_of
from dispatcher.store.columns import CODES
from dispatcher.store.rows import safe, safe_or_none

RowTuple = tuple[object, ...]

IDENTITY = {"digest": "uuid", "event_key": "uuid"}
EVENT = {
    "key": "uuid",
    "time": "timestamptz",
    "accepted_at": "timestamptz",
    "tenant": "text",
    "id": "text",
    "source": "text",
    "type": "text",
    "event": "text",
    "job_id": "text",
    "owner": "text",
    "job_owner": "text",
    "document": "bytea",
}
DELIVERY = {
    "id": "uuid",
    "event_key": "uuid",
    "subscription_id": "uuid",
    "tenant": "text",
    "subscriber": "text",
    "destination": "text",
    "since": "timestamptz",
    "claimed": "bool",
    "due_at": "timestamptz",
}
JOB = {
    "tenant": "text",
    "id": "text",
    "first_event": "uuid",
    "last_event": "uuid",
    "updated_at": "timestamptz",
    "status_at": "timestamptz",
    "submitted_at": "timestamptz",
    "started_at": "timestamptz",
    "ended_at": "timestamptz",
    "events": "int",
    "owner": "text",
    "status": "text",
    "message": "text",
    "name": "text",
    "app_id": "text",
    "system": "text",
}
PERMISSION = {"tenant": "text", "job_id": "text", "username": "text", "granted": "bool", "at": "timestamptz"}
OUTCOME = {
    "id": "uuid",
    "state": "smallint",
    "attempts": "int",
    "due_at": "timestamptz",
    "ended_at": "timestamptz",
    "reason": "text",
}
ATTEMPT = {
    "delivery_id": "uuid",
    "number": "int",
    "started_at": "timestamptz",
    "duration": "double precision",
    "status": "int",
    "request": "text",
    "error": "text",
    "answer": "text",
}
"""The columns of each kind of row, in its order, with their types in PostgreSQL."""


class Encoding(Struct, frozen=True):
    """How a database's driver takes ids and times."""

    id: Callable[[str], object]
    moment: Callable[[datetime], object]

    def moment_or_none(self, moment: datetime | None) -> object:
        """The same for a time that may be missing."""
        return None if moment is None else self.moment(moment)


class Batch:
    """The events of one acceptance that are new, as far as is known, and what follows from them.

    `duplicates` names, for each event that is not new, its key and the key of the one that was there.
    """

    def __init__(self, events: Sequence[Event], deliveries: Sequence[NewDelivery]) -> None:
        self._all_deliveries = deliveries
        self._new: dict[bytes, Event] = {}
        self.duplicates: dict[str, str] = {}
        for event in events:
            first = self._new.setdefault(digest(event), event)
            if first is not event:
                self.duplicates[event.key] = first.key

    def leave_out(self, stored: Mapping[bytes, str]) -> None:
        """Leave out events whose digests are stored, each with the key that it is stored under.

        Its own key says that an earlier call stored it, whose answer was lost.
        """
        known = {self._new.pop(identity).key: key for identity, key in stored.items()}
        self.duplicates = {new: known.get(old, old) for new, old in self.duplicates.items()} | known

    @property
    def digests(self) -> Collection[bytes]:
        """The digests of the new events."""
        return self._new.keys()

    @property
    def identities(self) -> list[tuple[bytes, str]]:
        """Digest and key of the new events, sorted, so that two batches cannot wait for each other."""
        return sorted((identity, event.key) for identity, event in self._new.items())

    @property
    def events(self) -> list[Event]:
        """The new events."""
        return list(self._new.values())

    @property
    def jobs(self) -> list[Job]:
        """The projections that the new events add, sorted by tenant and job."""
        return project(self._new.values())

    @property
    def deliveries(self) -> list[NewDelivery]:
        """The deliveries of the new events."""
        keys = {event.key for event in self._new.values()}
        return [delivery for delivery in self._all_deliveries if delivery.event.key in keys]

    @property
    def permissions(self) -> list[Permission]:
        """What the new events say about permissions: the newest for each job and user, sorted."""
        newest: dict[tuple[str, str, str], Permission] = {}
        for event in self._new.values():
            told = permission_of(event)
            if told is None:
                continue
            known = newest.get((told.tenant, told.job_id, told.user))
            if known is None or told.at >= known.at:
                newest[told.tenant, told.job_id, told.user] = told
        return [newest[key] for key in sorted(newest)]


def digest(event: Event) -> bytes:
    """16 bytes that are the same for the same event only; the lengths keep the parts apart."""
    text = f"{len(event.tenant)}:{len(event.source)}:{event.tenant}{event.source}{event.id}"
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def ordered(deliveries: Sequence[NewDelivery]) -> list[NewDelivery]:
    """Those that take turns."""
    return [delivery for delivery in deliveries if delivery.subscription.ordered]


def held(delivery: NewDelivery) -> bool:
    """Whether it waits for its subscription to be resumed."""
    return not delivery.claimed and delivery.due_at is None


def held_outcome(outcome: Outcome) -> bool:
    """Whether a delivery waits for its subscription to be resumed after this."""
    return outcome.state is State.PENDING and outcome.due_at is None


def event_rows(events: Sequence[Event], jobs: Sequence[Job], to: Encoding) -> list[RowTuple]:
    """Rows of EVENT; `jobs` are the projections of these events."""
    owners = {(job.tenant, job.id): job.owner for job in jobs}
    return [
        (
            to.id(event.key),
            to.moment(event.time),
            to.moment(event.accepted_at),
            safe(event.tenant),
            safe(event.id),
            safe(event.source),
            safe(event.type),
            safe(event.event),
            safe(event.job_id),
            safe_or_none(event.owner),
            safe_or_none(event.owner or owners[event.tenant, event.job_id]),
            event.document,
        )
        for event in events
    ]


def delivery_rows(
    deliveries: Sequence[NewDelivery], resumed: Collection[str], to: Encoding
) -> list[RowTuple]:
    """Rows of DELIVERY. What was to be held for a subscription that was `resumed` meanwhile is due now."""
    now = utc_now()
    return [
        (
            to.id(delivery.id),
            to.id(delivery.event.key),
            to.id(delivery.subscription.id),
            safe(delivery.event.tenant),
            safe(delivery.subscription.subscriber),
            safe(delivery.subscription.destination),
            to.moment_or_none(delivery.since),
            delivery.claimed,
            to.moment_or_none(
                now if held(delivery) and delivery.subscription.id in resumed else delivery.due_at
            ),
        )
        for delivery in deliveries
    ]


def job_rows(jobs: Sequence[Job], to: Encoding) -> list[RowTuple]:
    """Rows of JOB. An empty text is none, so that the first real one wins."""
    return [
        (
            safe(job.tenant),
            safe(job.id),
            to.id(job.first_event),
            to.id(job.last_event),
            to.moment(job.updated_at),
            to.moment_or_none(job.status_at),
            to.moment_or_none(job.submitted_at),
            to.moment_or_none(job.started_at),
            to.moment_or_none(job.ended_at),
            job.events,
            *(safe_or_none(text or None) for text in (job.owner, job.status, job.message)),
            *(safe_or_none(text or None) for text in (job.name, job.app_id, job.system)),
        )
        for job in jobs
    ]


def permission_rows(permissions: Sequence[Permission], to: Encoding) -> list[RowTuple]:
    """Rows of PERMISSION."""
    return [
        (safe(told.tenant), safe(told.job_id), safe(told.user), told.granted, to.moment(told.at))
        for told in permissions
    ]


def outcome_rows(outcomes: Sequence[Outcome], resumed: Collection[str], to: Encoding) -> list[RowTuple]:
    """Rows of OUTCOME. What was to be held is due now when its delivery is in `resumed`."""
    now = utc_now()
    return [
        (
            to.id(outcome.delivery_id),
            CODES[outcome.state],
            outcome.attempts,
            to.moment_or_none(now if outcome.delivery_id in resumed else outcome.due_at),
            to.moment_or_none(outcome.ended_at),
            safe_or_none(outcome.reason),
        )
        for outcome in outcomes
    ]


def attempt_rows(outcomes: Sequence[Outcome], to: Encoding) -> list[RowTuple]:
    """Rows of ATTEMPT, for the outcomes that an attempt led to."""
    return [
        (
            to.id(outcome.delivery_id),
            attempt.number,
            to.moment(attempt.started_at),
            attempt.duration,
            attempt.status,
            safe(attempt.request),
            safe_or_none(attempt.error),
            safe_or_none(attempt.answer),
        )
        for outcome in outcomes
        if (attempt := outcome.attempt) is not None
    ]
