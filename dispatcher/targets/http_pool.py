"""The connections of the HTTP client: those at rest can take another request, the last used one first."""

from __future__ import annotations

import asyncio

from dispatcher.targets.http_connection import Connection
from dispatcher.targets.http_messages import MAX_READ, Origin

KEEP_ALIVE = 30.0
"""Seconds that a connection may rest, and up to half of that again."""

MAX_RESTING = 512
"""Connections that rest at most, with all origins together; one more is closed."""


class Pool:
    """All open connections."""

    def __init__(self, max_read: int = MAX_READ) -> None:
        self._max_read = max_read
        self._open: set[Connection] = set()
        self._resting: dict[Origin, list[Connection]] = {}
        self._count = 0
        self._sweep: asyncio.TimerHandle | None = None

    def make(self, origin: Origin) -> Connection:
        """A connection that is not open yet. It comes here when it rests, and leaves when it ends."""
        return Connection(origin, self._rest, self._gone, self._max_read)

    def add(self, connection: Connection) -> None:
        """Note that it is open."""
        if connection.usable:
            self._open.add(connection)

    def take(self, origin: Origin) -> Connection | None:
        """The connection that has rested shortest, for one request."""
        resting = self._resting.get(origin)
        while resting:
            connection = resting.pop()
            self._count -= 1
            if connection.usable:
                return connection
        return None

    def close(self) -> None:
        """Close all connections, also those that wait for an answer."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connection in list(self._open):
            connection.end()

    def _rest(self, connection: Connection) -> None:
        if self._count >= MAX_RESTING:
            connection.drop()
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        resting = self._resting.get(connection.origin)
        if resting is None:
            resting = self._resting[connection.origin] = []
        resting.append(connection)
        self._count += 1
        if self._sweep is None:
            self._sweep = loop.call_later(KEEP_ALIVE / 2, self._end_old_ones)

    def _gone(self, connection: Connection) -> None:
        self._open.discard(connection)
        resting = self._resting.get(connection.origin)
        if resting is not None and connection in resting:
            resting.remove(connection)
            self._count -= 1

    def _end_old_ones(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweep = None
        before = loop.time() - KEEP_ALIVE
        for connection in [one for resting in self._resting.values() for one in resting]:
            if connection.idle_since < before:
                connection.drop()
        self._resting = {origin: resting for origin, resting in self._resting.items() if resting}
        if self._resting:
            self._sweep = loop.call_later(KEEP_ALIVE / 2, self._end_old_ones)
