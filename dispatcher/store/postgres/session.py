"""Transactions on PostgreSQL: at most 8 connections a process, HOT for intake and delivery, COLD for all else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Concatenate, ParamSpec, TypeAlias, TypeVar

import asyncpg
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from dispatcher.store.driver_errors import unavailable
from dispatcher.store.postgres import hot_sql as sql
from dispatcher.store.postgres.connection import connect_limited, driver_connection
from dispatcher.store.postgres.connector import CONNECT_TIMEOUT

HOT = 4
COLD = 4

P = ParamSpec("P")
R = TypeVar("R")
Proxy: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


class PostgresSession:
    """See `dispatcher.store.session.Session`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=partial(connect_limited, url, sql.COLD_SETTINGS),
            pool_size=COLD,
            max_overflow=0,
            pool_timeout=CONNECT_TIMEOUT,
            pool_pre_ping=True,
            hide_parameters=True,
        )
        self._reading = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    async def open(self) -> None:
        """Make ready to connect. Raises StoreUnavailable."""
        with unavailable():
            self._pool = await asyncpg.create_pool(
                self._url,
                min_size=0,  # else the pool itself tries to connect again, with a traceback each time
                max_size=HOT,
                reset=_keep,
                max_inactive_connection_lifetime=0,  # a new one is slow at first
                connect=partial(connect_limited, settings=sql.SETTINGS),
            )

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()
        try:
            await asyncio.wait_for(self._pool.close(), CONNECT_TIMEOUT)
        except Exception:  # noqa: BLE001 - what a server that is not there any more makes of a farewell
            self._pool.terminate()

    async def read(
        self, operation: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        with unavailable():
            async with self._reading.connect() as connection:
                with unavailable(driver_connection(connection)):
                    return await connection.run_sync(operation, *args, **kwargs)

    async def write(
        self, operation: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        with unavailable():
            async with self._engine.connect() as connection:
                with unavailable(driver_connection(connection)):
                    async with connection.begin():
                        return await connection.run_sync(operation, *args, **kwargs)

    @asynccontextmanager
    async def hot(self) -> AsyncIterator[Proxy]:
        """A connection of the driver, for the hot statements."""
        with unavailable():
            async with self._pool.acquire(timeout=CONNECT_TIMEOUT) as connection:
                with unavailable(connection):
                    yield connection


async def _keep(connection: asyncpg.Connection) -> None:
    """Give a connection back as it is: our statements leave nothing there, and a reset is a round trip."""
