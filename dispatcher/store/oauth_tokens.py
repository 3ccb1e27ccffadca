"""Access tokens of OAuth 2.0, encrypted, so that all processes use one, and which process is asking for the next one.

They are found by a keyed hash of the credentials for which they were issued, so subscriptions with the same
credentials share one.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, or_, select

from dispatcher.store.dialect import clock, upsert
from dispatcher.store.encryption import Sealer
from dispatcher.store.schema import oauth_tokens
from dispatcher.store.session import Repository, Session

PURGED = 10_000
"""Rows that are deleted at once."""

_c = oauth_tokens.c


class OAuthTokenRepository(Repository):
    """Access tokens. All methods raise StoreUnavailable when the database cannot be reached."""

    def __init__(self, session: Session, sealer: Sealer) -> None:
        super().__init__(session)
        self._sealer = sealer

    async def read(self, credentials: bytes) -> bytes | None:
        """What was stored last for these credentials."""
        sealed = await self._read(_sealed, self._sealer.name(credentials))
        return None if sealed is None else self._sealer.open(sealed)

    async def begin(self, credentials: bytes, seconds: float) -> bool:
        """Whether this process may ask for a token now; it then has `seconds` for it. If not, another one is asking."""
        return await self._write(_begin, self._sealer.name(credentials), seconds)

    async def finish(self, credentials: bytes, token: bytes | None, until: datetime) -> None:
        """Store a token that is of use `until` then, or None when there is none, and let others ask."""
        sealed = None if token is None else self._sealer.seal(token)
        await self._write(_finish, self._sealer.name(credentials), sealed, until)

    async def purge(self) -> None:
        """Delete some of what is of no use any more."""
        await self._write(_purge)


def _sealed(connection: Connection, key: bytes) -> bytes | None:
    return connection.execute(select(_c.sealed).where(_c.key == key)).scalar()


def _begin(connection: Connection, key: bytes, seconds: float) -> bool:
    now = clock(connection)
    until = now + timedelta(seconds=seconds)
    row = {"key": key, "busy_until": until, "useful_until": until}
    idle = or_(_c.busy_until.is_(None), _c.busy_until <= now)
    return upsert(connection, oauth_tokens, row, {"busy_until": until}, where=idle)


def _finish(connection: Connection, key: bytes, sealed: bytes | None, until: datetime) -> None:
    changes: dict[str, object] = {"busy_until": None}
    if sealed is not None:
        changes |= {"sealed": sealed, "useful_until": until}
    row = {"key": key, "sealed": sealed, "busy_until": None, "useful_until": until}
    upsert(connection, oauth_tokens, row, changes)


def _purge(connection: Connection) -> None:
    now = clock(connection)
    over = (_c.useful_until < now) & or_(_c.busy_until.is_(None), _c.busy_until < now)
    old = select(_c.key).where(over).limit(PURGED)
    connection.execute(delete(oauth_tokens).where(_c.key.in_(old)))
