"""Reaching a PostgreSQL server: connections with our timeouts, and migrations that take turns."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import timedelta
from functools import partial
from typing import TypedDict

import asyncpg
from sqlalchemy import Connection, NullPool
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from dispatcher.domain.errors import SettingsError
from dispatcher.domain.events import utc_now
from dispatcher.domain.retention import DEFAULT
from dispatcher.store.failures import DriverConnection, unavailable
from dispatcher.store.migrations import upgrade
from dispatcher.store.partitions import make_ahead

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


def migrate(url: str, width: timedelta = DEFAULT.width) -> list[str]:
    """Bring the schema up to date and return the revisions that were applied; make partitions for so much time each.

    Not for a thread with a running event loop. Raises StoreUnavailable, and SettingsError when the address makes no
    sense, or the server refuses the user or the database, or the user what has to be done.
    """
    return asyncio.run(_migrate(url, width))


async def _migrate(url: str, width: timedelta) -> list[str]:
    with unavailable():
        async with aclosing(await _connected(lone_engine(url, "0"))) as connection, connection.begin():
            try:
                return await connection.run_sync(_upgrade, width)
            except DBAPIError as error:
                if isinstance(error.driver_exception, asyncpg.InsufficientPrivilegeError):
                    raise SettingsError(
                        f"DISPATCHER_DATABASE_URL: {error.driver_exception}; the user has to own the tables, and may "
                        "need CREATE on the schema"
                    ) from error
                raise


def lone_engine(url: str, statement_timeout: str, **settings: str) -> AsyncEngine:
    """Connections without a pool, for statements that may take as long as `statement_timeout` (see PostgreSQL)."""
    patient: Options = {
        **options(**{"statement_timeout": statement_timeout} | settings),
        "command_timeout": None,
    }
    creator = partial(asyncpg.connect, url, **patient)
    return create_async_engine("postgresql+asyncpg://", async_creator=creator, poolclass=NullPool)


def driver_connection(connection: AsyncConnection) -> DriverConnection | None:
    """What asyncpg knows of a connection; None when SQLAlchemy has it no longer."""
    used = connection.sync_connection
    if used is None or used.closed or used.invalidated:
        return None
    driver: DriverConnection | None = used.connection.driver_connection
    return driver


def _upgrade(connection: Connection, width: timedelta) -> list[str]:
    take_migration_lock(connection)
    applied = upgrade(connection)
    make_ahead(connection, utc_now(), width)
    return applied


def take_migration_lock(connection: Connection) -> None:
    """Wait until nobody else changes the tables, and keep others from it until the transaction ends."""
    connection.exec_driver_sql(f"select pg_advisory_xact_lock({MIGRATION_LOCK})")


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
