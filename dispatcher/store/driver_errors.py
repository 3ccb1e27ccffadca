"""Tells a database that cannot be used now from everything else that a driver raises."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import asyncpg
from sqlalchemy.exc import DBAPIError, InvalidRequestError, PendingRollbackError, ResourceClosedError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from dispatcher.domain.errors import DispatcherError, StatementTimeout, StoreUnavailable

_OF_SQLITE_STATEMENTS = frozenset(
    {
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_ABORT,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_MISUSE,
        sqlite3.SQLITE_RANGE,
    }
)
"""What is wrong with a statement or its values. All other codes are about the file, the disk or who else uses it."""

_OF_STATEMENTS = frozenset({"0A", "20", "21", "22", "23", "42", "44", "54", "P0"})
"""Classes of SQLSTATE: what is wrong with a statement or its values. All other classes are about the server."""

_OF_THE_DATABASE = (
    asyncpg.InvalidCachedStatementError,  # 0A: the tables were changed since it was prepared
    asyncpg.InsufficientPrivilegeError,  # 42: rights were revoked, or are not granted yet
    asyncpg.UndefinedTableError,  # 42, and what follows: renamed, moved, or restored from a backup just now
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.UndefinedObjectError,
    asyncpg.InvalidSchemaNameError,
    asyncpg.DuplicatePreparedStatementError,  # a pooler gave us the server connection of another
)
"""Of these classes too, but nothing is wrong with the statement."""

_KEPT = ("40", "55", "57014")
"""SQLSTATEs of a statement that only has to be repeated: deadlocks, locks and timeouts. The connection is good."""


class DriverConnection(Protocol):
    """The driver's connection that statements go through."""

    def is_closed(self) -> bool: ...

    def terminate(self) -> None: ...


@contextmanager
def unavailable(connection: DriverConnection | None = None) -> Iterator[None]:
    """StoreUnavailable with its cause when the database cannot be used now; other errors rise as they are.

    StatementTimeout when it gave a statement up. Whatever is raised over a `connection` that is closed means that it
    was lost. One whose state is not sure afterwards is closed, so that it is not used again.
    """
    try:
        yield
    except DispatcherError:
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # No one cancelled us: the driver did so with one of its futures when the connection was lost.
        _drop(connection)
        raise StoreUnavailable("the database cannot be reached: the connection was lost") from error
    except Exception as error:
        if not _is_lost(connection) and not _is_passing(error):
            raise
        cause = error.driver_exception if isinstance(error, DBAPIError) else error
        if isinstance(cause, asyncpg.QueryCanceledError):
            raise StatementTimeout(f"the database gave a statement up: {_line(cause)}") from error
        if not _leaves_connection(cause):
            _drop(connection)
        raise StoreUnavailable(f"the database cannot be reached: {_line(cause)}") from error


def _is_passing(error: BaseException) -> bool:
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or _is_passing(error.driver_exception)
    if isinstance(error, sqlite3.Error):
        return (getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE) & 0xFF) not in _OF_SQLITE_STATEMENTS
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "")[:2] not in _OF_STATEMENTS or isinstance(error, _OF_THE_DATABASE)
    if isinstance(error, asyncpg.InterfaceError):
        return _is_about_the_connection(error)
    if isinstance(error, InvalidRequestError):
        # Its class is the base of many; by itself it is how a transaction ends that the driver had given up.
        return type(error) in {InvalidRequestError, PendingRollbackError, ResourceClosedError}
    # InternalClientError: the driver's protocol is in a state that it does not know. EOFError: it broke off.
    return isinstance(error, (OSError, EOFError, PoolTimeout, asyncpg.InternalClientError))


def leaves_file_usable(error: DBAPIError) -> bool:
    """Whether SQLite's connection is good after an error: only a statement failed, or others use the file."""
    code = getattr(error.driver_exception, "sqlite_errorcode", sqlite3.SQLITE_MISUSE) & 0xFF
    return code in _OF_SQLITE_STATEMENTS or code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _is_about_the_connection(error: asyncpg.InterfaceError) -> bool:
    """Whether it is one of the driver's words for a connection that cannot be used; it has no class for these."""
    if isinstance(error, (asyncpg.DataError, asyncpg.ClientConfigurationError)):
        return False
    text = str(error)
    return "connection" in text or "another operation" in text or "pool is" in text or "closed" in text


def _is_lost(connection: DriverConnection | None) -> bool:
    try:
        return connection is not None and connection.is_closed()
    except asyncpg.InterfaceError:
        return True  # its pool has taken it back, as it does once it is closed


def _leaves_connection(error: BaseException) -> bool:
    """Whether the connection can be used after it: the server says that it only gave a statement up."""
    return isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "").startswith(_KEPT)


def _drop(connection: DriverConnection | None) -> None:
    if connection is not None and not _is_lost(connection):
        connection.terminate()


def _line(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
