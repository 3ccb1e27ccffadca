"""Sends requests with aiohttp."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dispatcher.client.errors import TransportError
from dispatcher.client.exchange import JSON, Request, Response

if TYPE_CHECKING:
    from aiohttp import ClientSession

sleep = asyncio.sleep

_NEVER_ROUNDED = float("inf")
"""aiohttp rounds longer limits than this up to a whole second of its clock."""


class AsyncTransport:
    """Connections to one server, made when they are needed; redirects are not followed."""

    def __init__(self, url: str, headers: dict[str, str], timeout: float) -> None:
        self._url = url
        self._headers = headers
        self._timeout = timeout
        self._session: ClientSession | None = None

    async def send(self, request: Request) -> Response:
        """The response to one attempt. Raises TransportError."""
        import aiohttp

        seconds = request.seconds(self._timeout)
        try:
            async with self._opened().request(
                request.method,
                self._url + request.target,
                data=request.body,
                headers={"Content-Type": JSON} if request.body is not None else None,
                timeout=aiohttp.ClientTimeout(total=seconds, ceil_threshold=_NEVER_ROUNDED),
                allow_redirects=False,
            ) as response:
                headers = {name.lower(): value for name, value in response.headers.items()}
                return Response(response.status, headers, await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            sent = not isinstance(error, (aiohttp.ClientConnectorError, aiohttp.InvalidURL))
            reason = str(error) or f"no response in {seconds:g} s"
            raise TransportError(f"{self._url} does not answer: {reason}", sent=sent) from None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _opened(self) -> ClientSession:
        if self._session is None:
            from aiohttp import ClientSession, DummyCookieJar

            self._session = ClientSession(headers=self._headers, cookie_jar=DummyCookieJar())
            # A retry of aiohttp's own would hide that the first request may have been carried out.
            self._session._retry_connection = False  # noqa: SLF001
        return self._session
