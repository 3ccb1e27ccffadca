"""The HTTP client of all target kinds: guarded addresses, one time limit an exchange, bounded answers.

Redirects are not followed, cookies not kept, proxies and netrc not looked at, compressed answers not asked
for and not unpacked.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping

from aiohttp import (
    ClientConnectionError,
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientConnectorSSLError,
    ClientError,
    ClientHandlerType,
    ClientOSError,
    ClientRequest,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    ServerDisconnectedError,
    TCPConnector,
)
from msgspec import Struct
from multidict import CIMultiDictProxy
from yarl import URL

from dispatcher import __version__
from dispatcher.targets.network import BlockedAddress, Guard, GuardedResolver

MAX_READ = 64 * 1024
"""Bytes of an answer's body that are read; the connection is dropped after them."""

_KEEP_ALIVE = 30.0
_RESENT_BY_AIOHTTP = frozenset({"GET", "PUT", "DELETE"})


class Reply(Struct, frozen=True):
    """What came back. Once there is a status it counts, whatever becomes of the body.

    `complete` is False when the body was too long, too slow or broken off; `body` is its beginning then.
    """

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes
    complete: bool


class NoReply(Exception):
    """There was no answer; the message says why, and holds no more of the URL than host and port.

    `early`: the connection was gone before an answer, as when a receiver closes one that was idle.
    """

    def __init__(self, problem: str, *, early: bool = False) -> None:
        super().__init__(problem)
        self.early = early


class HttpClient:
    """Makes requests. `timeout` (seconds) is for a whole exchange, of which connecting may take two thirds.

    How many run at once is not limited here: that belongs to the destinations.
    """

    def __init__(self, guard: Guard, timeout: float = 15.0) -> None:
        self.guard = guard
        # aiohttp would round times above the threshold up to whole seconds.
        self._timeout = ClientTimeout(total=timeout, connect=timeout * 2 / 3, ceil_threshold=timeout + 1)
        self._session: ClientSession | None = None
        self._resolver: GuardedResolver | None = None

    async def exchange(self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None) -> Reply:
        """Make one request and read the answer. Raises NoReply when there is none."""
        session = self._session or self._open()
        middlewares = (_send_once,) if method in _RESENT_BY_AIOHTTP else None
        try:
            response = await session.request(
                method, url, headers=headers, data=body, allow_redirects=False, middlewares=middlewares
            )
        except (ClientError, OSError, ValueError) as error:
            raise self._no_reply(error, url) from error
        if response.content.at_eof():
            return Reply(response.status, response.headers, b"", True)
        return await _read(response)

    async def close(self) -> None:
        """Let go of all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        if self._resolver is not None:
            await self._resolver.close()
            self._resolver = None

    def _open(self) -> ClientSession:
        # Here and not at the start, because a session belongs to the running loop.
        context = ssl.create_default_context()
        context.set_alpn_protocols(("http/1.1",))
        self._resolver = GuardedResolver(self.guard)
        connector = TCPConnector(
            resolver=self._resolver,
            socket_factory=self.guard.open_socket,
            ssl=context,
            limit=0,
            keepalive_timeout=_KEEP_ALIVE,
        )
        self._session = ClientSession(
            connector=connector,
            cookie_jar=DummyCookieJar(),
            headers={"User-Agent": f"Dispatcher/{__version__}", "Accept-Encoding": "identity"},
            timeout=self._timeout,
            auto_decompress=False,
            trust_env=False,
        )
        return self._session

    def _no_reply(self, error: Exception, url: URL) -> NoReply:
        if isinstance(error, ConnectionTimeoutError):
            return NoReply(f"no connection to {_place(url)} within {self._timeout.connect:g} s")
        if isinstance(error, TimeoutError):
            return NoReply(f"no answer within {self._timeout.total:g} s")
        if isinstance(error, ClientConnectorError):
            return NoReply(_connecting_problem(error, url))
        if isinstance(error, ClientResponseError):
            return NoReply(f"the answer is not HTTP: {error.message.partition(chr(10))[0][:200]}")
        return _lost(error)


class _Lost(ClientError):
    """A lost connection, in a form that aiohttp does not answer by sending the request again."""


async def _send_once(request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
    # aiohttp sends GET, PUT and DELETE a second time when the connection was lost, be it an idle one or not.
    # An attempt is one request: what is repeated is seen and counted.
    try:
        return await handler(request)
    except ClientConnectorError:
        raise
    except (ClientOSError, ServerDisconnectedError) as error:
        raise _Lost from error


async def _read(response: ClientResponse) -> Reply:
    content = response.content
    chunks: list[bytes] = []
    left = MAX_READ
    try:
        while left > 0 and not content.at_eof():
            chunk = await content.read(left)
            chunks.append(chunk)
            left -= len(chunk)
    except (ClientError, OSError):
        complete = False
    else:
        complete = content.at_eof()
    finally:
        if not content.at_eof():
            response.close()
    return Reply(response.status, response.headers, b"".join(chunks), complete)


def _connecting_problem(error: ClientConnectorError, url: URL) -> str:
    cause = error.os_error
    if isinstance(cause, BlockedAddress):
        return f"blocked: {cause.found_behind(error.host)}"
    if isinstance(error, ClientConnectorDNSError):
        return f"could not find the address of {error.host}: {cause.strerror or cause}"
    if isinstance(error, ClientConnectorCertificateError):
        return f"the certificate of {_place(url)} is not accepted: {_tls_reason(error.certificate_error)}"
    if isinstance(error, ClientConnectorSSLError):
        return f"no TLS connection to {_place(url)}: {_tls_reason(cause)}"
    return f"no connection to {_place(url)}: {os.strerror(cause.errno) if cause.errno else cause}"


def _tls_reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return type(error).__name__


def _lost(error: Exception) -> NoReply:
    if isinstance(error, _Lost) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if isinstance(error, ServerDisconnectedError):
        if not isinstance(error.message, str):
            return NoReply("the receiver closed the connection in the middle of its answer's headers")
        return NoReply("the receiver closed the connection before it answered", early=True)
    if isinstance(error, ClientConnectionError):
        number = error.errno if isinstance(error, OSError) else None
        detail = os.strerror(number) if number else type(error).__name__
        return NoReply(f"the connection was lost before an answer came: {detail}", early=True)
    # Not its text, which may hold the whole URL.
    return NoReply(f"the request could not be made: {type(error).__name__}")


def _place(url: URL) -> str:
    return f"{url.host_subcomponent}:{url.port}"
