"""Leases on PostgreSQL: a renewal is one hot statement."""

from __future__ import annotations

from collections.abc import Callable

from dispatcher.store.leases import LeaseRepository
from dispatcher.store.mapping import hex_digits
from dispatcher.store.postgres import hot_sql as sql
from dispatcher.store.postgres.session import PostgresSession


class PostgresLeases(LeaseRepository):
    """See `dispatcher.store.leases.LeaseRepository`. `forget` is called for a process whose lease has ended."""

    def __init__(self, session: PostgresSession, forget: Callable[[int], None]) -> None:
        super().__init__(session)
        self._session = session
        self._forget = forget

    async def renew(self, lease_id: int, lease: float, oldest_claim: str) -> bool:
        async with self._session.hot() as connection:
            found = await connection.fetchval(sql.HEARTBEAT, lease_id, lease, hex_digits(oldest_claim))
        if found is None:
            self._forget(lease_id)
        return found is not None

    async def release(self, lease_id: int) -> int:
        freed = await super().release(lease_id)
        self._forget(lease_id)
        return freed
