"""Connections to PostgreSQL: every address of its name is tried (RFC 8305), and a dead one is noticed."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias, cast
from urllib.parse import parse_qs, urlsplit

import asyncpg
from aiohappyeyeballs import start_connection

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

CONNECT_TIMEOUT = 10.0
"""Seconds that a new connection, or a place in a pool, may take."""

_NEXT_ADDRESS = 0.25
"""Seconds until the next address is tried beside one that does not answer (RFC 8305, section 5)."""

_HOST_TIMEOUT = 4.0
"""Seconds for a connection to a host: when the address names several, the next one is tried then."""

_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000),
)
"""A server that is gone without a word is noticed after half a minute, also by those that only wait for it."""

_FILES = {
    "passfile": ("PGPASSFILE", ".pgpass"),
    "servicefile": ("PGSERVICEFILE", ".pg_service.conf"),
    "sslrootcert": ("PGSSLROOTCERT", ".postgresql/root.crt"),
    "sslcrl": ("PGSSLCRL", ".postgresql/root.crl"),
    "sslkey": ("PGSSLKEY", ".postgresql/postgresql.key"),
    "sslcert": ("PGSSLCERT", ".postgresql/postgresql.crt"),
}
"""The files that the driver reads for a new connection: what names each in the address, in the environment, at home."""

_reader = ThreadPoolExecutor(1, thread_name_prefix="postgres-files")


async def connect(
    url: str,
    settings: Mapping[str, str],
    *,
    command_timeout: float | None = None,
    statement_cache_size: int = 100,
) -> Connection:
    """A connection with these settings of the server; times in seconds.

    They are set once it is there: poolers refuse most of them in the packet that starts a session. Raises what asyncpg
    raises, and OSError.
    """
    async with asyncio.timeout(CONNECT_TIMEOUT):
        await asyncio.get_running_loop().run_in_executor(_reader, _read_files, url)
    connection = await asyncpg.connect(
        url,
        loop=cast("asyncio.AbstractEventLoop", _Dialing(asyncio.get_running_loop())),
        timeout=CONNECT_TIMEOUT,
        command_timeout=command_timeout,
        statement_cache_size=statement_cache_size,
        max_cached_statement_lifetime=0,  # they are few, and each is slow when it is prepared again
        server_settings={"application_name": "dispatcher"},
    )
    if settings:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await connection.execute(
                    "; ".join(f"set {name} = '{value}'" for name, value in settings.items())
                )
        except BaseException:
            connection.terminate()
            raise
    return connection


def _read_files(url: str) -> None:
    """Read what the driver reads next, in the event loop: a disk that does not answer is waited for here."""
    named = parse_qs(urlsplit(url).query)
    for parameter, (variable, at_home) in _FILES.items():
        [*_, name] = named.get(parameter, [os.environ.get(variable, "")])
        with suppress(OSError, RuntimeError):  # RuntimeError: there is no home
            path = Path(name) if name else Path.home() / at_home
            if path.is_file():
                path.read_bytes()


class _Dialing:
    """The running loop as asyncpg uses it, but for how it reaches a server.

    asyncpg asks the loop for a connection with a name, which tries the addresses one after the other, each until the
    kernel gives up. The name is still what a certificate must be for.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    # asyncpg looks for its current task by its loop.
    def __eq__(self, other: object) -> bool:
        return other is self or other is self._loop

    def __hash__(self) -> int:
        return hash(self._loop)

    async def create_connection(
        self,
        factory: Callable[[], asyncio.Protocol],
        host: str,
        port: int,
        *,
        ssl: ssl.SSLContext | None = None,
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        addresses = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        try:
            async with asyncio.timeout(_HOST_TIMEOUT):
                connected = await start_connection(
                    addresses, happy_eyeballs_delay=_NEXT_ADDRESS, interleave=1, loop=self._loop
                )
        except RuntimeError as error:  # uvloop raises it for some sockets
            raise OSError(str(error)) from error
        for level, option, value in _KEEPALIVE:
            connected.setsockopt(level, option, value)
        return await self._loop.create_connection(
            factory, sock=connected, ssl=ssl, server_hostname=host if ssl is not None else None
        )
