"""Where a store comes from: a URL says which database, a sealer keeps its secrets."""

from __future__ import annotations

from pathlib import Path

from dispatcher.domain.errors import SettingsError
from dispatcher.domain.retention import DEFAULT, Keep
from dispatcher.store.encryption import Sealer
from dispatcher.store.postgres import connection as postgres_connection
from dispatcher.store.postgres.store import PostgresStore
from dispatcher.store.sqlite import session as sqlite_session
from dispatcher.store.sqlite.store import SqliteStore
from dispatcher.store.store import Store

_SQLITE = "sqlite:///"
_POSTGRES = "postgresql://"


def open_store(url: str, sealer: Sealer, keep: Keep = DEFAULT) -> Store:
    """The store at `url`; it has to be opened. SettingsError for a URL that names neither database.

    `keep` says how wide partitions are made.
    """
    path = _sqlite_path(url)
    return PostgresStore(url, sealer, keep.width) if path is None else SqliteStore(path, sealer)


def migrate(url: str, keep: Keep = DEFAULT) -> list[str]:
    """Bring the schema up to date and return the revisions that were applied; make partitions as `keep` wants them.

    Not for a thread with a running event loop. Raises SettingsError and StoreUnavailable, as opening does.
    """
    path = _sqlite_path(url)
    return postgres_connection.migrate(url, keep.width) if path is None else sqlite_session.migrate(path)


def pending(url: str) -> list[str]:
    """The revisions that `migrate` would apply, in order; nothing is changed. Raises as `migrate` does."""
    path = _sqlite_path(url)
    return postgres_connection.pending(url) if path is None else sqlite_session.pending(path)


def _sqlite_path(url: str) -> Path | None:
    """The file that a URL names, None when it names PostgreSQL."""
    if url.startswith(_POSTGRES):
        return None
    name = url.removeprefix(_SQLITE)
    if name == url or not name or name.startswith(":"):
        scheme = url.partition(":")[0]
        raise SettingsError(
            "DISPATCHER_DATABASE_URL: expected sqlite:///path/of/a.file or "
            f"postgresql://user:password@host/database, got one that begins with {scheme[:20]!r}"
        )
    return Path(name)
