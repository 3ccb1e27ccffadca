"""The latest status that a target which keeps state was sent, and which delivery is on its way there.

A retry of an earlier status must not follow a later one: the target would take it for what is true now. So one delivery
at a time goes to such a target, and what is older than what arrived does not go any more.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import Connection, case, delete, literal, or_, select, update

from dispatcher.domain.events import utc_now
from dispatcher.store.dialect import insert
from dispatcher.store.schema import target_statuses
from dispatcher.store.session import Repository

KEPT = timedelta(days=60)
"""How long a status is kept: longer than the longest `max_age` of a delivery."""

PURGED = 10_000
"""Rows that are deleted at once."""

Turn = Literal["go", "wait", "superseded"]

_c = target_statuses.c


class TargetStatusRepository(Repository):
    """Statuses of targets. All methods raise StoreUnavailable when the database cannot be reached."""

    async def begin(self, key: bytes, event_key: str, delivery_id: str, seconds: float) -> Turn:
        """Whether a delivery of this event may go to the target `key` now; it then has `seconds` for it.

        "wait": another one is on its way, or was a moment ago. "superseded": a later event arrived there.
        """
        return await self._write(_begin, key, event_key, delivery_id, utc_now(), seconds)

    async def finish(
        self, key: bytes, event_key: str, delivery_id: str, *, delivered: bool, interval: float = 0.0
    ) -> None:
        """Let others go after `interval` seconds, and note what arrived."""
        now = utc_now()
        free_at = now + timedelta(seconds=interval) if interval else None
        await self._write(_finish, key, event_key, delivery_id, now, free_at, delivered=delivered)

    async def purge(self) -> None:
        """Delete some of what no delivery can ask for any more."""
        await self._write(_purge, utc_now() - KEPT)


def _begin(
    connection: Connection, key: bytes, event_key: str, delivery_id: str, now: datetime, seconds: float
) -> Turn:
    wanted = insert(connection, target_statuses).values(
        key=key, busy_delivery=delivery_id, busy_until=now + timedelta(seconds=seconds), updated_at=now
    )
    new = wanted.excluded
    taken = connection.execute(
        wanted.on_conflict_do_update(
            index_elements=[_c.key],
            set_={
                "busy_delivery": new.busy_delivery,
                "busy_until": new.busy_until,
                "updated_at": new.updated_at,
            },
            where=or_(_c.delivered.is_(None), _c.delivered <= event_key)
            & or_(_c.busy_until.is_(None), _c.busy_until <= now, _c.busy_delivery == delivery_id),
        ).returning(_c.key)
    ).first()
    if taken is not None:
        return "go"
    delivered = connection.execute(select(_c.delivered).where(_c.key == key)).scalar()
    return "superseded" if delivered is not None and delivered > event_key else "wait"


def _finish(
    connection: Connection,
    key: bytes,
    event_key: str,
    delivery_id: str,
    now: datetime,
    free_at: datetime | None,
    *,
    delivered: bool,
) -> None:
    mine = _c.busy_delivery == delivery_id
    changes: dict[str, object] = {
        "busy_until": case((mine, literal(free_at, _c.busy_until.type)), else_=_c.busy_until),
        "busy_delivery": case((mine, None), else_=_c.busy_delivery),
        "updated_at": now,
    }
    if delivered:
        later = or_(_c.delivered.is_(None), _c.delivered < event_key)
        changes["delivered"] = case((later, literal(event_key, _c.delivered.type)), else_=_c.delivered)
    connection.execute(update(target_statuses).where(_c.key == key).values(changes))


def _purge(connection: Connection, before: datetime) -> None:
    old = select(_c.key).where(_c.updated_at < before).limit(PURGED)
    connection.execute(delete(target_statuses).where(_c.key.in_(old)))
