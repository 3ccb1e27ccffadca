"""What changed of destinations and breakers, opening breakers and claiming their probes, on SQLite.

Each function is one transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.sqlite import insert

from dispatcher.domain.destinations import Breaker, HealthChanges
from dispatcher.domain.events import utc_now
from dispatcher.store.breakers import OVERLAP, PAGE, BreakerRepository
from dispatcher.store.mapping import breaker_of, destination_of, safe
from dispatcher.store.schema import breakers, destinations

_own, _within = destinations.c, breakers.c


class SqliteBreakers(BreakerRepository):
    """See `dispatcher.store.breakers.BreakerRepository`."""

    async def changes(self, since: datetime | None) -> HealthChanges:
        return await self._read(_changes, since)

    async def open(self, opened: Sequence[Breaker], probed: Collection[str]) -> None:
        await self._write(_open_all, opened, probed)

    async def begin_probes(self, opened: Sequence[Breaker], until: datetime) -> set[str]:
        return await self._write(_begin_probes, opened, until)


def _changes(connection: Connection, since: datetime | None) -> HealthChanges:
    now = utc_now()
    if since is None:
        return HealthChanges(destinations=[], breakers=[], until=now - OVERLAP)
    pages: list[list[dict[str, Any]]] = []
    for table in (destinations, breakers):
        at = table.c.changed_at
        found = select(table).where(at > since).order_by(at).limit(PAGE)
        pages.append([row._asdict() for row in connection.execute(found)])
    # A page that is full may have left out what changed after its last row.
    ends = [page[-1]["changed_at"] for page in pages if len(page) == PAGE]
    until = min([now - OVERLAP, *ends])
    return HealthChanges(
        destinations=[destination_of(row) for row in pages[0]],
        breakers=[breaker_of(row) for row in pages[1]],
        until=max(until, since),
        more=bool(ends) and until > since,
    )


def _open_all(connection: Connection, opened: Sequence[Breaker], probed: Collection[str]) -> None:
    for breaker in opened:
        (_open if breaker.key == breaker.destination else _open_within)(
            connection, breaker, again=breaker.asked or breaker.key in probed
        )


def _begin_probes(connection: Connection, opened: Sequence[Breaker], until: datetime) -> set[str]:
    begun: set[str] = set()
    for breaker in opened:
        table = destinations if breaker.key == breaker.destination else breakers
        this = (table.c.key == safe(breaker.key), table.c.open_until == breaker.open_until)
        moved = update(table).where(*this).values(open_until=until, changed_at=utc_now())
        if connection.execute(moved).rowcount == 1:
            begun.add(breaker.key)
    return begun


def _open(connection: Connection, breaker: Breaker, *, again: bool) -> None:
    row = _row(breaker) | {"openings": 0 if breaker.asked else 1}
    new = insert(destinations).values(row)
    changed = {name: row[name] for name in ("open_until", "reason", "asked", "changed_at")} | {
        "opened_at": func.coalesce(_own.opened_at, new.excluded.opened_at),
        "openings": _own.openings + new.excluded.openings,
    }
    where = None if again else _own.open_until.is_(None)
    connection.execute(new.on_conflict_do_update(index_elements=["key"], set_=changed, where=where))


def _open_within(connection: Connection, breaker: Breaker, *, again: bool) -> None:
    row = _row(breaker) | {
        "destination": safe(breaker.destination),
        "alone": breaker.alone,
        "openings": 1,
    }
    new = insert(breakers).values(row)
    same = ("open_until", "reason", "asked", "changed_at", "alone", "destination")
    changed = {name: row[name] for name in same} | {
        "opened_at": func.coalesce(_within.opened_at, new.excluded.opened_at),
        "openings": _within.openings + (0 if breaker.asked else 1),
    }
    where = None if again else _within.open_until.is_(None)
    connection.execute(new.on_conflict_do_update(index_elements=["key"], set_=changed, where=where))


def _row(breaker: Breaker) -> dict[str, Any]:
    now = utc_now()
    return {
        "key": safe(breaker.key),
        "open_until": breaker.open_until,
        "opened_at": breaker.opened_at or now,
        "reason": safe((breaker.reason or "")[:1000]),
        "asked": breaker.asked,
        "changed_at": now,
    }
