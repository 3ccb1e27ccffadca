"""Rows and what they mean: between the tables and the domain's structs."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from dispatcher.domain.deliveries import Attempt, Delivery, State
from dispatcher.domain.destinations import Breaker, Destination, RateLimit
from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.events import Event
from dispatcher.domain.ids import Prefix, is_id
from dispatcher.domain.jobs import Job
from dispatcher.domain.keys import ApiKey
from dispatcher.store.column_types import EPOCH, MICROSECOND, microseconds
from dispatcher.store.schema import attempts, deliveries, events, jobs, unclaimed_jobs

Filter = TypeVar("Filter", bound=Struct)

Row = Mapping[str, Any]
"""A row by the names of its columns."""

EVENT = [events.c[name] for name in Event.__struct_fields__]
JOB = [jobs.c[name] for name in Job.__struct_fields__]
UNCLAIMED_JOB = [unclaimed_jobs.c[name] for name in Job.__struct_fields__]
ATTEMPT = [attempts.c[name] for name in Attempt.__struct_fields__]
DELIVERY = [
    *(deliveries.c[name] for name in ("id", "event_key", "subscription_id", "state", "attempts")),
    *(deliveries.c[name] for name in ("destination", "due_at", "ended_at", "reason")),
    *(events.c.event, events.c.job_id),
]


def safe(text: str) -> str:
    """`text` with U+FFFD for what a text column does not take: NUL and lone surrogates.

    What receivers answer and publishers name passes through here: no character of theirs stops a batch.
    """
    if text.isascii() and "\0" not in text:
        return text
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole.replace("\0", "\N{REPLACEMENT CHARACTER}")


def safe_or_none(text: str | None) -> str | None:
    """The same for a text that may be missing."""
    return None if text is None else safe(text)


def safe_filter(which: Filter) -> Filter:
    """The filter with texts that a database takes: they come from anywhere."""
    texts = {name: value for name in which.__struct_fields__ if type(value := getattr(which, name)) is str}
    return msgspec.structs.replace(which, **{name: safe(text) for name, text in texts.items()})


def known_id(prefix: Prefix, field: str, text: str) -> str:
    """`text` itself. InvalidInput when it is not the id of such a thing."""
    if not is_id(prefix, text):
        raise InvalidInput(field, f"expected {prefix}_ and 32 hex digits, got {text[:60]!r}")
    return text


def made_at(delivery_id: str) -> datetime:
    """When an id was made, to the millisecond: its first 48 bits say so."""
    return EPOCH + 1000 * MICROSECOND * int(delivery_id.rpartition("_")[2][:12], 16)


def bound(moment: datetime) -> str:
    """The hex digits below all ids that are made at this time, and above all that were made before."""
    return f"{max(microseconds(moment), 0) // 1000:012x}".ljust(32, "0")


def hex_digits(some_id: str) -> str:
    """An id without its prefix; asyncpg takes it for a UUID as it is."""
    return some_id[4:]


def event_of(row: Row) -> Event:
    """From a row of EVENT."""
    return Event(**row)


def job_of(row: Row) -> Job:
    """From a row of JOB."""
    return Job(**row)


def attempt_of(row: Row) -> Attempt:
    """From a row of ATTEMPT."""
    return Attempt(**row)


def delivery_of(row: Row) -> Delivery:
    """From a row of DELIVERY. A claim leaves the due time as it was."""
    due_at = row["due_at"] if row["state"] is State.PENDING else None
    return Delivery(**{**row, "due_at": due_at}, created_at=made_at(row["id"]))


def destination_of(row: Row) -> Destination:
    """From a row of destinations."""
    values = {**row, "asked": bool(row["asked"])}
    del values["changed_at"]
    per_second, burst = values.pop("per_second"), values.pop("burst")
    limited = None if per_second is None else RateLimit(per_second, burst or 1)
    return Destination(**values, rate_limit=limited)


def breaker_of(row: Mapping[str, object]) -> Breaker:
    """From a row of breakers."""
    return Breaker(**{name: value for name, value in row.items() if name != "changed_at"})  # type: ignore[arg-type]


def api_key_of(row: Row) -> ApiKey:
    """From a row of api_keys."""
    return ApiKey(
        id=row["id"],
        name=row["name"],
        owner=row["owner"],
        tenant=row["tenant"],
        scopes=tuple(row["scopes"].split()),
        created_at=row["created_at"],
    )


def api_key_row(key: ApiKey, digest: str) -> dict[str, object]:
    """A row of api_keys."""
    return {
        "id": key.id,
        "created_at": key.created_at,
        "digest": digest,
        "tenant": safe(key.tenant),
        "owner": safe(key.owner),
        "name": safe(key.name),
        "scopes": " ".join(key.scopes),
    }
