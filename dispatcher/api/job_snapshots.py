"""What somebody may see of a job at a moment, and whether that is what is waited for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cached_property

from msgspec import Struct

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.event_names import check_patterns, event_matcher
from dispatcher.domain.events import Event
from dispatcher.store.filters import EventFilter, Window
from dispatcher.store.job_changes import JobKey
from dispatcher.store.store import Store
from dispatcher.store.waits import Version

SHOWN = 10
"""How many of a job's events a snapshot has usually."""

MAX_NAMES = 64
"""How many names there may be; subscriptions may have as many."""


class EventSummary(Struct, frozen=True, kw_only=True):
    """What is said of an event of a job."""

    key: str
    event: str
    time: datetime
    message: str | None


class JobSnapshot(Struct, frozen=True, kw_only=True):
    """A job as somebody may see it: its status, and some of its latest events, the newest first.

    `all_shown`: it has no others.
    """

    status: str | None
    terminal: bool
    updated_at: datetime
    message: str | None
    latest: Sequence[EventSummary]
    all_shown: bool

    @property
    def newest(self) -> EventSummary | None:
        """The latest event."""
        return self.latest[0] if self.latest else None

    def follows(self, earlier: JobSnapshot | None) -> bool:
        """Whether all events are shown that came after another snapshot."""
        if self.all_shown:
            return True
        known = None if earlier is None else earlier.newest
        return known is not None and self.latest[-1].key <= known.key


class WaitResult(Struct, frozen=True):
    """The answer to a request that waits: whether it holds, and with which event; the latest one when it does not."""

    reached: bool
    snapshot: JobSnapshot | None = None
    event: EventSummary | None = None


class Until(Struct, frozen=True, dict=True):
    """What is waited for: the end of the job (`patterns` is None), or an event that they select, newer than `after`."""

    patterns: tuple[str, ...] | None
    after: str | None = None

    def evaluate(self, snapshot: JobSnapshot | None) -> WaitResult:
        """Whether it holds, as far as a snapshot shows."""
        if snapshot is None:
            return WaitResult(reached=False)
        if self.patterns is None:
            return WaitResult(
                snapshot.terminal, snapshot, _ending(snapshot) if snapshot.terminal else snapshot.newest
            )
        found = next(
            (event for event in snapshot.latest if self._is_new(event) and self._selects(event.event)), None
        )
        return WaitResult(found is not None, snapshot, found or snapshot.newest)

    def may_be_older(self, snapshot: JobSnapshot) -> bool:
        """Whether it may hold with an event that the snapshot does not show."""
        return self.patterns is not None and not snapshot.all_shown and self._is_new(snapshot.latest[-1])

    @cached_property
    def _selects(self) -> Callable[[str], bool]:
        return event_matcher(self.patterns or ())

    def _is_new(self, event: EventSummary) -> bool:
        return self.after is None or event.key > self.after


def parse_until(text: str, after: str | None) -> Until:
    """`terminal`, `change`, or names with commas as subscriptions have them. Raises InvalidInput."""
    if text == "terminal":
        return Until(None)
    if text == "change":
        return Until(("*",), after)
    patterns = tuple(name.strip() for name in text.split(","))
    if len(patterns) > MAX_NAMES:
        raise InvalidInput("until", f"expected at most {MAX_NAMES} event names, got {len(patterns)}")
    check_patterns(patterns, "until")
    return Until(patterns, after)


async def read_snapshot(
    store: Store, job: JobKey, viewer: str | None, limit: int = SHOWN
) -> tuple[Version, JobSnapshot | None]:
    """What a viewer (None: an admin) may see of a job, with so many events; None when it may not be seen.

    What comes after it was read gives the job another version. Raises StoreUnavailable.
    """
    seen = await store.waits.seen(job, viewer, limit)
    known = seen.job
    if known is None:
        return seen.version, None
    snapshot = JobSnapshot(
        status=known.status,
        terminal=known.terminal,
        updated_at=known.updated_at,
        message=known.message,
        latest=[_summary(event) for event in seen.events.items],
        all_shown=seen.events.next is None,
    )
    return seen.version, snapshot


async def find_older(store: Store, job: JobKey, viewer: str | None, until: Until) -> EventSummary | None:
    """The newest event with which it holds, however many events there are. Raises StoreUnavailable."""
    tenant, job_id = job
    which = EventFilter(
        tenant=tenant,
        visible_to=viewer,
        job_id=job_id,
        selected=until.patterns or (),
        after=until.after,
    )
    found = (await store.events.page(which, Window(limit=1))).items
    return _summary(found[0]) if found else None


def _summary(event: Event) -> EventSummary:
    return EventSummary(key=event.key, event=event.event, time=event.time, message=event.message)


def _ending(snapshot: JobSnapshot) -> EventSummary | None:
    """The event with which the job ended, as far as it can be seen."""
    return next((event for event in snapshot.latest if event.event == snapshot.status), snapshot.newest)
