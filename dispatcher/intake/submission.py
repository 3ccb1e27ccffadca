"""A submission: the events of one message or request on their way into the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from msgspec import Struct

from dispatcher.domain.deliveries import OpenDelivery
from dispatcher.domain.errors import InvalidInput, StoreUnavailable
from dispatcher.domain.events import Event
from dispatcher.domain.expansions import NewExpansion

SourceName: TypeAlias = str
"""Such as "http" and "amqp": metrics count events by it."""

Result = Mapping[str, str] | InvalidInput
"""Of stored events the keys of the duplicates, and of what was there before; or why none can be stored."""

Owner = tuple[str, str | None]
"""Tenant and owner."""


class Limits(Struct, frozen=True):
    """How many events may wait, and how many bytes of memory they may take."""

    events: int
    size: int

    def exceeded(self, events: int, size: int) -> bool:
        """Whether so much is too much."""
        return events > self.events or size > self.size


class Busy(StoreUnavailable):
    """More events wait to be stored than the ingest queue takes, or it is closed. Nothing was changed."""


class NotStored(StoreUnavailable):
    """Events were not stored in time; the message says why. They may be stored still."""


class Submission(Struct, eq=False):
    """The events of one message or request, stored together or not at all; `on_stored` gets the result."""

    events: Sequence[Event]
    source: SourceName
    on_stored: Callable[[Result], None]
    size: int
    """Bytes of memory that the events take."""
    owner: Owner = ("", None)
    """Tenant and owner of the first event: whose turn it is to store them."""
    deliveries: list[OpenDelivery] | None = None
    """What they cause; None until they are matched."""
    expansions: Sequence[NewExpansion] = ()
    """The orders to make what they cause beside it."""
    lease_id: int | None = None
    """Under which lease they were tried to be stored when the store did not answer."""
    suspect_since: int | None = None
    """How many batches had been stored when they failed alone for the first time."""
    problem: str = "others are stored before them"
    """Why they are not stored yet."""
    withdrawn: bool = False
    """No one waits for them any more; they need not be tried."""
    skipped: bool = False
    """They were dropped before they were stored."""
    finished: bool = False
    """They are stored, refused or withdrawn."""
    after: list[Submission] = []
    """What has to be stored before them, because it has events of the same jobs."""

    @property
    def caused(self) -> int:
        """How many deliveries they cause."""
        return len(self.deliveries or ()) + sum(one.count for one in self.expansions)

    @property
    def dropped(self) -> bool:
        """Whether they are not to be stored any more. What may be stored already has to be found out."""
        return self.withdrawn and self.lease_id is None
