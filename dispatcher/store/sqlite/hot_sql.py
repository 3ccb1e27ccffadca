"""The hot statements on SQLite: each function is one transaction, and takes a batch as rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from itertools import accumulate, chain
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, func, or_, select
from sqlalchemy.exc import IntegrityError

from dispatcher.domain.deliveries import OpenDelivery, Outcome, Share
from dispatcher.domain.events import Event, utc_now
from dispatcher.store import batches, column_arrays, digests, expansions, ordering
from dispatcher.store.batches import Batch
from dispatcher.store.claims import CLAIM_BYTES, Claim
from dispatcher.store.column_arrays import Encoding, RowTuple
from dispatcher.store.column_types import DELIVERED, DELIVERING, EPOCH, MICROSECOND, PENDING, microseconds
from dispatcher.store.expansions import Placed
from dispatcher.store.job_changes import job_changes
from dispatcher.store.jobs import owners
from dispatcher.store.lists import chunks, rows_of
from dispatcher.store.mapping import EVENT, hex_digits
from dispatcher.store.schema import deliveries, events, identities, processes, subscriptions
from dispatcher.store.sqlite import queue_sql
from dispatcher.store.subscriptions import Revision, revisions
from dispatcher.store.upserts import MERGE_GRANT, MERGE_JOB, MERGE_UNCLAIMED_JOB

_RESUMED = or_(subscriptions.c.status != "paused", subscriptions.c.removed_at.is_not(None))
_SIZES = (256, 64, 16, 4, 1)
_TO = Encoding(
    lambda digests: digests,
    lambda ids: [bytes.fromhex(hex_digits(one)) for one in ids],
    lambda moments: [None if moment is None else microseconds(moment) for moment in moments],
)


# Statements that take many rows at once, where {rows} stands. One that runs row by row hands the interpreter's lock
# over and waits for it again with each: under load that costs far more than the row.


def _insert(into: str, columns: Iterable[str]) -> str:
    return f"insert into {into} ({', '.join(columns)}) values {{rows}}"


_IDENTITY = _insert("identities", batches.IDENTITY)
_EVENT = f"""
insert into events ({", ".join(batches.EVENT)})
select column1, column2, column3, column4, column5, column6, column7, column8, column9, column10, column11,
    coalesce(column12, (select owner from jobs where tenant = column4 and id = column9)), column13
from (values {{rows}})
"""
_JOB = _insert("jobs as old", batches.JOB) + MERGE_JOB
_UNCLAIMED_JOB = _insert("unclaimed_jobs as old", batches.JOB) + MERGE_UNCLAIMED_JOB
_GRANT = f"""
insert into grants as old ({", ".join(batches.GRANT)})
select * from (
    select column1, column2, column3, column4, column5, column6,
        coalesce(column7, (select owner from jobs where tenant = column1 and id = column2)) as owner
    from (values {{rows}})
)
where owner is not null
{MERGE_GRANT}
"""
_ATTEMPT = _insert("attempts", batches.ATTEMPT) + " on conflict do nothing"
_DELIVERY = (
    _insert("deliveries", [*list(batches.DELIVERY)[:-2], "state", "listed_as", "claimed_by", "due_at"])
    + " on conflict (id) do nothing"
)
# The plus keeps SQLite (3.46 does it) from indexing the values and going through all deliveries.
_OUTCOME = f"""
update deliveries
set state = o.column2, listed_as = nullif(o.column2, {DELIVERED}), attempts = o.column3, claimed_by = null,
    due_at = o.column4, ended_at = o.column5, reason = o.column6
from (values {{rows}}) as o
where id = +o.column1 and claimed_by = o.column7 and state = {DELIVERING}
"""
_MATCHING = """
select id, revision from subscriptions
where match_key in (select value from json_each(?)) and removed_at is null and status in ('active', 'paused')
    and (expires_at is null or expires_at > ?)
"""
_CLAIM = f"""
update deliveries set state = {DELIVERING}, claimed_by = c.column1
from (values {{rows}}) as c where id = +c.column2
"""
_NOTE = _insert("claims", ["process", "delivery_id"])
_UNCLAIM = f"""
update deliveries set state = {PENDING}, claimed_by = null
where id in (values {{rows}}) and claimed_by = ? and state = {DELIVERING}
"""
_DONE = "delete from claims where delivery_id in (values {rows}) and process = ?"


def accept(connection: Connection, lease_id: int, batch: Batch) -> None:
    """Store what is new of a batch; what is not is left out of it."""
    _identify(connection, batch)
    if not batch.digests:
        return
    placed = _placed(connection, batch)
    changed = job_changes(batch.events, owners(connection, batch.jobs_to_look_up))
    # The jobs first: whose they are is looked up for events and grants that name no owner.
    _many(connection, _JOB, column_arrays.rows(column_arrays.of_jobs(changed.jobs, _TO)))
    _many(connection, _EVENT, column_arrays.rows(column_arrays.of_events(batch.events, _TO)))
    add_deliveries(connection, lease_id, placed.deliveries)
    expansions.enter(connection, placed)
    _many(connection, _GRANT, column_arrays.rows(column_arrays.of_grants(changed.grants, _TO)))
    _many(connection, _UNCLAIMED_JOB, column_arrays.rows(column_arrays.of_jobs(changed.unclaimed_jobs, _TO)))


def _placed(connection: Connection, batch: Batch) -> Placed:
    new = batch.deliveries
    jobs = expansions.jobs_of(batch, new)
    return expansions.place(batch, new, expansions.open_queues(connection, jobs))


def expand(connection: Connection, lease_id: int, orders: Sequence[int], new: Sequence[OpenDelivery]) -> bool:
    """Store the deliveries that orders stand for; False when somebody else did."""
    if not expansions.take(connection, orders):
        return False
    add_deliveries(connection, lease_id, new)
    return True


def _identify(connection: Connection, batch: Batch) -> None:
    try:
        with connection.begin_nested():
            _many(
                connection, _IDENTITY, column_arrays.rows(column_arrays.of_identities(batch.identified, _TO))
            )
    except IntegrityError:
        for some in chunks(list(batch.digests)):
            known = select(identities.c.digest, identities.c.event_key).where(identities.c.digest.in_(some))
            batch.leave_out(dict(connection.execute(known).all()))
        _many(connection, _IDENTITY, column_arrays.rows(column_arrays.of_identities(batch.identified, _TO)))


def add_deliveries(connection: Connection, lease_id: int, new: Sequence[OpenDelivery]) -> None:
    """Store deliveries; those that are there are left as they are."""
    held = {delivery.subscription.id for delivery in new if batches.held(delivery)}
    resumed = {key for some in chunks(list(held)) for key in _resumed(connection, some)}
    oldest = _oldest_claim(connection, lease_id)
    now = microseconds(utc_now())
    rows: list[RowTuple] = []
    for delivery, (*columns, claimed, due_at) in zip(
        new, column_arrays.rows(column_arrays.of_deliveries(new, resumed, _TO)), strict=True
    ):
        if not claimed:
            rows.append((*columns, PENDING, PENDING, None, due_at))
        elif oldest is not None and delivery.id >= oldest:
            rows.append((*columns, DELIVERING, None, lease_id, None))
        else:
            # No one would find the claim: it is due instead.
            rows.append((*columns, PENDING, PENDING, None, now))
    _many(connection, _DELIVERY, rows)
    ordering.enter(connection, batches.ordered(new))
    digests.enter(connection, new)


def add_to_stored(connection: Connection, lease_id: int, new: Sequence[OpenDelivery]) -> None:
    """Store further deliveries of events that are there; one that retention has just deleted gets none.

    What an earlier call stored is left out: it has its place already.
    """
    there = _stored(connection, events.c.key, {delivery.event.key for delivery in new})
    known = _stored(connection, deliveries.c.id, {delivery.id for delivery in new})
    going = [one for one in new if one.event.key in there and one.id not in known]
    add_deliveries(connection, lease_id, going)


def _stored(connection: Connection, column: ColumnElement[str], values: Collection[str]) -> set[str]:
    found: set[str] = set()
    for some in chunks(list(values)):
        found |= set(connection.execute(select(column).where(column.in_(some))).scalars())
    return found


def _oldest_claim(connection: Connection, lease_id: int) -> str | None:
    return connection.execute(select(processes.c.oldest_claim).where(processes.c.id == lease_id)).scalar()


def _resumed(connection: Connection, ids: Collection[str]) -> list[str]:
    table = subscriptions.c
    return list(connection.execute(select(table.id).where(table.id.in_(ids), _RESUMED)).scalars())


def matching(connection: Connection, match_keys: Sequence[str]) -> list[Revision]:
    """The subscriptions that are in use with one of these match keys."""
    parameters = (msgspec.json.encode(match_keys).decode(), microseconds(utc_now()))
    found = connection.exec_driver_sql(_MATCHING, parameters)
    return [(f"sub_{key.hex()}", revision) for key, revision in found]


def claim(
    connection: Connection, lease_id: int, limit: int, shares: Sequence[Share], unsure: Sequence[str] = ()
) -> tuple[list[Claim], list[Revision]]:
    """Claim what is due of these subscriptions, with the revisions of those that were not removed.

    `unsure` are given back before: they were claimed by a call that failed afterwards.
    """
    return _take(connection, lease_id, unsure, lambda: queue_sql.due(connection, limit, shares))


def _take(
    connection: Connection, lease_id: int, unsure: Sequence[str], find: Callable[[], list[Row[Any]]]
) -> tuple[list[Claim], list[Revision]]:
    if _oldest_claim(connection, lease_id) is None:
        return [], []
    again = [(bytes.fromhex(hex_digits(one)),) for one in unsure]
    _many(connection, _UNCLAIM, again, lease_id)
    _many(connection, _DONE, again, lease_id)
    due = find()
    taken = [(lease_id, row.id) for row in due]
    _many(connection, _CLAIM, taken)
    _many(connection, _NOTE, taken)
    events_by_key = _events(connection, {f"evt_{row.event_key.hex()}" for row in due})
    claims = [_claim_of(row, events_by_key) for row in due]
    return claims, revisions(connection, {claim.subscription_id for claim in claims})


def _claim_of(row: Row[Any], events_by_key: Mapping[str, Event]) -> Claim:
    return Claim(
        f"dlv_{row.id.hex()}",
        events_by_key.get(f"evt_{row.event_key.hex()}"),
        f"sub_{row.subscription_id.hex()}",
        row.attempts,
        row.restarted_after,
        None if row.since is None else EPOCH + MICROSECOND * row.since,
    )


def _events(connection: Connection, keys: Collection[str]) -> dict[str, Event]:
    """The events with these keys, as many as fit into CLAIM_BYTES, and one at least."""
    found: dict[str, Event] = {}
    for some in chunks(_that_fit(connection, sorted(keys))):
        rows = rows_of(connection, select(*EVENT).where(events.c.key.in_(some)))
        found |= {row["key"]: Event(**row) for row in rows}
    return found


def _that_fit(connection: Connection, keys: Sequence[str]) -> list[str]:
    sizes: dict[str, int] = {}
    for some in chunks(keys):
        lengths = select(events.c.key, func.length(events.c.document)).where(events.c.key.in_(some))
        sizes |= dict(connection.execute(lengths).all())
    before = accumulate((sizes[key] for key in keys if key in sizes), initial=0)
    return [
        key
        for key, taken in zip(filter(sizes.__contains__, keys), before, strict=False)
        if taken < CLAIM_BYTES
    ]


def finish(connection: Connection, lease_id: int, outcomes: Sequence[Outcome]) -> None:
    """Write outcomes and their attempts."""
    held = [outcome.delivery_id for outcome in outcomes if batches.held_outcome(outcome)]
    resumed = {key for some in chunks(held) for key in _resumed_deliveries(connection, some)}
    rows = column_arrays.rows(column_arrays.of_outcomes(outcomes, resumed, _TO))
    _many(connection, _OUTCOME, [(*row, lease_id) for row in rows])
    _many(connection, _DONE, [row[:1] for row in rows], lease_id)
    _many(connection, _ATTEMPT, column_arrays.rows(column_arrays.of_attempts(outcomes, _TO)))


def _resumed_deliveries(connection: Connection, ids: Collection[str]) -> list[str]:
    joined = deliveries.join(subscriptions, subscriptions.c.id == deliveries.c.subscription_id)
    resumed = select(deliveries.c.id).select_from(joined).where(deliveries.c.id.in_(ids), _RESUMED)
    return list(connection.execute(resumed).scalars())


def _many(connection: Connection, statement: str, rows: Sequence[RowTuple], *more: object) -> None:
    left = list(rows)
    while left:
        # Few sizes, so that the driver keeps the prepared statements.
        size = next(size for size in _SIZES if size <= len(left))
        some, left = left[:size], left[size:]
        values = (*chain.from_iterable(some), *more)
        connection.exec_driver_sql(_sized(statement, size, len(some[0])), values)


@cache
def _sized(statement: str, rows: int, columns: int) -> str:
    row = f"({', '.join('?' * columns)})"
    return statement.format(rows=", ".join([row] * rows))
