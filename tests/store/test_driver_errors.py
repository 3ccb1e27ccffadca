"""What a driver raises, and what it means: the database cannot be used now, or the statement is wrong."""

from __future__ import annotations

import asyncio
import sqlite3
import ssl

import asyncpg
import pytest
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InvalidRequestError,
    NoResultFound,
    PendingRollbackError,
    ResourceClosedError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from dispatcher.domain.errors import Conflict, StatementTimeout, StoreUnavailable
from dispatcher.store.driver_errors import unavailable


class FakeConnection:
    def __init__(self, *, closed: bool = False) -> None:
        self.closed = closed

    def is_closed(self) -> bool:
        return self.closed

    def terminate(self) -> None:
        self.closed = True


def of_sqlite(code: int) -> sqlite3.Error:
    error = sqlite3.OperationalError("as SQLite calls it")
    error.sqlite_errorcode = code
    return error


def wrapped(error: BaseException) -> DBAPIError:
    return DBAPIError("select 1", {}, error, hide_parameters=True)


PASSING: list[Exception] = [
    asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
    asyncpg.ConnectionFailureError("unexpected connection_lost() call"),
    asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
    asyncpg.ProtocolError("cannot process message"),
    asyncpg.OutdatedSchemaCacheError("cached schema is outdated"),
    asyncpg.InterfaceError("connection is closed"),
    asyncpg.InterfaceError("cannot perform operation: another operation is in progress"),
    asyncpg.InterfaceError("cannot perform operation: another operation is cancelling"),
    asyncpg.InterfaceError("cannot call Connection.execute(): connection has been released back to the pool"),
    asyncpg.InterfaceError("pool is closing"),
    asyncpg.InterfaceError("the underlying connection is closed"),
    asyncpg.AdminShutdownError("terminating connection due to administrator command"),
    asyncpg.CrashShutdownError("terminating connection because of crash of another server process"),
    asyncpg.CannotConnectNowError("the database system is starting up"),
    asyncpg.DatabaseDroppedError("the database was dropped"),
    asyncpg.IdleSessionTimeoutError("terminating connection due to idle-session timeout"),
    asyncpg.IdleInTransactionSessionTimeoutError("terminating connection due to idle-in-transaction timeout"),
    asyncpg.InFailedSQLTransactionError("current transaction is aborted"),
    asyncpg.NoActiveSQLTransactionError("there is no transaction in progress"),
    asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT in a read-only transaction"),
    asyncpg.InvalidCatalogNameError('database "x" does not exist'),
    asyncpg.InvalidAuthorizationSpecificationError('role "x" is not permitted to log in'),
    asyncpg.InvalidPasswordError("password authentication failed"),
    asyncpg.InsufficientPrivilegeError("permission denied for table events"),
    asyncpg.UndefinedTableError('relation "events" does not exist'),
    asyncpg.UndefinedFunctionError("function f() does not exist"),
    asyncpg.UndefinedColumnError("column does not exist"),
    asyncpg.UndefinedObjectError("type does not exist"),
    asyncpg.InvalidSchemaNameError("schema does not exist"),
    asyncpg.InvalidCachedStatementError("cached statement plan is invalid"),
    asyncpg.InvalidSQLStatementNameError("prepared statement does not exist"),
    asyncpg.DuplicatePreparedStatementError("prepared statement exists already"),
    asyncpg.DiskFullError("could not extend file"),
    asyncpg.OutOfMemoryError("out of memory"),
    asyncpg.TooManyConnectionsError("too many clients already"),
    asyncpg.DeadlockDetectedError("deadlock detected"),
    asyncpg.SerializationError("canceling statement due to conflict with recovery"),
    asyncpg.LockNotAvailableError("canceling statement due to lock timeout"),
    asyncpg.PostgresIOError("could not read block"),
    asyncpg.DataCorruptedError("invalid page"),
    asyncpg.InternalServerError("could not open relation with OID 1"),
    asyncpg.UnknownPostgresError("a code that came later"),
    OSError(113, "No route to host"),
    ConnectionResetError("Connection reset by peer"),
    ssl.SSLError("application data after close notify"),
    TimeoutError(),
    asyncio.IncompleteReadError(b"", 5),
    PoolTimeout("QueuePool limit reached"),
    PendingRollbackError("Can't reconnect until invalid transaction is rolled back."),
    ResourceClosedError("This Connection is closed"),
    InvalidRequestError("Can't operate on closed transaction inside context manager."),
    *map(
        of_sqlite,
        [
            sqlite3.SQLITE_BUSY,
            sqlite3.SQLITE_LOCKED,
            sqlite3.SQLITE_IOERR,
            sqlite3.SQLITE_IOERR_WRITE,
            sqlite3.SQLITE_FULL,
            sqlite3.SQLITE_CANTOPEN,
            sqlite3.SQLITE_READONLY_DBMOVED,
            sqlite3.SQLITE_NOMEM,
            sqlite3.SQLITE_NOTADB,
            sqlite3.SQLITE_CORRUPT,
            sqlite3.SQLITE_PROTOCOL,
            sqlite3.SQLITE_PERM,
        ],
    ),
]
OWN: list[Exception] = [
    asyncpg.UniqueViolationError("duplicate key value"),
    asyncpg.CheckViolationError("no partition of relation found for row"),
    asyncpg.ForeignKeyViolationError("violates foreign key constraint"),
    asyncpg.NumericValueOutOfRangeError("integer out of range"),
    asyncpg.UntranslatableCharacterError("unsupported Unicode escape sequence"),
    asyncpg.ProgramLimitExceededError("index row size exceeds btree maximum"),
    asyncpg.PostgresSyntaxError("syntax error"),
    asyncpg.DataError("invalid input for query argument $1"),
    asyncpg.InterfaceError("the server expects 2 arguments for this query, 1 was passed"),
    of_sqlite(sqlite3.SQLITE_CONSTRAINT_UNIQUE),
    of_sqlite(sqlite3.SQLITE_TOOBIG),
    of_sqlite(sqlite3.SQLITE_ERROR),
    NoResultFound("No row was found"),
    KeyError("ours"),
    Conflict("ours"),
]


def names(errors: list[Exception]) -> list[str]:
    return [f"{type(error).__name__}-{error!s:.30}" for error in errors]


@pytest.mark.parametrize("error", PASSING, ids=names(PASSING))
def test_what_is_about_the_server_or_the_connection_is_unavailable(error: Exception) -> None:
    for each in (error, wrapped(error)):
        connection = FakeConnection()
        with pytest.raises(StoreUnavailable) as caught, unavailable(connection):
            raise each
        assert caught.value.__cause__ is each
        assert not isinstance(caught.value, StatementTimeout)


@pytest.mark.parametrize("error", OWN, ids=names(OWN))
def test_what_is_about_the_statement_rises_as_it_is(error: Exception) -> None:
    connection = FakeConnection()
    with pytest.raises(type(error)) as caught, unavailable(connection):
        raise error
    assert caught.value is error
    assert not connection.closed


@pytest.mark.parametrize("error", [*OWN[:-1], AttributeError("'NoneType' object has no attribute 'write'")])
def test_whatever_rises_over_a_connection_that_is_closed_is_unavailable(error: Exception) -> None:
    with pytest.raises(StoreUnavailable), unavailable(FakeConnection(closed=True)):
        raise error


def test_a_statement_that_took_too_long_is_a_separate_error() -> None:
    error = asyncpg.QueryCanceledError("canceling statement due to statement timeout")
    for each in (error, wrapped(error)):
        connection = FakeConnection()
        with pytest.raises(StatementTimeout), unavailable(connection):
            raise each
        assert not connection.closed


@pytest.mark.parametrize(
    ("error", "closed"),
    [
        (asyncpg.DeadlockDetectedError("deadlock detected"), False),
        (asyncpg.LockNotAvailableError("canceling statement due to lock timeout"), False),
        (asyncpg.InternalClientError("cannot switch to state"), True),
        (asyncpg.ReadOnlySQLTransactionError("a standby"), True),
        (asyncpg.InFailedSQLTransactionError("current transaction is aborted"), True),
        (TimeoutError(), True),
        (wrapped(asyncpg.InterfaceError("another operation is in progress")), True),
    ],
)
def test_a_connection_in_an_unknown_state_is_closed(error: Exception, closed: bool) -> None:
    connection = FakeConnection()
    with pytest.raises(StoreUnavailable), unavailable(connection):
        raise error
    assert connection.closed is closed


async def test_a_cancellation_of_the_drivers_own_is_unavailable_and_ours_is_not() -> None:
    with pytest.raises(StoreUnavailable), unavailable():
        raise asyncio.CancelledError

    async def cancelled() -> None:
        with unavailable():
            await asyncio.Event().wait()

    task = asyncio.create_task(cancelled())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_an_integrity_error_of_sqlalchemy_rises_as_it_is() -> None:
    error = IntegrityError("insert", {}, asyncpg.UniqueViolationError("duplicate key"), hide_parameters=True)
    with pytest.raises(IntegrityError), unavailable():
        raise error
