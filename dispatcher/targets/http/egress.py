"""How HTTP requests leave: one client that kinds share, and further ones for another trust or larger responses."""

from __future__ import annotations

import ssl

from dispatcher.http import MAX_READ, Exchange, HttpClient
from dispatcher.http.aiohttp_transport import AiohttpTransport
from dispatcher.targets.ssrf_guard import Guard


class Egress:
    """What kinds make requests with. `timeout` (seconds) is for a whole exchange, unless a client has another.

    With a `proxy` (`http://user:password@host:port`) all requests go through it.
    """

    def __init__(self, guard: Guard, timeout: float = 15.0, proxy: str | None = None) -> None:
        self.guard = guard
        self.timeout = timeout
        self._proxy = proxy
        self.exchange: Exchange = self.client(timeout)
        """The client that kinds share."""

    def client(self, timeout: float, tls: ssl.SSLContext | None = None, max_read: int = MAX_READ) -> Exchange:
        """A client that its caller closes. `tls` replaces what the system trusts."""
        if self._proxy is None:
            return HttpClient(self.guard, timeout, tls, max_read)
        return AiohttpTransport(self.guard, timeout, tls, max_read, proxy=self._proxy)

    async def close(self) -> None:
        """Close the connections of the shared client."""
        await self.exchange.close()
