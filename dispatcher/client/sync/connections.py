"""Connections of urllib3 on which a response is over in time, however slowly its bytes come."""

from __future__ import annotations

import io
import time
from functools import partial
from http.client import HTTPResponse
from socket import socket
from typing import TYPE_CHECKING, Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.response import HTTPResponse as Response

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class _BoundedReader(io.RawIOBase):
    """Reads from a socket until a time of `time.monotonic`. Raises TimeoutError afterwards."""

    def __init__(self, raw: io.RawIOBase, sock: socket, ends: float) -> None:
        self._raw = raw
        self._sock = sock
        self._ends = ends

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _BoundedResponse(HTTPResponse):
    def __init__(self, sock: socket, *arguments: Any, ends: float, **options: Any) -> None:
        super().__init__(sock, *arguments, **options)
        self.fp = io.BufferedReader(_BoundedReader(self.fp.detach(), sock, ends))


class _Bounded(HTTPConnection):
    """The timeout for reading, which is otherwise that of each byte, is for the whole response."""

    def getresponse(self) -> Response:  # type: ignore[override]
        ends = time.monotonic() + (self.timeout or 0.0)
        self.response_class = partial(_BoundedResponse, ends=ends)  # type: ignore[assignment]
        return super().getresponse()


class _BoundedTls(_Bounded, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Bounded


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _BoundedTls


class BoundedPools(PoolManager):
    """Pools of such connections."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
