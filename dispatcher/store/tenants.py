"""Tenants: whose names stand in what is stored. Nothing makes a tenant beside the keys and jobs that are of it."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

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
    first: list[str] = []
    for table in _TABLES:
        these = select(func.min(table.c.tenant)).where(table.c.tenant > name)
        if table is subscriptions:  # as its index is made
            these = these.where(table.c.removed_at.is_(None))
        found = connection.execute(these).scalar()
        if found is not None:
            first.append(found)
    return min(first, default=None)
