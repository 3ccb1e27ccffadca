"""Finds out whether a pooler (PgBouncer) stands before PostgreSQL, and refuses one that shares sessions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from dispatcher.domain.errors import SettingsError, StoreUnavailable
from dispatcher.store.postgres.connector import CONNECT_TIMEOUT, Connection, connect

ROUNDS = 5
"""How often it is looked whether a session stays with its server connection: others may use the pooler meanwhile."""

_ADVICE = (
    "this service needs its own sessions (settings, prepared statements, locks). Set pool_mode = session for this "
    "database, or name PostgreSQL itself"
)


async def refuse_shared_sessions(url: str) -> None:
    """SettingsError when a pooler gives a session another server connection for each transaction or statement.

    Nothing is set or changed: the server connections may be others'. Raises what connecting raises.
    """
    async with _session(url) as first:
        # The key that cancels statements has the server's process in it; a pooler has its own keys.
        if await _server_process(first) == first.get_server_pid():
            return
        async with _session(url) as second:
            for _ in range(ROUNDS):
                if await _is_shared(first, second):
                    raise SettingsError(
                        f"DISPATCHER_DATABASE_URL: PgBouncer in transaction mode cannot be used: {_ADVICE}"
                    )


async def _is_shared(first: Connection, second: Connection) -> bool:
    """Whether a session in a transaction can have the server connection that another one had just now.

    In session mode it never can, and each keeps its own. In transaction mode the second one gets what the first one had
    last, or (with `server_round_robin`) the first one gets another one each time.
    """
    of_first = {await _server_process(first), await _server_process(first)}
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            await second.execute("begin")
            other = await second.fetchval("select pg_backend_pid()")
    except TimeoutError as error:
        raise StoreUnavailable(
            "the pooler before the database has no second connection for this service: its pool is too small or used up"
        ) from error
    of_first.add(await _server_process(first))
    await second.execute("commit")
    return other in of_first or len(of_first) > 1


async def _server_process(connection: Connection) -> int:
    # In a transaction: only there two messages are sure to reach the same server.
    await connection.execute("begin")
    process: int = await connection.fetchval("select pg_backend_pid()")
    await connection.execute("commit")
    return process


@asynccontextmanager
async def _session(url: str) -> AsyncIterator[Connection]:
    # Without a cache: a prepared statement would stay behind in a server connection of others.
    connection = await connect(url, {}, command_timeout=2 * CONNECT_TIMEOUT, statement_cache_size=0)
    try:
        yield connection
    except asyncpg.PostgresError as error:
        if "pooling mode" not in str(error):
            raise
        raise SettingsError(
            f"DISPATCHER_DATABASE_URL: PgBouncer in statement mode cannot be used: {_ADVICE}"
        ) from error
    finally:
        connection.terminate()
