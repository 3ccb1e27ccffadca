"""The schema's versions. They are applied when a store opens, and by `dispatcher migrate`."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from functools import cache

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from dispatcher.domain.errors import SettingsError
from dispatcher.store.schema import metadata

# Alembic keeps what it works on in its modules.
_one_at_a_time = threading.Lock()


def upgrade(connection: Connection) -> list[str]:
    """Bring the schema up to date in the connection's transaction; return the revisions that were applied.

    SettingsError when a newer program made the schema, or the database is not as any version of ours leaves it.
    """
    applied: list[str] = []
    current = _current(connection)
    if problem := mismatch(current, inspect(connection).get_table_names()):
        raise SettingsError(f"DISPATCHER_DATABASE_URL: {problem}")
    if current == newest_revision():
        return applied
    config = _config()
    config.attributes.update(connection=connection, applied=applied)
    with _one_at_a_time:
        command.upgrade(config, "head")
    return applied


def mismatch(revision: str | None, tables: Iterable[str]) -> str | None:
    """Why these tables cannot be those of a database with this revision, None when they can."""
    there = set(tables)
    if revision is None and (taken := sorted(there.intersection(metadata.tables))):
        return f"another program has the tables {_some(taken)}; name one that Dispatcher has to itself"
    if revision == newest_revision() and (missing := sorted(metadata.tables.keys() - there)):
        return f"the schema {revision} lacks the tables {_some(missing)}; restore all of it, or name another database"
    return None


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more


def is_known(revision: str) -> bool:
    """Whether this program knows a revision of the schema."""
    return revision in _revisions()


def newest_revision() -> str:
    """The revision that this program brings a schema to."""
    return _revisions()[-1]


def pending(connection: Connection | None) -> list[str]:
    """The revisions that `upgrade` would apply, in order; all of them without a connection. Raises as it does."""
    current = None if connection is None else _current(connection)
    return list(_revisions() if current is None else _revisions()[_revisions().index(current) + 1 :])


@cache
def _revisions() -> tuple[str, ...]:
    """All that this program knows, in order. Alembic compiles every one of them to find out."""
    scripts = ScriptDirectory.from_config(_config())
    return tuple(script.revision for script in scripts.walk_revisions())[::-1]


def _current(connection: Connection) -> str | None:
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and not is_known(current):
        raise SettingsError(
            f"DISPATCHER_DATABASE_URL: the schema {current} is newer than this program knows; start a newer program, "
            "or name another database"
        )
    return current


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "dispatcher.store:migrations")
    return config
