"""The transports that keep to the same contract."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dispatcher.http import Exchange, HttpClient, TransportError
from dispatcher.http.aiohttp_transport import AiohttpTransport
from dispatcher.targets.ssrf_guard import Guard
from tests.http.proxy import proxy
from tests.http.requests import LOOPBACK

TRANSPORTS = ["own", "aiohttp", "aiohttp through a proxy"]
NAMES = {"cookie.example": "127.0.0.1", "good.example": "127.0.0.1"}


@asynccontextmanager
async def transport(
    name: str, seconds: float = 15.0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Exchange]:
    """A transport that may reach loopback addresses; a proxy finds the names of tests."""
    guard = Guard(LOOPBACK)
    if name == "own":
        client: Exchange = HttpClient(guard, seconds, tls)
        yield client
        await client.close()
    elif name == "aiohttp":
        client = AiohttpTransport(guard, seconds, tls)
        yield client
        await client.close()
    else:
        async with proxy(NAMES) as running:
            client = AiohttpTransport(guard, seconds, tls, proxy=running.url)
            yield client
            await client.close()


def by_the_receiver(problem: TransportError) -> str:
    """The text of an error, without the proxy that may be the cause as well."""
    return str(problem).replace("the proxy or the receiver", "the receiver")
