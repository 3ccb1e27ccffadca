"""What aiohttp's errors are called in a TransportError.

Their own texts are never used: they quote what the receiver sent, the whole URL or the proxy's password.
"""

from __future__ import annotations

import os
import ssl
from http import HTTPStatus

import aiohttp
from msgspec import Struct

from dispatcher.http.addresses import BlockedAddress
from dispatcher.http.bounded_protocol import HeadBrokenOff, HeadTooLong
from dispatcher.http.messages import MAX_HEAD, Origin, TransportError
from dispatcher.http.tls_alerts import words


class Failures(Struct, frozen=True):
    """Names errors. `timeout` is for an exchange, `connecting` for a connection; `proxy` is `host:port`."""

    timeout: float
    connecting: float
    proxy: str | None

    def name(self, error: Exception, origin: Origin) -> TransportError:
        """The TransportError for what ended a request to this origin."""
        if isinstance(error, aiohttp.ClientConnectorError):
            return self._no_connection(error, origin)
        if isinstance(error, aiohttp.ServerTimeoutError):
            return self._no_connection_in_time(origin)
        if isinstance(error, TimeoutError):
            return TransportError(f"no answer within {self.timeout:g} s")
        if isinstance(error, BlockedAddress):
            return TransportError(f"blocked: {error.found_behind(origin.host)}")
        if isinstance(error, aiohttp.ClientResponseError):
            return _no_http(error, origin)
        if isinstance(error, aiohttp.ClientConnectionError):
            return self._lost(error)
        return _unusable(error)

    @property
    def _peer(self) -> str:
        return "the receiver" if self.proxy is None else "the proxy or the receiver"

    def _no_connection(self, error: aiohttp.ClientConnectorError, origin: Origin) -> TransportError:
        cause = error.os_error
        if isinstance(cause, BlockedAddress):
            return TransportError(f"blocked: {cause.found_behind(origin.host)}")
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            reason = getattr(error.certificate_error, "verify_message", "") or str(error.certificate_error)
            return TransportError(f"the certificate of {origin.place} is not accepted: {reason}")
        if isinstance(error, aiohttp.ClientSSLError):
            return TransportError(f"no TLS connection to {origin.place}: {_detail(cause)}")
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            host = origin.host if self.proxy is None else f"the proxy {self.proxy}"
            return TransportError(f"could not find the address of {host}: {_detail(cause)}", down=True)
        if isinstance(error, aiohttp.ClientProxyConnectionError):
            return TransportError(f"no connection to the proxy {self.proxy}: {_detail(cause)}", down=True)
        if self.proxy is not None:
            return TransportError(f"no TLS connection to {origin.place}: {self._peer} ended it")
        # With TLS the host may have taken the connection, and only the handshake failed.
        return TransportError(f"no connection to {origin.place}: {_detail(cause)}", down=not origin.tls)

    def _no_connection_in_time(self, origin: Origin) -> TransportError:
        # With TLS it cannot be seen here who is silent: the proxy, the server or only its handshake.
        place = origin.place if self.proxy is None or origin.tls else f"the proxy {self.proxy}"
        return TransportError(f"no connection to {place} within {self.connecting:g} s", down=not origin.tls)

    def _lost(self, error: aiohttp.ClientConnectionError) -> TransportError:
        if isinstance(error, HeadBrokenOff):
            return TransportError(f"{self._peer} closed the connection in the middle of its answer's headers")
        if isinstance(error, aiohttp.ServerDisconnectedError) or _found_closed(error):
            return TransportError(f"{self._peer} closed the connection before it answered", early=True)
        lost = f"the connection was lost before an answer came: {_detail(error)}"
        return TransportError(lost, early=isinstance(error, aiohttp.ClientOSError))


def _found_closed(error: aiohttp.ClientConnectionError) -> bool:
    """Whether the connection was closed already when the request was about to be written."""
    return isinstance(error, aiohttp.ClientOSError) and not error.errno


def _no_http(error: aiohttp.ClientResponseError, origin: Origin) -> TransportError:
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return TransportError(f"the proxy refused {origin.place}: {_status(error.status)}", down=True)
    if error.request_info.method == "CONNECT":
        return TransportError("the answer of the proxy is not HTTP", down=True)
    return TransportError("the answer is not HTTP")


def _unusable(error: Exception) -> TransportError:
    if isinstance(error, HeadTooLong):
        return TransportError(f"the answer is not HTTP: its head is longer than {MAX_HEAD // 1024} KiB")
    if isinstance(error, aiohttp.InvalidURL):
        return TransportError("the request could not be made: its URL is not valid")
    return TransportError(f"the request could not be made: {_detail(error)}")


def _status(status: int) -> str:
    """A status with its usual reason: the one that was sent could be any text."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _detail(error: BaseException) -> str:
    """What the system says of an error; only the type of one that is not the system's."""
    if isinstance(error, ssl.SSLError):
        return words(error)
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)
    if isinstance(error, OSError) and not isinstance(error, aiohttp.ClientError):
        return str(error.strerror or error) or type(error).__name__
    return type(error).__name__
