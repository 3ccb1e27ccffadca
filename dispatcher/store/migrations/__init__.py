"""The schema's versions. They are applied when a store opens, and by `dispatcher migrate`."""

from __future__ import annotations

import threading

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from dispatcher.domain.errors import SettingsError

# Alembic keeps what it works on in its modules.
_one_at_a_time = threading.Lock()


def upgrade(connection: Connection) -> list[str]:
    """Bring the schema up to date in the connection's transaction; return the revisions that were applied.

    SettingsError when a newer program made the schema.
    """
    applied: list[str] = []
    config = _config()
    config.attributes.update(connection=connection, applied=applied)
    _current(connection)
    with _one_at_a_time:
        command.upgrade(config, "head")
    return applied


def is_known(revision: str) -> bool:
    """Whether this program knows a revision of the schema."""
    return revision in {script.revision for script in _scripts().walk_revisions()}


def newest_revision() -> str | None:
    """The revision that this program brings a schema to."""
    return _scripts().get_current_head()


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def pending(connection: Connection | None) -> list[str]:
    """The revisions that `upgrade` would apply, in order; all of them without a connection. Raises as it does."""
    script, current = _scripts(), None if connection is None else _current(connection)
    newer = script.iterate_revisions("head", current or "base")
    return [revision.revision for revision in newer][::-1]


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
