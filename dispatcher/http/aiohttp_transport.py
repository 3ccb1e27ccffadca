"""The transport for networks with an egress proxy: aiohttp's client, kept to the rules of `Exchange`.

It takes some eight times the CPU of `HttpClient` (docs/decisions/0022), so it is used where there is a proxy.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from functools import partial

import aiohttp
from aiohttp import ClientResponse, ClientSession
from yarl import URL

from dispatcher.http.addresses import AddressPolicy, BlockedAddress, GuardedResolver, open_socket
from dispatcher.http.messages import MAX_HEAD, MAX_READ, Headers, Origin, Request, Response, TransportError

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
        self._tls = tls
        self._max_read = max_read
        self._proxy = None if proxy is None else URL(proxy)
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
                raise self._failure(error, request.origin) from error
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
            timeout=aiohttp.ClientTimeout(connect=self._timeout * 2 / 3, ceil_threshold=_NEVER_ROUNDED),
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
        return aiohttp.TCPConnector(
            ssl=True if self._tls is None else self._tls,
            limit=0,
            keepalive_timeout=_KEEP_ALIVE,
            ttl_dns_cache=_CACHE_SECONDS,
            timeout_ceil_threshold=_NEVER_ROUNDED,
            resolver=self._resolver,
            socket_factory=partial(open_socket, self._policy) if direct else None,
        )

    def _failure(self, error: Exception, origin: Origin) -> TransportError:
        if isinstance(error, aiohttp.ClientConnectorError):
            return self._no_connection(error, origin)
        if isinstance(error, aiohttp.ServerTimeoutError):
            # Whether the server or only its handshake is silent cannot be seen here.
            limit = f"{self._timeout * 2 / 3:g} s"
            return TransportError(f"no connection to {origin.place} within {limit}", down=not origin.tls)
        if isinstance(error, TimeoutError):
            return TransportError(f"no answer within {self._timeout:g} s")
        if isinstance(error, BlockedAddress):
            return TransportError(f"blocked: {error.found_behind(origin.host)}")
        if isinstance(error, aiohttp.ClientError):
            return _no_response(error, origin)
        return TransportError(f"the request could not be made: {error}")

    def _no_connection(self, error: aiohttp.ClientConnectorError, origin: Origin) -> TransportError:
        place, cause = origin.place, error.os_error
        if isinstance(cause, BlockedAddress):
            return TransportError(f"blocked: {cause.found_behind(origin.host)}")
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            reason = getattr(error.certificate_error, "verify_message", "") or str(error.certificate_error)
            return TransportError(f"the certificate of {place} is not accepted: {reason}")
        if isinstance(error, aiohttp.ClientSSLError):
            return TransportError(f"no TLS connection to {place}: {_detail(cause)}")
        if isinstance(error, aiohttp.ClientProxyConnectionError) and self._proxy is not None:
            place = f"the proxy {self._proxy.host}:{self._proxy.port}"
        elif isinstance(error, aiohttp.ClientConnectorDNSError):
            return TransportError(f"could not find the address of {origin.host}: {_detail(cause)}", down=True)
        return TransportError(f"no connection to {place}: {_detail(cause)}", down=True)


def _no_response(error: aiohttp.ClientError, origin: Origin) -> TransportError:
    if isinstance(error, aiohttp.ClientHttpProxyError):
        refusal = f"{error.status} {error.message}"[:200]
        return TransportError(f"the proxy refused {origin.place}: {refusal}", down=True)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return TransportError("the receiver closed the connection before it answered", early=True)
    if isinstance(error, aiohttp.ClientConnectionError):
        lost = f"the connection was lost before an answer came: {_detail(error)}"
        return TransportError(lost, early=isinstance(error, aiohttp.ClientOSError))
    if isinstance(error, aiohttp.InvalidURL):
        return TransportError("the request could not be made: its URL is not valid")
    reason = getattr(error, "message", "") or type(error).__name__
    return TransportError(f"the answer is not HTTP: {' '.join(str(reason).split())[:200]}")


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


def _detail(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or type(error).__name__).replace("_", " ").lower()
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return str(getattr(error, "strerror", None) or error) or type(error).__name__
