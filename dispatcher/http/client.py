"""The usual transport: HTTP/1.1 on asyncio's protocols and llhttp (docs/decisions/0010), without proxies."""

from __future__ import annotations

import asyncio
import ssl

from dispatcher.http.addresses import AddressPolicy
from dispatcher.http.connection import Connection
from dispatcher.http.connector import Connector
from dispatcher.http.messages import MAX_READ, Origin, Request, Response
from dispatcher.http.pool import Pool


class HttpClient:
    """An `Exchange`. `timeout` (seconds) is for a whole exchange, of which connecting may take two thirds.

    `tls` replaces the certificates that the system trusts; `max_read` are the bytes of a response's body that are read.
    """

    def __init__(
        self,
        policy: AddressPolicy,
        timeout: float = 15.0,
        tls: ssl.SSLContext | None = None,
        max_read: int = MAX_READ,
    ) -> None:
        self._timeout = timeout
        self._connector = Connector(policy, timeout * 2 / 3, tls)
        self._pool = Pool(max_read)
        # Each waiter with its deadline. All time limits are equal, so the oldest is the first to expire.
        self._waiting: dict[asyncio.Future[Response], float] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def send(self, request: Request) -> Response:
        """Make one request and read the response. Raises TransportError when there is none."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Response] = loop.create_future()
        self._waiting[waiter] = deadline = loop.time() + self._timeout
        if self._timer is None:
            self._timer = loop.call_at(deadline, self._expire)
        try:
            connection = self._pool.acquire(request.origin) or await self._connect(request.origin)
            connection.begin(request.serialized(), waiter)
            return await self._wait_for_response(connection, waiter)
        finally:
            del self._waiting[waiter]

    async def close(self) -> None:
        """Close all connections."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._pool.close()
        await self._connector.close()
        # asyncio calls connection_lost in the next iteration of the loop.
        await asyncio.sleep(0)

    async def _connect(self, origin: Origin) -> Connection:
        connection = await self._connector.connect(origin, lambda: self._pool.new_connection(origin))
        self._pool.add(connection)
        return connection

    async def _wait_for_response(self, connection: Connection, waiter: asyncio.Future[Response]) -> Response:
        try:
            return await waiter
        except TimeoutError:
            return connection.give_up(f"no answer within {self._timeout:g} s")
        except asyncio.CancelledError:
            connection.drop()
            raise

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self._timer = None
        for waiter, deadline in self._waiting.items():
            if deadline > now:
                self._timer = loop.call_at(deadline, self._expire)
                break
            if not waiter.done():
                waiter.set_exception(TimeoutError())
