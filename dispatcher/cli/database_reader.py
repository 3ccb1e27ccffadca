"""Reads from the database for `dispatcher doctor`, without opening the store: nothing is migrated, made or locked."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any
from urllib.parse import quote

from dispatcher.config.secret_keys import sqlite_file
from dispatcher.config.settings import Settings

TIMEOUT = 10.0
"""Seconds that the database has to answer."""


async def read_rows(settings: Settings, statement: str) -> Sequence[Sequence[Any]]:
    """The rows of a statement that both databases understand. Raises what the driver raises."""
    # Any, because the columns are whatever the statement asks for.
    from dispatcher.store.postgres.connection import connect_limited
    from dispatcher.store.postgres.hot_sql import COLD_SETTINGS

    file = sqlite_file(settings.database.url)
    if file is not None:
        address = f"file:{quote(str(file))}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, timeout=TIMEOUT)) as reader:
            return reader.execute(statement).fetchall()
    connection = await connect_limited(settings.database.url.reveal(), COLD_SETTINGS)
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()
