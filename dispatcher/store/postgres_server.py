"""Reaching a PostgreSQL server: connections with our timeouts, and migrations that take turns."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from functools import partial
from typing import TypedDict

import asyncpg
from sqlalchemy import NullPool
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from dispatcher.domain.errors import SettingsError
from dispatcher.store.failures import unavailable
from dispatcher.store.migrations import upgrade

CONNECT_TIMEOUT = 10.0
"""Seconds that a new connection, or a place in a pool, may take."""

STATEMENT_TIMEOUT = 30.0
"""Seconds that the server lets a statement run; the client gives up on it after twice as long."""

MIGRATION_LOCK = 7_215_366_640_113_905_921
"""The advisory lock that lets processes which start together migrate one after the other."""


class Options(TypedDict):
    """What asyncpg connects with."""

    timeout: float
    command_timeout: float | None
    server_settings: dict[str, str]


def options(**settings: str) -> Options:
    """Our timeouts, and further settings of the server."""
    milliseconds = str(int(STATEMENT_TIMEOUT * 1000))
    limits = {"statement_timeout": milliseconds, "idle_in_transaction_session_timeout": milliseconds}
    return {
        "timeout": CONNECT_TIMEOUT,
        "command_timeout": 2 * STATEMENT_TIMEOUT,
        "server_settings": {"application_name": "dispatcher", **limits, **settings},
    }


def migrate(url: str) -> list[str]:
    """Bring the schema up to date and return the revisions that were applied.

    Not for a thread with a running event loop. Raises StoreUnavailable, and SettingsError when the address makes no
    sense or the server refuses the user or the database.
    """
    return asyncio.run(_migrate(url))


async def _migrate(url: str) -> list[str]:
    patient: Options = {**options(statement_timeout="0"), "command_timeout": None}
    creator = partial(asyncpg.connect, url, **patient)
    engine = create_async_engine("postgresql+asyncpg://", async_creator=creator, poolclass=NullPool)
    with unavailable():
        async with aclosing(await _connected(engine)) as connection, connection.begin():
            await connection.exec_driver_sql(f"select pg_advisory_xact_lock({MIGRATION_LOCK})")
            return await connection.run_sync(upgrade)


async def _connected(engine: AsyncEngine) -> AsyncConnection:
    try:
        return await engine.connect()
    except ValueError as error:
        raise SettingsError(f"DISPATCHER_DATABASE_URL: {error}") from error
    except DBAPIError as error:
        if not isinstance(error.driver_exception, _REFUSALS):
            raise
        raise SettingsError(f"DISPATCHER_DATABASE_URL: {error.driver_exception}") from error


_REFUSALS = (
    asyncpg.ClientConfigurationError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)
