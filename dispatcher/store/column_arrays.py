"""A batch as the drivers take it: the values of each column in an array, and rows of these for who wants rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from dispatcher.domain.deliveries import OpenDelivery, Outcome
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.jobs import Job
from dispatcher.store.batches import held
from dispatcher.store.column_types import CODES
from dispatcher.store.job_changes import Grant
from dispatcher.store.mapping import safe, safe_or_none

Column = Sequence[object]
RowTuple = tuple[object, ...]


class Encoding(Struct, frozen=True):
    """How a database's driver takes digests, ids and times, a column at once; a time may be missing."""

    digests: Callable[[Sequence[bytes]], Column]
    ids: Callable[[Sequence[str]], Column]
    moments: Callable[[Sequence[datetime | None]], Column]


def rows(columns: Sequence[Column]) -> list[RowTuple]:
    """The same values row by row."""
    return list(zip(*columns, strict=True))


def parameters(kinds: Mapping[str, str], columns: Sequence[Column]) -> list[Column | str]:
    """The columns for asyncpg, of these kinds: none of their values are sent where all are missing.

    `unnest` fills shorter arrays with NULL. Texts go as one text, an array as PostgreSQL writes it: asyncpg asks each
    value of an array what it is, which takes ten times as long.
    """
    return [
        _array(column) if kind == "text" else () if _is_empty(column) else column
        for kind, column in zip(kinds.values(), columns, strict=True)
    ]


def _is_empty(column: Column) -> bool:
    return bool(column) and column[0] is None and column.count(None) == len(column)


def _array(texts: Column) -> str:
    """An array of texts, some of which may be missing (PostgreSQL's documentation, 8.15.6)."""
    if not texts or _is_empty(texts):
        return "{}"
    together = None if None in texts else '","'.join(map(str, texts))
    if together is None or "\\" in together or together.count('"') > 2 * (len(texts) - 1):
        return "{" + ",".join(["NULL" if text is None else _quoted(str(text)) for text in texts]) + "}"
    return f'{{"{together}"}}'


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def of_identities(identified: Sequence[tuple[bytes, Event]], to: Encoding) -> list[Column]:
    """Columns of IDENTITY, sorted, so that two batches cannot wait for each other."""
    identities = sorted((digest, event.key) for digest, event in identified)
    return [to.digests([digest for digest, _ in identities]), to.ids([key for _, key in identities])]


def of_events(events: Sequence[Event], to: Encoding) -> list[Column]:
    """Columns of EVENT. For one without an owner, whose its job is is looked up as it is stored."""
    return [
        to.ids([event.key for event in events]),
        to.moments([event.time for event in events]),
        to.moments([event.accepted_at for event in events]),
        _texts([event.tenant for event in events]),
        _texts([event.id for event in events]),
        _texts([event.source for event in events]),
        _texts([event.type for event in events]),
        _texts([event.event for event in events]),
        _texts([event.job_id for event in events]),
        _maybe([event.owner for event in events]),
        _maybe([event.published_by for event in events]),
        _maybe([event.owner for event in events]),
        [event.document for event in events],
    ]


def of_deliveries(deliveries: Sequence[OpenDelivery], resumed: Collection[str], to: Encoding) -> list[Column]:
    """Columns of DELIVERY. What was to be held for a subscription that was `resumed` meanwhile is due now."""
    due = [one.due_at for one in deliveries]
    if resumed:
        now = utc_now()
        due = [now if held(one) and one.subscription.id in resumed else one.due_at for one in deliveries]
    return [
        to.ids([one.id for one in deliveries]),
        to.ids([one.event.key for one in deliveries]),
        to.ids([one.subscription.id for one in deliveries]),
        _texts([one.event.tenant for one in deliveries]),
        _texts([one.subscription.subscriber for one in deliveries]),
        _texts([one.subscription.destination for one in deliveries]),
        to.moments([one.since for one in deliveries]),
        _maybe([one.reason for one in deliveries]),
        [one.lease_id > 0 for one in deliveries],
        to.moments(due),
    ]


def of_jobs(jobs: Sequence[Job], to: Encoding) -> list[Column]:
    """Columns of JOB. An empty text is none, so that the first real one wins."""
    return [
        _texts([job.tenant for job in jobs]),
        _texts([job.id for job in jobs]),
        to.ids([job.first_event for job in jobs]),
        to.ids([job.last_event for job in jobs]),
        to.moments([job.updated_at for job in jobs]),
        to.moments([job.status_at for job in jobs]),
        to.moments([job.submitted_at for job in jobs]),
        to.moments([job.started_at for job in jobs]),
        to.moments([job.ended_at for job in jobs]),
        [job.events for job in jobs],
        _maybe([job.owner or None for job in jobs]),
        _maybe([job.status or None for job in jobs]),
        _maybe([job.message or None for job in jobs]),
        _maybe([job.name or None for job in jobs]),
        _maybe([job.app_id or None for job in jobs]),
        _maybe([job.system or None for job in jobs]),
    ]


def of_grants(grants: Sequence[Grant], to: Encoding) -> list[Column]:
    """Columns of GRANT."""
    permissions = [grant.permission for grant in grants]
    return [
        _texts([permission.tenant for permission in permissions]),
        _texts([permission.job_id for permission in permissions]),
        _texts([permission.user for permission in permissions]),
        [permission.granted for permission in permissions],
        [grant.trusted for grant in grants],
        to.moments([permission.at for permission in permissions]),
        _maybe([permission.owner for permission in permissions]),
    ]


def of_outcomes(outcomes: Sequence[Outcome], resumed: Collection[str], to: Encoding) -> list[Column]:
    """Columns of OUTCOME. What was to be held is due now when its delivery is in `resumed`."""
    now = utc_now() if resumed else None
    return [
        to.ids([outcome.delivery_id for outcome in outcomes]),
        [CODES[outcome.state] for outcome in outcomes],
        [outcome.attempts for outcome in outcomes],
        to.moments([now if outcome.delivery_id in resumed else outcome.due_at for outcome in outcomes]),
        to.moments([outcome.ended_at for outcome in outcomes]),
        _maybe([outcome.reason for outcome in outcomes]),
    ]


def of_attempts(outcomes: Sequence[Outcome], to: Encoding) -> list[Column]:
    """Columns of ATTEMPT, for the outcomes that an attempt led to."""
    made = [(one.delivery_id, one.attempt) for one in outcomes if one.attempt is not None]
    attempts = [attempt for _, attempt in made]
    return [
        to.ids([delivery_id for delivery_id, _ in made]),
        [attempt.number for attempt in attempts],
        to.moments([attempt.started_at for attempt in attempts]),
        [attempt.duration for attempt in attempts],
        [attempt.status for attempt in attempts],
        _texts([attempt.request for attempt in attempts]),
        _maybe([attempt.error for attempt in attempts]),
        _maybe([attempt.answer for attempt in attempts]),
    ]


def _texts(values: list[str]) -> Column:
    """The values, safe for a text column. Nearly always they all are, so they are looked at together."""
    together = "".join(values)
    return values if together.isascii() and "\0" not in together else [safe(value) for value in values]


def _maybe(values: list[str | None]) -> Column:
    """The same for texts that may be missing."""
    together = "".join([value for value in values if value])
    return (
        values if together.isascii() and "\0" not in together else [safe_or_none(value) for value in values]
    )
