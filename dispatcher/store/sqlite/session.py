"""Transactions on SQLite, for one process.

One thread writes and two read, each on its own connection: a whole transaction costs the event loop one hand-over, and
writing is in turn by itself. A lock on a file beside the database keeps other processes out.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError

from dispatcher.domain.errors import SettingsError
from dispatcher.store import migrations
from dispatcher.store.driver_errors import leaves_file_usable, unavailable
from dispatcher.store.migrations import upgrade

READERS = 2

BUSY_TIMEOUT = 5.0
"""Seconds to wait for somebody who reads or backs up the file with another tool."""

_HEADER = b"SQLite format 3\0"

P = ParamSpec("P")
R = TypeVar("R")


class SqliteSession:
    """See `dispatcher.store.session.Session`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self) -> None:
        """Keep other processes out, and make ready to connect. SettingsError while another process has the file."""
        self._lock = _lock(self._path)
        self._writer = _Worker(_engine(self._path, 1, "begin immediate"), 1)
        self._readers = _Worker(_engine(self._path, READERS, "begin"), READERS)

    async def close(self) -> None:
        """Finish what was begun, close the connections, and let other processes in."""
        await self._readers.close()
        await self._writer.close()
        os.close(self._lock)

    async def read(
        self, operation: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        return await self._readers.run(lambda connection: operation(connection, *args, **kwargs))

    async def write(
        self, operation: Callable[Concatenate[Connection, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        return await self._writer.run(lambda connection: operation(connection, *args, **kwargs))


class _Worker:
    """Runs transactions in its own threads."""

    def __init__(self, engine: Engine, threads: int) -> None:
        self._engine = engine
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="sqlite")

    async def run(self, operation: Callable[[Connection], R]) -> R:
        with unavailable():
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._transact, operation)

    def _transact(self, operation: Callable[[Connection], R]) -> R:
        with self._engine.connect() as connection:
            try:
                with connection.begin():
                    return operation(connection)
            except DBAPIError as error:
                if not leaves_file_usable(error):
                    connection.invalidate()  # the next one opens the file again
                raise

    async def close(self) -> None:
        """Finish what was begun, and close the connections."""
        await asyncio.to_thread(self._threads.shutdown)
        self._engine.dispose()


def migrate(path: Path) -> list[str]:
    """Bring the schema up to date and return the revisions that were applied.

    SettingsError while another process has the file.
    """
    lock = _lock(path)
    engine = _engine(path, 1, "begin immediate")
    try:
        with unavailable(), engine.begin() as connection:
            return upgrade(connection)
    finally:
        engine.dispose()
        os.close(lock)


def pending(path: Path) -> list[str]:
    """The revisions that `migrate` would apply; a file that is not there is not made."""
    if not path.exists():
        return migrations.pending(None)
    engine = _engine(path, 1, "begin")
    try:
        with unavailable(), engine.connect() as connection:
            return migrations.pending(connection)
    finally:
        engine.dispose()


def _lock(path: Path) -> int:
    """Keep other processes out until the descriptor is closed; make the files, for their owner only."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        with path.open("rb") as file:
            begin = file.read(len(_HEADER))
        lock = os.open(path.with_name(f"{path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise SettingsError(f"DISPATCHER_DATABASE_URL: cannot write {path}: {error.strerror}") from error
    if begin not in (b"", _HEADER):
        os.close(lock)
        raise SettingsError(
            f"DISPATCHER_DATABASE_URL: {path} is no SQLite database; expected one, or no file yet"
        )
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise SettingsError(
            f"DISPATCHER_DATABASE_URL: {path} is in use by another process. SQLite is for one: stop that one "
            "first, or use postgresql://… for several"
        ) from None
    return lock


def _engine(path: Path, connections: int, begin: str) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        pool_size=connections,
        max_overflow=0,
        hide_parameters=True,
        # None: the driver begins no transactions by itself.
        connect_args={"timeout": BUSY_TIMEOUT, "isolation_level": None},
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def _prepare(connection: DBAPIConnection, _: object) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode = wal", "synchronous = full", "temp_store = memory", "cache_size = -32000"):
        cursor.execute(f"pragma {pragma}")
    cursor.close()
