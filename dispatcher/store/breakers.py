"""Breakers of destinations, and of subscriptions and owners within one: what processes tell each other of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, Update, delete, or_, select, update

from dispatcher.domain.destinations import Breaker, Destination, HealthChanges
from dispatcher.domain.events import utc_now
from dispatcher.store.delivery_writes import IS_WAITING
from dispatcher.store.dialect import clock
from dispatcher.store.mapping import breaker_of, destination_of, safe
from dispatcher.store.schema import breakers, deliveries, destinations
from dispatcher.store.session import Repository

PAGE = 1000
"""Breakers and destinations that are read at once."""

OVERLAP = timedelta(seconds=5)
"""How long a change may take from its time to the end of its transaction."""

ABANDONED = timedelta(minutes=10)
"""How long after the time of its probe a breaker is looked at by `forget`: nothing was to be sent."""

KEPT_CLOSED = timedelta(hours=1)
"""How long a closed breaker is kept, so that every process learns of it."""

_table, _own = breakers.c, destinations.c
_TO_WATCH = or_(_own.open_until.is_not(None), _own.paused_at.is_not(None), _own.per_second.is_not(None))


class BreakerRepository(Repository, ABC):
    """Breakers."""

    async def destinations_to_watch(self, after: str = "") -> list[Destination]:
        """Destinations whose breaker is not closed, that are paused or that have a rate limit: PAGE after this name."""
        return await self._read(_destinations_to_watch, after)

    async def to_watch(self, after: str = "") -> list[Breaker]:
        """The breakers within destinations that are not closed: PAGE after this key."""
        return await self._read(_to_watch, after)

    @abstractmethod
    async def changes(self, since: datetime | None) -> HealthChanges:
        """What changed since this time, of destinations and of breakers within them; with None the time alone."""

    @abstractmethod
    async def open(self, opened: Sequence[Breaker], probed: Collection[str]) -> None:
        """Open breakers that are closed, or keep those open whose probe has failed: `probed` are the keys of these.

        Each is of a destination (its key is the destination's) or within one. One that receivers `asked` for stays open
        until then, whatever else is answered. No key may stand there twice.
        """

    @abstractmethod
    async def begin_probes(self, opened: Sequence[Breaker], until: datetime) -> set[str]:
        """Claim the probes of breakers that were seen to be open like this; the keys of those that the caller has now.

        Each is given to one process only. When nothing comes of it, others may claim it at `until`.
        """

    async def close(self, destination: str) -> None:
        """Let a destination be used freely."""
        await self._write(close_of_destination, destination)

    async def close_within(self, key: str) -> None:
        """Let a subscription or an owner use its destination freely."""
        await self._write(_close, key)

    async def note_others(self, destination: str) -> None:
        """Note that something arrives at a destination, whatever breakers are open within it."""
        await self._write(_note_others, destination)

    async def purge(self) -> None:
        """Close some breakers behind which nothing waits any more, and delete some that have long been closed."""
        await self._write(_close_abandoned)
        await self._write(_purge)


def _destinations_to_watch(connection: Connection, after: str) -> list[Destination]:
    found = select(destinations).where(_TO_WATCH, _own.key > safe(after)).order_by(_own.key)
    return [destination_of(row._asdict()) for row in connection.execute(found.limit(PAGE))]


def _to_watch(connection: Connection, after: str) -> list[Breaker]:
    found = select(breakers).where(_table.open_until.is_not(None), _table.key > after).order_by(_table.key)
    return [breaker_of(row._asdict()) for row in connection.execute(found.limit(PAGE))]


def _close(connection: Connection, key: str) -> None:
    connection.execute(_closed(connection).where(_table.key == safe(key)))


def close_all(connection: Connection, destination: str) -> None:
    """Close all within a destination."""
    connection.execute(_closed(connection).where(_table.destination == safe(destination)))


def _note_others(connection: Connection, destination: str) -> None:
    alone = (_table.destination == safe(destination), _table.alone)
    connection.execute(update(breakers).where(*alone).values(alone=False, changed_at=clock(connection)))


def _purge(connection: Connection) -> None:
    now = utc_now()
    late = (_table.open_until < now - ABANDONED,)
    idle = _nothing_waits(_table.destination)
    some = select(_table.key).where(*late, idle).order_by(_table.open_until).limit(PAGE)
    connection.execute(_closed(connection).where(_table.key.in_(some)))
    # What else waits there is of others: a subscription's own has an index, and a subscription may be gone.
    for key in (
        connection.execute(
            select(_table.key)
            .where(*late, _table.key.startswith("sub_"))
            .order_by(_table.open_until)
            .limit(PAGE)
        )
        .scalars()
        .all()
    ):
        own = select(deliveries.c.id).where(deliveries.c.subscription_id == key, IS_WAITING).limit(1)
        if connection.execute(own).scalar() is None:
            _close(connection, key)
    old = select(_table.key).where(_table.open_until.is_(None), _table.changed_at < now - KEPT_CLOSED)
    connection.execute(delete(breakers).where(_table.key.in_(old.order_by(_table.changed_at).limit(PAGE))))


def _close_abandoned(connection: Connection) -> None:
    """Close some breakers of destinations behind which nothing waits any more."""
    late = select(_own.key).where(_own.open_until < utc_now() - ABANDONED, _nothing_waits(_own.key))
    for key in connection.execute(late.limit(PAGE)).scalars().all():
        close_of_destination(connection, key)


def _nothing_waits(destination: ColumnElement[str]) -> ColumnElement[bool]:
    """Whether nothing waits for a destination for a time or a place.

    Looked up for one destination after the other: with "not exists" all that waits anywhere would be read.
    """
    there = (deliveries.c.destination == destination, deliveries.c.due_at.is_not(None))
    return select(deliveries.c.destination).where(*there).limit(1).scalar_subquery().is_(None)


def close_of_destination(connection: Connection, key: str) -> None:
    """Close the breaker of a destination."""
    closed = update(destinations).where(_own.key == safe(key))
    connection.execute(
        closed.values(
            open_until=None,
            opened_at=None,
            openings=0,
            reason=None,
            asked=None,
            changed_at=clock(connection),
        )
    )


def _closed(connection: Connection) -> Update:
    return update(breakers).values(
        open_until=None,
        opened_at=None,
        openings=0,
        reason=None,
        asked=False,
        alone=False,
        changed_at=clock(connection),
    )
