"""The schema's versions. They are applied when a store opens, and by `dispatcher migrate`."""

from __future__ import annotations

import threading

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

# Alembic keeps what it works on in its modules.
_one_at_a_time = threading.Lock()


def upgrade(connection: Connection) -> list[str]:
    """Bring the schema up to date in the connection's transaction; return the revisions that were applied."""
    applied: list[str] = []
    config = Config()
    config.set_main_option("script_location", "dispatcher.store:migrations")
    config.attributes.update(connection=connection, applied=applied)
    with _one_at_a_time:
        command.upgrade(config, "head")
    return applied
