"""How the HTTP client makes a connection: finds addresses, asks the guard, tries them in turn, shakes hands.

The guard sees the address of every socket, whether a URL names it or a look-up gave it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from ipaddress import ip_address

from aiohappyeyeballs import AddrInfoType, start_connection
from aiohttp.abc import ResolveResult
from cachetools import TTLCache

from dispatcher.targets.http_connection import Connection
from dispatcher.targets.http_messages import NoReply, Origin
from dispatcher.targets.network import BlockedAddress, Guard, GuardedResolver

_REMEMBERED = 10.0
_MAX_REMEMBERED = 1000
# Seconds until the next address is tried beside one that does not answer (RFC 8305, section 5).
_NEXT_ADDRESS = 0.25


class Dialer:
    """Makes connections, each within `limit` seconds. Addresses are remembered for ten seconds.

    Without `tls` it trusts what the system trusts.
    """

    def __init__(self, guard: Guard, limit: float, tls: ssl.SSLContext | None = None) -> None:
        self._guard = guard
        self._limit = limit
        self._resolver: GuardedResolver | None = None
        self._found: TTLCache[str, asyncio.Task[list[ResolveResult]]] = TTLCache(_MAX_REMEMBERED, _REMEMBERED)
        self._tls = tls
        self._reading_tls = asyncio.Lock()

    async def connect(self, origin: Origin, make: Callable[[], Connection]) -> Connection:
        """A connection with this origin. Raises NoReply when there is none in time."""
        connected: list[socket.socket] = []
        try:
            async with asyncio.timeout(self._limit):
                return await self._connect(origin, make, connected)
        except TimeoutError:
            problem = f"no connection to {origin.place} within {self._limit:g} s"
            raise NoReply(problem, down=not connected) from None

    async def close(self) -> None:
        """Forget all addresses."""
        for lookup in list(self._found.values()):
            lookup.cancel()
        self._found.clear()
        if self._resolver is not None:
            await self._resolver.close()
            self._resolver = None

    async def _connect(
        self, origin: Origin, make: Callable[[], Connection], connected: list[socket.socket]
    ) -> Connection:
        addresses = await self._addresses(origin)
        context = await self._context() if origin.tls else None
        try:
            connected.append(
                await start_connection(
                    addresses,
                    happy_eyeballs_delay=_NEXT_ADDRESS,
                    interleave=1,
                    socket_factory=self._guard.open_socket,
                )
            )
            _, connection = await asyncio.get_running_loop().create_connection(
                make, sock=connected[0], ssl=context, server_hostname=origin.host if origin.tls else None
            )
        except (OSError, RuntimeError) as error:  # uvloop raises RuntimeError for some sockets
            raise NoReply(_problem(error, origin), down=not connected) from error
        return connection

    async def _addresses(self, origin: Origin) -> list[AddrInfoType]:
        try:
            return [_address_info(str(ip_address(origin.host)), origin.port)]
        except ValueError:
            pass
        try:
            found = await self._look_up(origin.host)
        except BlockedAddress as error:
            raise NoReply(f"blocked: {error.found_behind(origin.host)}") from error
        except OSError as error:
            reason = error.strerror or error
            raise NoReply(f"could not find the address of {origin.host}: {reason}", down=True) from error
        return [_address_info(one["host"], origin.port) for one in found]

    async def _look_up(self, host: str) -> list[ResolveResult]:
        """The addresses of a host; those who ask at the same time wait for the same look-up."""
        lookup = self._found.get(host)
        if lookup is None:
            self._resolver = self._resolver or GuardedResolver(self._guard)
            lookup = asyncio.create_task(self._resolver.resolve(host, family=socket.AF_UNSPEC))
            lookup.add_done_callback(lambda done: self._forget_failure(host, done))
            self._found[host] = lookup
        return await asyncio.shield(lookup)

    def _forget_failure(self, host: str, done: asyncio.Task[list[ResolveResult]]) -> None:
        # Asking for the exception also says that it was seen, when all who wanted to know it have left.
        if (done.cancelled() or done.exception()) and self._found.get(host) is done:
            del self._found[host]

    async def _context(self) -> ssl.SSLContext:
        async with self._reading_tls:
            if self._tls is None:
                # In a thread: it reads some hundred certificates from files.
                self._tls = await asyncio.to_thread(ssl.create_default_context)
                self._tls.set_alpn_protocols(("http/1.1",))
        return self._tls


def _address_info(address: str, port: int) -> AddrInfoType:
    if ":" in address:
        return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port, 0, 0)
    return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port)


def _problem(error: Exception, origin: Origin) -> str:
    if isinstance(error, BlockedAddress):
        return f"blocked: {error.found_behind(origin.host)}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate of {origin.place} is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        reason = error.reason.replace("_", " ").lower() if error.reason else type(error).__name__
        return f"no TLS connection to {origin.place}: {reason}"
    if isinstance(error, OSError) and error.errno:
        return f"no connection to {origin.place}: {os.strerror(error.errno)}"
    return f"no connection to {origin.place}: {error}"
