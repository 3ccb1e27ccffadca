"""Retention row by row: what was kept for long enough is deleted in batches, so that no one waits for them.

SQLite deletes everything so, PostgreSQL what does not go with its partition. Each function that takes a connection is
one transaction, or a part of one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Table, and_, delete, exists, literal_column, or_, select

from dispatcher.domain.deliveries import State
from dispatcher.domain.retention import Keep
from dispatcher.store.column_types import EPOCH
from dispatcher.store.dialect import locks_rows
from dispatcher.store.mapping import bound, made_at
from dispatcher.store.schema import (
    attempts,
    deliveries,
    destinations,
    digests,
    events,
    expansions,
    grants,
    identities,
    jobs,
    permissions,
    unclaimed_jobs,
)
from dispatcher.store.session import Run

CHUNK = 500
"""How many rows one transaction looks at: what it takes is what others may have to wait."""

_WELL, _BADLY = (State.DELIVERED, State.SUPERSEDED), (State.EXHAUSTED, State.CANCELLED)


class Sweep(Struct, frozen=True):
    """What is to go from one table: rows from the start of `key` to before `high` (None: to its end), if `gone`."""

    table: Table
    key: ColumnElement[Any]
    gone: ColumnElement[bool]
    low: object
    high: object = None


class Swept(Struct, frozen=True):
    """How many rows were deleted, and the key where the next chunk begins; None at the end."""

    deleted: int
    next: object


class Horizons(Struct, frozen=True):
    """The times before which deliveries must have ended to go: well, or badly."""

    well: datetime
    badly: datetime

    @property
    def bound(self) -> str:
        """The bound of the ids of what is so old that it may go."""
        return bound(self.well)


def horizons(keep: Keep, now: datetime) -> Horizons:
    """What `keep` means now."""
    return Horizons(max(now - keep.delivered, EPOCH), max(now - keep.exhausted, EPOCH))


def sweeps(before: Mapping[str, str], ended_before: Horizons) -> list[Sweep]:
    """What goes of deliveries, attempts and events, in this order, whose ids are below the bounds in `before`."""
    table = deliveries.c
    well = and_(table.state.in_(_WELL), table.ended_at < ended_before.well)
    badly = and_(table.state.in_(_BADLY), table.ended_at < ended_before.badly)
    of_attempt = exists().where(table.id == attempts.c.delivery_id)
    of_event = exists().where(table.event_key == events.c.key)
    expanding = exists().where(expansions.c.event_key == events.c.key)
    return [
        _sweep_ids(deliveries, "id", "dlv", or_(well, badly), before),
        _sweep_ids(attempts, "delivery_id", "dlv", ~of_attempt, before),
        _sweep_ids(events, "key", "evt", and_(~of_event, ~expanding), before),
    ]


def _sweep_ids(
    table: Table, key: str, prefix: str, gone: ColumnElement[bool], before: Mapping[str, str]
) -> Sweep:
    return Sweep(table, table.c[key], gone, f"{prefix}_{0:032x}", f"{prefix}_{before[table.name]}")


def leftovers(before: str) -> list[Sweep]:
    """What goes of the tables without a time in their key, once events have gone; for SQLite."""
    return [
        Sweep(identities, identities.c.digest, left_over(identities, before), b""),
        Sweep(jobs, literal_column("rowid"), left_over(jobs, before), 0),
        Sweep(unclaimed_jobs, literal_column("rowid"), left_over(unclaimed_jobs, before), 0),
    ]


def left_over(table: Table, before: str) -> ColumnElement[bool]:
    """The identities, or jobs, whose newest event is below a bound and not there any more."""
    if table is identities:
        this, event_key = events.c.key == identities.c.event_key, identities.c.event_key
    else:
        this = and_(events.c.tenant == table.c.tenant, events.c.job_id == table.c.id)
        event_key = table.c.last_event
    return and_(event_key < f"evt_{before}", ~exists().where(this))


def sweep(connection: Connection, what: Sweep, low: object) -> Swept:
    """Delete what is to go of the next CHUNK rows from `low` on."""
    below = [] if what.high is None else [what.key < what.high]
    chunk = select(what.key).select_from(what.table).where(what.key >= low, *below).order_by(what.key)
    following = connection.execute(chunk.offset(CHUNK).limit(1)).scalar()
    if following == low:
        # One delivery with as many attempts: they stay or go together.
        following = connection.execute(chunk.where(what.key > low).limit(1)).scalar()
    these = [what.key >= low, *(below if following is None else [what.key < following])]
    return Swept(delete_rows(connection, what.table, what.gone, *these), following)


def delete_rows(
    connection: Connection, table: Table, gone: ColumnElement[bool], *these: ColumnElement[bool]
) -> int:
    """Delete those of these rows that are to go. How many."""
    if table in (jobs, unclaimed_jobs):
        return _delete_jobs(connection, table, gone, *these)
    if table is events and locks_rows(connection):
        # Another that adds a delivery to one of them has locked it: it is waited for, and seen below.
        connection.execute(select(events.c.key).where(*these).with_for_update())
    if table in (destinations, digests) and locks_rows(connection):
        # What somebody is about to use is left alone; whether it is used is seen below, once it is locked.
        [key] = table.primary_key
        unlocked = select(key).where(*these, gone).with_for_update(skip_locked=True)
        these = (key.in_(connection.execute(unlocked).scalars().all()),)
    return connection.execute(delete(table).where(*these, gone)).rowcount


def _delete_jobs(
    connection: Connection, table: Table, gone: ColumnElement[bool], *these: ColumnElement[bool]
) -> int:
    """Delete jobs with their grants: no event is left that anybody could see by one."""
    went = connection.execute(delete(table).where(*these, gone).returning(table.c.tenant, table.c.id)).all()
    for tenant, job_id in went:
        for granted in (grants, permissions):
            of_job = (granted.c.tenant == tenant, granted.c.job_id == job_id)
            connection.execute(delete(granted).where(*of_job))
    return len(went)


def oldest_event(connection: Connection) -> datetime | None:
    """When the oldest event that is there was accepted."""
    key = connection.execute(select(events.c.key).order_by(events.c.key).limit(1)).scalar()
    return None if key is None else made_at(key)


async def carry_out(run: Run, chunk: Callable[..., Swept], *args: object, low: object) -> int:
    """Go through a table from the key `low` on, each chunk in one transaction. How many rows were deleted.

    `chunk` takes a connection, `args` and the key where it begins.
    """
    deleted = 0
    while low is not None:
        swept = await run(chunk, *args, low)
        deleted, low = deleted + swept.deleted, swept.next
    return deleted


async def retain_rows(keep: Keep, now: datetime, run: Run) -> dict[str, int]:
    """Delete all that is to go, for a database without partitions. How many rows of each table."""
    ended_before = horizons(keep, now)
    before = ended_before.bound
    everywhere = {"deliveries": before, "attempts": before, "events": before}
    deleted = {
        one.table.name: await carry_out(run, sweep, one, low=one.low)
        for one in sweeps(everywhere, ended_before)
    }
    if deleted["events"]:
        deleted |= {
            one.table.name: await carry_out(run, sweep, one, low=one.low) for one in leftovers(before)
        }
    return deleted
