"""Sends requests with urllib3, from any thread."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from dispatcher.client.errors import TransportError
from dispatcher.client.exchange import JSON, Request, Response

if TYPE_CHECKING:
    from urllib3 import PoolManager

sleep = time.sleep

CONNECTIONS = 16
"""Connections that are kept open. More threads than that open more, and close them."""


class Transport:
    """Connections to one server, made when they are needed; redirects are not followed."""

    def __init__(self, url: str, headers: dict[str, str], timeout: float) -> None:
        self._url = url
        self._headers = headers
        self._timeout = timeout
        self._pool = _pool()

    def send(self, request: Request) -> Response:
        """The response to one attempt. Raises TransportError."""
        from urllib3 import Timeout, exceptions

        seconds = request.seconds(self._timeout)
        try:
            response = self._pool.request(
                request.method,
                self._url + request.target,
                body=request.body,
                headers=self._headers | ({"Content-Type": JSON} if request.body is not None else {}),
                timeout=Timeout(connect=min(self._timeout, seconds), total=seconds),
                retries=False,
                redirect=False,
            )
        except exceptions.HTTPError as error:
            sent = not isinstance(
                error,
                (
                    exceptions.NewConnectionError,
                    exceptions.ConnectTimeoutError,
                    exceptions.LocationValueError,
                ),
            )
            raise TransportError(f"{self._url} does not answer: {error}", sent=sent) from None
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Response(response.status, headers, response.data)

    def close(self) -> None:
        """Close the connections that are idle."""
        self._pool.clear()


def _pool() -> PoolManager:
    from dispatcher.client.sync.connections import BoundedPools

    return BoundedPools(num_pools=1, maxsize=CONNECTIONS)
