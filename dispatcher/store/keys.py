"""API keys: found by the hash of their text, listed newest first."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, delete, insert, select, text

from dispatcher.domain.ids import is_id
from dispatcher.domain.keys import ApiKey
from dispatcher.store.filters import Page, Window
from dispatcher.store.lists import Branch, below, limit_of, page, rows_of, walk
from dispatcher.store.mapping import api_key_of, api_key_row, safe, safe_or_none
from dispatcher.store.schema import api_keys
from dispatcher.store.session import Repository

MAX_NAMED_KEYS = 20
"""How many keys are named in a message about several; the statement finds one more."""

OWNER_BOUND_KEYS = """
select id, owner, tenant from api_keys
where ' ' || scopes || ' ' like '% publish %' and ' ' || scopes || ' ' like '% subscribe %'
    and ' ' || scopes || ' ' not like '% publish:any %' and ' ' || scopes || ' ' not like '% admin %'
order by id limit 21
"""
"""Keys that publish for their owner only and subscribe as well: before, they could name any owner."""


class KeyRepository(Repository):
    """API keys."""

    async def add(self, key: ApiKey, digest: str) -> None:
        """Store a key with the hash of its text."""
        await self._write(_add, api_key_row(key, digest))

    async def by_digest(self, digest: str) -> ApiKey | None:
        """The key whose text has this hash."""
        return await self._read(_by_digest, safe(digest))

    async def get(self, key_id: str) -> ApiKey | None:
        """The key with this id."""
        return await self._read(_by_id, key_id) if is_id("key", key_id) else None

    async def page(self, tenant: str | None, window: Window) -> Page[ApiKey]:
        """Keys, newest first; of every tenant when that is None."""
        return await self._read(_page, safe_or_none(tenant), window)

    async def owner_bound(self) -> list[str]:
        """Ids of keys that publish for their owner only and subscribe as well: before, they named any owner.

        One more than MAX_NAMED_KEYS at most.
        """
        return await self._read(_owner_bound)

    async def remove(self, tenant: str | None, key_id: str) -> bool:
        """Remove a key, of any tenant when that is None; it works no longer from the moment that this returns."""
        return is_id("key", key_id) and await self._write(_remove, safe_or_none(tenant), key_id)


def _add(connection: Connection, row: Mapping[str, object]) -> None:
    connection.execute(insert(api_keys).values(row))


def _by_digest(connection: Connection, digest: str) -> ApiKey | None:
    found = rows_of(connection, select(api_keys).where(api_keys.c.digest == digest))
    return api_key_of(found[0]) if found else None


def _by_id(connection: Connection, key_id: str) -> ApiKey | None:
    found = rows_of(connection, select(api_keys).where(api_keys.c.id == key_id))
    return api_key_of(found[0]) if found else None


def _page(connection: Connection, tenant: str | None, window: Window) -> Page[ApiKey]:
    branch = Branch([]) if tenant is None else Branch([], api_keys.c.tenant, tenant)
    ids = walk(connection, api_keys.c.id, branch, below(window, "key")).limit(limit_of(window) + 1)
    statement = select(api_keys).where(api_keys.c.id.in_(ids)).order_by(api_keys.c.id.desc())
    return page(rows_of(connection, statement), window, "id", api_key_of)


def _owner_bound(connection: Connection) -> list[str]:
    found = connection.execute(text(OWNER_BOUND_KEYS).columns(api_keys.c.id))
    return list(found.scalars())


def _remove(connection: Connection, tenant: str | None, key_id: str) -> bool:
    removed = delete(api_keys).where(api_keys.c.id == key_id)
    if tenant is not None:
        removed = removed.where(api_keys.c.tenant == tenant)
    return connection.execute(removed).rowcount == 1
