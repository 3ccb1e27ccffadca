"""Rate limits that all processes share: one row says until when what was granted is paid."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from dispatcher.domain.destinations import RateLimit, Slots, slots
from dispatcher.store.dialect import clock, insert
from dispatcher.store.mapping import safe
from dispatcher.store.schema import rates
from dispatcher.store.session import Repository

PAID = 600.0
"""Seconds after which the state of a rate limit is forgotten that owes nothing: a new one starts the same."""


class RateLimitRepository(Repository):
    """Rate limits of subscriptions and destinations."""

    async def take_slots(self, key: str, limit: RateLimit, wanted: int) -> Slots:
        """What a rate limit that all processes share gives of `wanted` attempts."""
        return await self._write(_take_slots, key, limit, wanted)


def _take_slots(connection: Connection, key: str, rate_limit: RateLimit, wanted: int) -> Slots:
    """What a rate limit gives of `wanted` attempts. The database's clock counts."""
    this = select(rates.c.full_at).where(rates.c.key == safe(key)).with_for_update()
    full_at = connection.execute(this).scalar()
    if full_at is None:
        new = insert(connection, rates).values(key=safe(key), full_at=0.0)
        connection.execute(new.on_conflict_do_nothing())
        full_at = connection.execute(this).scalar_one()
    now = clock(connection).timestamp()
    # More was granted only by a lower limit, which an admin has raised since, or before the clock was set back.
    most = now + rate_limit.tolerance + rate_limit.interval
    given, owed = slots(rate_limit, min(full_at, most), now, wanted)
    if given.granted or full_at > most:
        connection.execute(update(rates).where(rates.c.key == safe(key)).values(full_at=owed))
    return given
