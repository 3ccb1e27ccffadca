"""Connections to the broker: every address of its name is tried, each beside the ones before it (RFC 8305)."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from aiohappyeyeballs import start_connection
from aiormq import AMQPConnectionError, SSLContextProvider, TransportFactory
from yarl import URL

_PORTS = {"amqp": 5672, "amqps": 5671}

_NEXT_ADDRESS = 0.25
"""Seconds until the next address is tried beside one that does not answer (RFC 8305, section 5)."""


async def dial(
    url: URL, protocol: asyncio.Protocol, ssl_context_provider: SSLContextProvider
) -> asyncio.Transport:
    """A connection for this protocol; with TLS for `amqps`, whose certificate must be for the name in `url`.

    Raises AMQPConnectionError, and SSLError for settings of TLS that are wrong.
    """
    loop = asyncio.get_running_loop()
    host = url.host or ""
    tls = await ssl_context_provider.get_context() if url.scheme == "amqps" else None
    try:
        addresses = await loop.getaddrinfo(host, url.port or _PORTS[url.scheme], type=socket.SOCK_STREAM)
        connected = await start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS, interleave=1)
        transport, _ = await loop.create_connection(
            lambda: protocol, sock=connected, ssl=tls, server_hostname=host if tls is not None else None
        )
    except (OSError, RuntimeError) as error:  # uvloop raises RuntimeError for some sockets
        raise AMQPConnectionError(*error.args) from error
    return transport


class Dialing(TransportFactory):
    """Makes connections as `dial` does, from which the library reads everything."""

    async def create(self, url: URL, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """See TransportFactory. Raises what `dial` raises."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport = await dial(url, protocol, **options)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)
