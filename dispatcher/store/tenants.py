"""Tenants: whose names stand in what is stored. Nothing makes a tenant beside the keys and jobs that are of it."""

from __future__ import annotations

from sqlalchemy import Connection, Select, func, select, union_all

from dispatcher.store.schema import api_keys, jobs, subscriptions, unclaimed_jobs
from dispatcher.store.session import Repository

_TABLES = (jobs, unclaimed_jobs, subscriptions, api_keys)


class TenantRepository(Repository):
    """Which tenants there are."""

    async def names(self, limit: int) -> list[str]:
        """The first tenants by name, `limit` at most, of all that have a key, a job or a subscription."""
        return await self._read(_names, limit)


def _names(connection: Connection, limit: int) -> list[str]:
    found: list[str] = []
    while len(found) < limit:
        following = _following(connection, found[-1] if found else "")
        if following is None:
            break
        found.append(following)
    return found


def _following(connection: Connection, name: str) -> str | None:
    """The tenant after this one by name: a look at the beginning of an index of each table, however large it is."""
    firsts: list[Select[str | None]] = []
    for table in _TABLES:
        these = select(func.min(table.c.tenant).label("tenant")).where(table.c.tenant > name)
        if table is subscriptions:  # as its index is made
            these = these.where(table.c.removed_at.is_(None))
        firsts.append(these)
    # The database compares: its collation may have another order than Python's.
    first = union_all(*firsts).subquery()
    found: str | None = connection.execute(select(func.min(first.c.tenant))).scalar()
    return found
