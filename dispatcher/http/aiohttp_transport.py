"""The transport for networks with an egress proxy: aiohttp's client, kept to the rules of `Exchange`.

It takes some eight times the CPU of `HttpClient` (docs/decisions/0022), so it is used where there is a proxy.
"""

from __future__ import annotations

import asyncio
import ssl
from functools import partial
from typing import cast

import aiohttp
from aiohttp import ClientResponse, ClientSession
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from dispatcher.http.addresses import AddressPolicy, GuardedResolver, open_socket
from dispatcher.http.aiohttp_failures import Failures
from dispatcher.http.bounded_protocol import BoundedProtocol
from dispatcher.http.messages import MAX_HEAD, MAX_READ, Headers, Request, Response

_KEEP_ALIVE = 30.0
_CACHE_SECONDS = 10
_MAX_FIELDS = 1000
# aiohttp rounds longer times up to whole seconds unless this is longer still.
_NEVER_ROUNDED = 86_400.0


class AiohttpTransport:
    """An `Exchange`. The proxy (`http://user:password@host:port`) finds and connects to the servers.

    So the policy sees the addresses that stand in URLs, and no others: the proxy has to refuse what names lead to.
    Without a proxy the policy sees all of them.
    """

    def __init__(
        self,
        policy: AddressPolicy,
        timeout: float = 15.0,
        tls: ssl.SSLContext | None = None,
        max_read: int = MAX_READ,
        *,
        proxy: str | None = None,
    ) -> None:
        self._policy = policy
        self._timeout = timeout
        self._connecting = timeout * 2 / 3
        self._tls = tls
        self._max_read = max_read
        self._proxy = None if proxy is None else URL(proxy)
        place = None if self._proxy is None else f"{self._proxy.host}:{self._proxy.port}"
        self._failures = Failures(timeout, self._connecting, place)
        self._resolver: GuardedResolver | None = None
        self._session: ClientSession | None = None

    async def send(self, request: Request) -> Response:
        """Make one request and read the response. Raises TransportError when there is none."""
        body = _Body(self._max_read)
        try:
            self._policy.check_host(request.origin.host)
            async with asyncio.timeout(self._timeout):
                await self._exchange(request, body)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if body.response is None:
                raise self._failures.name(error, request.origin) from error
        return body.read_so_far()

    async def close(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()
            if self._resolver is not None:
                await self._resolver.close()
            # Transports end in the next iteration of the loop.
            await asyncio.sleep(0)

    async def _exchange(self, request: Request, body: _Body) -> None:
        session = self._session = self._session or self._new_session()
        async with session.request(
            request.method,
            request.url,
            headers=request.headers,
            data=request.body or None,
            allow_redirects=False,
            proxy=self._proxy,
        ) as response:
            await body.read(response)

    def _new_session(self) -> ClientSession:
        session = ClientSession(
            connector=self._new_connector(),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=("Content-Type",),
            timeout=aiohttp.ClientTimeout(connect=self._connecting, ceil_threshold=_NEVER_ROUNDED),
            max_line_size=MAX_HEAD,
            max_field_size=MAX_HEAD,
            max_headers=_MAX_FIELDS,
        )
        # Otherwise it sends a GET, PUT or DELETE once more when an idle connection turns out to be closed.
        session._retry_connection = False  # noqa: SLF001 - there is no public way
        return session

    def _new_connector(self) -> aiohttp.TCPConnector:
        direct = self._proxy is None
        self._resolver = GuardedResolver(self._policy) if direct else None
        connector = aiohttp.TCPConnector(
            ssl=True if self._tls is None else self._tls,
            limit=0,
            keepalive_timeout=_KEEP_ALIVE,
            ttl_dns_cache=_CACHE_SECONDS,
            timeout_ceil_threshold=_NEVER_ROUNDED,
            resolver=self._resolver,
            socket_factory=partial(open_socket, self._policy) if direct else None,
        )
        protocol = partial(BoundedProtocol, asyncio.get_running_loop(), self._max_read)
        # There is no public way to choose the protocol. The tests of endless answers fail if aiohttp renames the field.
        connector._factory = cast("partial[ResponseHandler]", protocol)  # noqa: SLF001
        return connector


class _Body:
    """What has come of a response: once there is a status it counts, whatever becomes of the rest."""

    def __init__(self, limit: int) -> None:
        self.response: ClientResponse | None = None
        self._limit = limit
        self._content = bytearray()
        self._complete = False

    async def read(self, response: ClientResponse) -> None:
        self.response = response
        async for chunk in response.content.iter_any():
            self._content += chunk
            if len(self._content) > self._limit:
                response.close()
                return
        self._complete = True

    def read_so_far(self) -> Response:
        assert self.response is not None  # noqa: S101 - else `send` has raised
        headers = Headers(self.response.raw_headers)
        return Response(self.response.status, headers, bytes(self._content[: self._limit]), self._complete)
