"""Batches on their way into the store: what is new in them, and the columns that they fill."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from hashlib import blake2b

from dispatcher.domain.deliveries import OpenDelivery, Outcome, State
from dispatcher.domain.events import Event
from dispatcher.domain.expansions import NewExpansion

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
    "published_by": "text",
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
    "reason": "text",
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
GRANT = {
    "tenant": "text",
    "job_id": "text",
    "username": "text",
    "granted": "bool",
    "trusted": "bool",
    "at": "timestamptz",
    "owner": "text",
}
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


class Batch:
    """The events of one acceptance that are new, as far as is known, and what follows from them.

    `duplicates` names, for each event that is not new, its key and the key of the one that was there.
    """

    def __init__(
        self,
        events: Sequence[Event],
        deliveries: Sequence[OpenDelivery],
        expansions: Sequence[NewExpansion] = (),
    ) -> None:
        self._all_deliveries = deliveries
        self._all_expansions = expansions
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
    def identified(self) -> list[tuple[bytes, Event]]:
        """The new events, each with the digest of its identity."""
        return list(self._new.items())

    @property
    def events(self) -> list[Event]:
        """The new events."""
        return list(self._new.values())

    @property
    def deliveries(self) -> list[OpenDelivery]:
        """The deliveries of the new events."""
        if not self.duplicates:
            return list(self._all_deliveries)
        keys = {event.key for event in self._new.values()}
        return [delivery for delivery in self._all_deliveries if delivery.event.key in keys]

    @property
    def expansions(self) -> list[NewExpansion]:
        """The orders to deliver the new events later."""
        if not self._all_expansions:
            return []
        keys = {event.key for event in self._new.values()}
        return [one for one in self._all_expansions if one.event.key in keys]

    @property
    def jobs_to_look_up(self) -> list[tuple[str, str]]:
        """Tenant and id of the jobs of which it must be known whose they are, sorted.

        None unless some of the events were published with an owner's own key; then all of the batch, so that they are
        locked in the order in which they change.
        """
        events = self._new.values()
        if all(event.published_by is None for event in events):
            return []
        return sorted({(event.tenant, event.job_id) for event in events})


def digest(event: Event) -> bytes:
    """16 bytes that are the same for the same event only; the lengths keep the parts apart.

    Those of a trusted publisher are what they always were; an owner's own have a domain of hashes for themselves.
    """
    text = f"{len(event.tenant)}:{len(event.source)}:{event.tenant}{event.source}{event.id}"
    if event.published_by is None:
        return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    owned = f"{len(event.published_by)}:{event.published_by}{text}"
    return blake2b(owned.encode("utf-8", "surrogatepass"), digest_size=16, person=b"owner").digest()


def ordered(deliveries: Sequence[OpenDelivery]) -> list[OpenDelivery]:
    """Those that take turns."""
    return [delivery for delivery in deliveries if delivery.subscription.ordered]


def not_before(delivery: OpenDelivery) -> datetime | None:
    """When it may go at the earliest, whenever it is its turn; None when that is all that counts."""
    return None if delivery.reason is None else delivery.due_at


def held(delivery: OpenDelivery) -> bool:
    """Whether it waits for its subscription to be resumed."""
    return not delivery.lease_id and delivery.due_at is None


def held_outcome(outcome: Outcome) -> bool:
    """Whether a delivery waits for its subscription to be resumed after this."""
    return outcome.state is State.PENDING and outcome.due_at is None
