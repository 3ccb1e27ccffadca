"""The HTTP client of all target kinds: guarded addresses, one time limit an exchange, bounded answers.

HTTP/1.1 on asyncio's protocols and llhttp (docs/decisions/0010). Redirects are not followed, cookies not kept, proxies
and netrc not looked at, compressed answers not asked for and not unpacked, and nothing is sent twice.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping

from yarl import URL

from dispatcher.targets.http_connection import Connection
from dispatcher.targets.http_dialing import Dialer
from dispatcher.targets.http_messages import (
    MAX_READ,
    Headers,
    NoReply,
    Origin,
    Reply,
    ending,
    opening,
    request_line,
)
from dispatcher.targets.http_pool import Pool
from dispatcher.targets.network import Guard

__all__ = ["MAX_READ", "Headers", "HttpClient", "NoReply", "Origin", "Reply"]


class HttpClient:
    """Makes requests. `timeout` (seconds) is for a whole exchange, of which connecting may take two thirds.

    How many run at once is not limited here: that belongs to the destinations. `tls` stands for another trust than
    the system's; `max_read` are the bytes of an answer's body that are read.
    """

    def __init__(
        self,
        guard: Guard,
        timeout: float = 15.0,
        tls: ssl.SSLContext | None = None,
        max_read: int = MAX_READ,
    ) -> None:
        self.guard = guard
        self.timeout = timeout
        self._dialer = Dialer(guard, timeout * 2 / 3, tls)
        self._pool = Pool(max_read)
        # Who waits, and until when. All limits are equal, so the first that came is the first to end.
        self._waiting: dict[asyncio.Future[Reply], float] = {}
        self._alarm: asyncio.TimerHandle | None = None

    async def exchange(self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None) -> Reply:
        """Make one request and read the answer. Raises NoReply when there is none."""
        try:
            origin = Origin(url.scheme == "https", (url.raw_host or "").rstrip("."), url.port or 0)
            head = request_line(method, url.raw_path_qs) + opening(origin, headers)
        except ValueError as error:
            raise NoReply(f"the request could not be made: {error}") from error
        return await self.send(origin, head + ending(method, body or b""))

    async def send(self, origin: Origin, request: bytes) -> Reply:
        """Write a whole request, as `http_messages` makes its parts, and read the answer. Raises NoReply."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Reply] = loop.create_future()
        self._waiting[waiter] = deadline = loop.time() + self.timeout
        if self._alarm is None:
            self._alarm = loop.call_at(deadline, self._end_late_ones)
        try:
            connection = self._pool.take(origin) or await self._connect(origin)
            connection.begin(request, waiter)
            return await self._answer(connection, waiter)
        finally:
            del self._waiting[waiter]

    async def close(self) -> None:
        """Let go of all connections."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._pool.close()
        await self._dialer.close()
        # Transports tell of their end in the next turn of the loop.
        await asyncio.sleep(0)

    async def _connect(self, origin: Origin) -> Connection:
        connection = await self._dialer.connect(origin, lambda: self._pool.make(origin))
        self._pool.add(connection)
        return connection

    async def _answer(self, connection: Connection, waiter: asyncio.Future[Reply]) -> Reply:
        try:
            return await waiter
        except TimeoutError:
            return connection.give_up(f"no answer within {self.timeout:g} s")
        except asyncio.CancelledError:
            connection.drop()
            raise

    def _end_late_ones(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._alarm = None
        for waiter, deadline in self._waiting.items():
            if deadline > now:
                self._alarm = loop.call_at(deadline, self._end_late_ones)
                break
            if not waiter.done():
                waiter.set_exception(TimeoutError())
