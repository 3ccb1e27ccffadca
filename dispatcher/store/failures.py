"""Tells a database that cannot be reached now from everything else that a driver raises."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from dispatcher.domain.errors import StoreUnavailable

_SQLITE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_NOMEM,
    }
)
_POSTGRES = (
    asyncpg.PostgresConnectionError,  # 08: broken off, or never there
    asyncpg.InsufficientResourcesError,  # 53: disk, memory or connections are used up
    asyncpg.OperatorInterventionError,  # 57: starting, shutting down, or a statement that took too long
    asyncpg.TransactionRollbackError,  # 40: a deadlock
    asyncpg.ReadOnlySQLTransactionError,  # a standby, or a primary that became one
)


@contextmanager
def unavailable() -> Iterator[None]:
    """StoreUnavailable with its cause when the database cannot be reached; other errors rise as they are."""
    try:
        yield
    except (
        OSError,
        PoolTimeout,
        DBAPIError,
        sqlite3.Error,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
    ) as error:
        if not _is_passing(error):
            raise
        raise StoreUnavailable(f"the database cannot be reached: {_line(error)}") from error


def _is_passing(error: BaseException) -> bool:
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or _is_passing(error.driver_exception)
    if isinstance(error, sqlite3.Error):
        return (getattr(error, "sqlite_errorcode", 0) & 0xFF) in _SQLITE
    if type(error) is asyncpg.InterfaceError:
        # The driver's word for a connection that was lost between two statements; it has no class for it.
        return "connection is closed" in str(error)
    return isinstance(error, (OSError, PoolTimeout, *_POSTGRES))


def _line(error: BaseException) -> str:
    cause = error.driver_exception if isinstance(error, DBAPIError) else error
    return str(cause).partition("\n")[0] or type(cause).__name__
