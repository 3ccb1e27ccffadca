"""How the HTTP client connects: looks addresses up, asks the policy, tries them in turn, does the TLS handshake.

The policy sees the address of every socket, whether a URL names it or a look-up gave it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from functools import partial
from ipaddress import ip_address

from aiohappyeyeballs import AddrInfoType, start_connection
from aiohttp.abc import ResolveResult
from cachetools import TTLCache

from dispatcher.http.addresses import AddressPolicy, BlockedAddress, GuardedResolver, open_socket
from dispatcher.http.connection import Connection
from dispatcher.http.messages import Origin, TransportError
from dispatcher.http.tls_alerts import HUNG_UP, words

_CACHE_SECONDS = 10.0
_MAX_CACHED_HOSTS = 1000
# Seconds until the next address is tried beside one that does not answer (RFC 8305, section 5).
_HAPPY_EYEBALLS_DELAY = 0.25


class Connector:
    """Makes connections, each within `timeout` seconds. Addresses are cached for ten seconds.

    Without `tls` it trusts what the system trusts.
    """

    def __init__(self, policy: AddressPolicy, timeout: float, tls: ssl.SSLContext | None = None) -> None:
        self._policy = policy
        self._timeout = timeout
        self._resolver: GuardedResolver | None = None
        self._lookups: TTLCache[str, asyncio.Task[list[ResolveResult]]] = TTLCache(
            _MAX_CACHED_HOSTS, _CACHE_SECONDS
        )
        self._tls = tls
        self._tls_lock = asyncio.Lock()

    async def connect(self, origin: Origin, make: Callable[[], Connection]) -> Connection:
        """A connection with this origin. Raises TransportError when there is none in time."""
        connected: list[socket.socket] = []
        try:
            async with asyncio.timeout(self._timeout):
                return await self._connect(origin, make, connected)
        except TimeoutError:
            problem = f"no connection to {origin.place} within {self._timeout:g} s"
            raise TransportError(problem, down=not connected) from None

    async def close(self) -> None:
        """Clear the cache of addresses."""
        for lookup in list(self._lookups.values()):
            lookup.cancel()
        self._lookups.clear()
        if self._resolver is not None:
            await self._resolver.close()
            self._resolver = None

    async def _connect(
        self, origin: Origin, make: Callable[[], Connection], connected: list[socket.socket]
    ) -> Connection:
        addresses = await self._addresses(origin)
        context = await self._tls_context() if origin.tls else None
        try:
            connected.append(
                await start_connection(
                    addresses,
                    happy_eyeballs_delay=_HAPPY_EYEBALLS_DELAY,
                    interleave=1,
                    socket_factory=partial(open_socket, self._policy),
                )
            )
            _, connection = await asyncio.get_running_loop().create_connection(
                make, sock=connected[0], ssl=context, server_hostname=origin.host if origin.tls else None
            )
        except (OSError, RuntimeError) as error:  # uvloop raises RuntimeError for some sockets
            raise TransportError(_problem(error, origin), down=not connected) from error
        return connection

    async def _addresses(self, origin: Origin) -> list[AddrInfoType]:
        try:
            return [_address_info(str(ip_address(origin.host)), origin.port)]
        except ValueError:
            pass
        try:
            found = await self._look_up(origin.host)
        except BlockedAddress as error:
            raise TransportError(f"blocked: {error.found_behind(origin.host)}") from error
        except OSError as error:
            reason = error.strerror or error
            raise TransportError(
                f"could not find the address of {origin.host}: {reason}", down=True
            ) from error
        return [_address_info(one["host"], origin.port) for one in found]

    async def _look_up(self, host: str) -> list[ResolveResult]:
        """The addresses of a host; those who ask at the same time wait for the same look-up."""
        lookup = self._lookups.get(host)
        if lookup is None:
            self._resolver = self._resolver or GuardedResolver(self._policy)
            lookup = asyncio.create_task(self._resolver.resolve(host, family=socket.AF_UNSPEC))
            lookup.add_done_callback(lambda done: self._forget_failure(host, done))
            self._lookups[host] = lookup
        return await asyncio.shield(lookup)

    def _forget_failure(self, host: str, done: asyncio.Task[list[ResolveResult]]) -> None:
        # Asking for the exception also marks it as retrieved, when all who waited for it were cancelled.
        if (done.cancelled() or done.exception()) and self._lookups.get(host) is done:
            del self._lookups[host]

    async def _tls_context(self) -> ssl.SSLContext:
        async with self._tls_lock:
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
        return f"no TLS connection to {origin.place}: {words(error)}"
    if isinstance(error, ConnectionError) and not error.errno:  # the handshake has no other error for it
        return f"no TLS connection to {origin.place}: {HUNG_UP}"
    if isinstance(error, OSError) and error.errno:
        return f"no connection to {origin.place}: {os.strerror(error.errno)}"
    return f"no connection to {origin.place}: {error}"
