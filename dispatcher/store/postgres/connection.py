"""Reaching a PostgreSQL server: connections with our timeouts, and migrations that take turns."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from datetime import timedelta
from functools import partial

import asyncpg
from sqlalchemy import Connection, NullPool
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from dispatcher.domain.errors import SettingsError
from dispatcher.domain.events import utc_now
from dispatcher.domain.retention import DEFAULT
from dispatcher.store import migrations
from dispatcher.store.driver_errors import DriverConnection, unavailable
from dispatcher.store.migrations import upgrade
from dispatcher.store.postgres.connector import Connection as Driver
from dispatcher.store.postgres.connector import connect
from dispatcher.store.postgres.partitions import make_ahead
from dispatcher.store.postgres.pooler import refuse_shared_sessions

STATEMENT_TIMEOUT = 30.0
"""Seconds that the server lets a statement run; the client gives up on it after twice as long."""

MIGRATION_LOCK = 7_215_366_640_113_905_921
"""The advisory lock that lets processes which start together migrate one after the other."""


def limits(**settings: str) -> dict[str, str]:
    """Our timeouts, and further settings of the server."""
    milliseconds = str(int(STATEMENT_TIMEOUT * 1000))
    return {
        "statement_timeout": milliseconds,
        "idle_in_transaction_session_timeout": milliseconds,
        **settings,
    }


async def connect_limited(url: str, settings: Mapping[str, str], **_: object) -> Driver:
    """A connection for statements that are short. A pool of asyncpg's gives more arguments, which say nothing new."""
    return await connect(url, limits(**settings), command_timeout=2 * STATEMENT_TIMEOUT)


def migrate(url: str, width: timedelta = DEFAULT.width) -> list[str]:
    """Bring the schema up to date and return the revisions that were applied; make partitions for so much time each.

    Not for a thread with a running event loop. Raises StoreUnavailable, and SettingsError when the address makes no
    sense, or the server refuses the user or the database, or the user what has to be done.
    """
    return asyncio.run(_migrate(url, width))


async def _migrate(url: str, width: timedelta) -> list[str]:
    with unavailable():
        await _checked(url)
        async with aclosing(await lone_engine(url, "0").connect()) as connection, connection.begin():
            try:
                return await connection.run_sync(_upgrade, width)
            except DBAPIError as error:
                if isinstance(error.driver_exception, asyncpg.InsufficientPrivilegeError):
                    raise SettingsError(
                        f"DISPATCHER_DATABASE_URL: {error.driver_exception}; the user has to own the tables, and may "
                        "need CREATE on the schema"
                    ) from error
                raise


def pending(url: str) -> list[str]:
    """The revisions that `migrate` would apply. Raises what `migrate` raises."""
    return asyncio.run(_pending(url))


async def _pending(url: str) -> list[str]:
    with unavailable():
        await _checked(url)
        async with aclosing(await lone_engine(url, "30s").connect()) as connection:
            return await connection.run_sync(migrations.pending)


def lone_engine(url: str, statement_timeout: str, **settings: str) -> AsyncEngine:
    """Connections without a pool, for statements that may take as long as `statement_timeout` (see PostgreSQL)."""
    patient = limits(**{"statement_timeout": statement_timeout} | settings)
    creator = partial(connect, url, patient)
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
    """Wait until no one else changes the tables, and keep others from it until the transaction ends."""
    connection.exec_driver_sql(f"select pg_advisory_xact_lock({MIGRATION_LOCK})")


async def check_server(connection: Driver) -> None:
    """SettingsError when the server is too old, or the database cannot hold every text."""
    [(version, encoding)] = await connection.fetch(_SERVER)
    if version < OLDEST * 10_000:
        raise SettingsError(
            f"DISPATCHER_DATABASE_URL: the server is PostgreSQL {version // 10_000}; expected {OLDEST} or newer"
        )
    if encoding != "UTF8":
        raise SettingsError(
            f"DISPATCHER_DATABASE_URL: the database's encoding is {encoding}; expected one that was made with "
            "encoding 'UTF8'"
        )


async def _checked(url: str) -> None:
    """Connect for the first time. SettingsError for what no waiting can mend."""
    try:
        await refuse_shared_sessions(url)
        connection = await connect_limited(url, {})
        try:
            await check_server(connection)
        finally:
            await connection.close()
    except (ValueError, *_REFUSALS) as error:
        raise SettingsError(f"DISPATCHER_DATABASE_URL: {error}") from error


OLDEST = 14
"""The oldest major version of PostgreSQL that is taken."""

_SERVER = "select current_setting('server_version_num')::int, current_setting('server_encoding')"

_REFUSALS = (
    asyncpg.ClientConfigurationError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
)
