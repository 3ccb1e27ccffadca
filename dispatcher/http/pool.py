"""The connections of the HTTP client: idle ones can take another request, the last used one first."""

from __future__ import annotations

import asyncio

from dispatcher.http.connection import Connection
from dispatcher.http.messages import MAX_READ, Origin

KEEP_ALIVE = 30.0
"""Seconds that a connection may be idle, and up to half of that again."""

MAX_IDLE = 512
"""Idle connections at most, with all origins together; one more is closed."""


class Pool:
    """All open connections."""

    def __init__(self, max_read: int = MAX_READ) -> None:
        self._max_read = max_read
        self._open: set[Connection] = set()
        self._idle: dict[Origin, list[Connection]] = {}
        self._count = 0
        self._sweep: asyncio.TimerHandle | None = None

    def new_connection(self, origin: Origin) -> Connection:
        """A connection that is not open yet. It comes back here when it is idle, and leaves when it is closed."""
        return Connection(origin, self._on_idle, self._on_closed, self._max_read)

    def add(self, connection: Connection) -> None:
        """Keep track of an open connection."""
        if connection.usable:
            self._open.add(connection)

    def acquire(self, origin: Origin) -> Connection | None:
        """The connection that was idle shortest, for one request."""
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            self._count -= 1
            if connection.usable:
                return connection
        return None

    def close(self) -> None:
        """Close all connections, also those that wait for a response."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connection in list(self._open):
            connection.end()

    def _on_idle(self, connection: Connection) -> None:
        if self._count >= MAX_IDLE:
            connection.drop()
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        idle = self._idle.get(connection.origin)
        if idle is None:
            idle = self._idle[connection.origin] = []
        idle.append(connection)
        self._count += 1
        if self._sweep is None:
            self._sweep = loop.call_later(KEEP_ALIVE / 2, self._close_expired)

    def _on_closed(self, connection: Connection) -> None:
        self._open.discard(connection)
        idle = self._idle.get(connection.origin)
        if idle is not None and connection in idle:
            idle.remove(connection)
            self._count -= 1

    def _close_expired(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweep = None
        before = loop.time() - KEEP_ALIVE
        for connection in [one for idle in self._idle.values() for one in idle]:
            if connection.idle_since < before:
                connection.drop()
        self._idle = {origin: idle for origin, idle in self._idle.items() if idle}
        if self._idle:
            self._sweep = loop.call_later(KEEP_ALIVE / 2, self._close_expired)
