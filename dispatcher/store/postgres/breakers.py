"""What changed of destinations and breakers, opening breakers and claiming their probes, on PostgreSQL.

Every process asks once a second what changed, and where many destinations are down some are always probed: so these are
prepared statements about many at once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from dispatcher.domain.destinations import Breaker, HealthChanges
from dispatcher.store.breakers import OVERLAP, PAGE, BreakerRepository
from dispatcher.store.column_types import finite
from dispatcher.store.mapping import breaker_of, destination_of, safe
from dispatcher.store.postgres.session import PostgresSession

_CLOCK = "select clock_timestamp()"

_CHANGES = """
with changed as (
    (
        select true as own, key, key as destination, open_until, opened_at, openings, reason, asked, false as alone,
            paused_at, paused_reason, per_second, burst, changed_at
        from destinations where changed_at > $1 order by changed_at limit $2
    )
    union all
    (
        select false, key, destination, open_until, opened_at, openings, reason, asked, alone,
            null, null, null, null, changed_at
        from breakers where changed_at > $1 order by changed_at limit $2
    )
)
select clock.now, changed.* from (select statement_timestamp() as now) as clock left join changed on true
"""
"""A time, and how many of each: those that changed after it, as they are now. Each row has the time of now."""

_BEGIN = """
with mine as materialized (
    select first.key from unnest($1::text[], $2::timestamptz[]) as seen (key, open_until)
    cross join lateral (
        select key from {table} where key = seen.key and open_until = seen.open_until for update skip locked
    ) as first
)
update {table} set open_until = $3, changed_at = clock_timestamp()
where key = any (array(select key from mine)) returning key
"""
"""Keys, the times until which each was seen to be open, and the new one."""
_BEGIN_OWN, _BEGIN_WITHIN = _BEGIN.format(table="destinations"), _BEGIN.format(table="breakers")

_OPEN_OWN = """
insert into destinations (key, open_until, opened_at, reason, asked, openings, changed_at)
select key, open_until, coalesce(opened_at, clock_timestamp()), reason, asked, (not asked)::int, clock_timestamp()
from unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::text[], $5::bool[])
    as new (key, open_until, opened_at, reason, asked)
on conflict (key) do update set open_until = excluded.open_until, reason = excluded.reason, asked = excluded.asked,
    changed_at = excluded.changed_at, opened_at = coalesce(destinations.opened_at, excluded.opened_at),
    openings = destinations.openings + excluded.openings
where destinations.open_until is null or excluded.asked or destinations.key = any ($6::text[])
"""
"""Keys, until when, since when, reasons, whether receivers asked for it; and the keys of those whose probe failed."""

_OPEN_WITHIN = """
insert into breakers (key, open_until, opened_at, reason, asked, openings, changed_at, destination, alone)
select key, open_until, coalesce(opened_at, clock_timestamp()), reason, asked, 1, clock_timestamp(), destination, alone
from unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::text[], $5::bool[], $7::text[], $8::bool[])
    as new (key, open_until, opened_at, reason, asked, destination, alone)
on conflict (key) do update set open_until = excluded.open_until, reason = excluded.reason, asked = excluded.asked,
    changed_at = excluded.changed_at, opened_at = coalesce(breakers.opened_at, excluded.opened_at),
    openings = breakers.openings + (not excluded.asked)::int, destination = excluded.destination, alone = excluded.alone
where breakers.open_until is null or excluded.asked or breakers.key = any ($6::text[])
"""
"""The same for breakers within destinations; and these, and whether nothing else arrives there."""


class PostgresBreakers(BreakerRepository):
    """See `dispatcher.store.breakers.BreakerRepository`."""

    def __init__(self, session: PostgresSession) -> None:
        super().__init__(session)
        self._session = session

    async def changes(self, since: datetime | None) -> HealthChanges:
        async with self._session.hot() as connection:
            if since is None:
                now: datetime = await connection.fetchval(_CLOCK)
                return HealthChanges(destinations=[], breakers=[], until=now - OVERLAP)
            rows = await connection.fetch(_CHANGES, since, PAGE)
            found = [dict(row) for row in rows if row["key"] is not None]
            own, within = [row for row in found if row["own"]], [row for row in found if not row["own"]]
            # A page that is full may have left out what changed after its last row.
            ends = [max(row["changed_at"] for row in some) for some in (own, within) if len(some) == PAGE]
            until = min([rows[0]["now"] - OVERLAP, *ends])
            return HealthChanges(
                destinations=[
                    destination_of(_only(row, ("own", "now", "destination", "alone"))) for row in own
                ],
                breakers=[
                    breaker_of(
                        _only(row, ("own", "now", "paused_at", "paused_reason", "per_second", "burst"))
                    )
                    for row in within
                ],
                until=max(until, since),
                more=bool(ends) and until > since,
            )

    async def begin_probes(self, opened: Sequence[Breaker], until: datetime) -> set[str]:
        async with self._session.hot() as connection:
            begun: set[str] = set()
            for statement, some in ((_BEGIN_OWN, _own(opened)), (_BEGIN_WITHIN, _within(opened))):
                if some:
                    keys = {safe(one.key): one.key for one in some}
                    seen = [one.open_until for one in some]
                    rows = await connection.fetch(statement, list(keys), seen, until)
                    begun |= {keys[row["key"]] for row in rows}
            return begun

    async def open(self, opened: Sequence[Breaker], probed: Collection[str]) -> None:
        async with self._session.hot() as connection:
            failed = [safe(key) for key in probed]
            if own := _own(opened):
                await connection.execute(_OPEN_OWN, *_columns(own), failed)
            if within := _within(opened):
                where, alone = [safe(one.destination) for one in within], [one.alone for one in within]
                await connection.execute(_OPEN_WITHIN, *_columns(within), failed, where, alone)


def _own(opened: Sequence[Breaker]) -> list[Breaker]:
    # In order, so that two processes never wait for each other.
    return sorted((one for one in opened if one.key == one.destination), key=_key)


def _within(opened: Sequence[Breaker]) -> list[Breaker]:
    return sorted((one for one in opened if one.key != one.destination), key=_key)


def _key(breaker: Breaker) -> str:
    return breaker.key


def _columns(opened: Sequence[Breaker]) -> tuple[list[object], ...]:
    return (
        [safe(one.key) for one in opened],
        [_moment(one.open_until) for one in opened],
        [_moment(one.opened_at) for one in opened],
        [safe((one.reason or "")[:1000]) for one in opened],
        [one.asked for one in opened],
    )


def _moment(at: datetime | None) -> datetime | None:
    return None if at is None else finite(at)


def _only(row: dict[str, object], without: Collection[str]) -> dict[str, object]:
    return {name: value for name, value in row.items() if name not in without}
