"""How HTTP requests leave: one client that kinds share, and further ones for another trust or larger responses."""

from __future__ import annotations

import ssl

from dispatcher.http import MAX_READ, Exchange, HttpClient
from dispatcher.http.aiohttp_transport import AiohttpTransport
from dispatcher.targets.ssrf_guard import Guard


class Egress:
    """What kinds make requests with. `timeout` (seconds) is for a whole exchange, unless a client has another.

    With a `proxy` (`http://user:password@host:port`) all requests go through it. `max_timeout` is for a whole attempt,
    and what a target may ask for at most.
    """

    def __init__(
        self, guard: Guard, timeout: float = 15.0, proxy: str | None = None, max_timeout: float | None = None
    ) -> None:
        self.guard = guard
        self.timeout = timeout
        self.max_timeout = 2 * timeout if max_timeout is None else max_timeout
        self._proxy = proxy
        self._patient: dict[int, Exchange] = {}
        self.exchange: Exchange = self.client(timeout)
        """The client that kinds share."""

    def client(self, timeout: float, tls: ssl.SSLContext | None = None, max_read: int = MAX_READ) -> Exchange:
        """A client that its caller closes. `tls` replaces what the system trusts."""
        if self._proxy is None:
            return HttpClient(self.guard, timeout, tls, max_read)
        return AiohttpTransport(self.guard, timeout, tls, max_read, proxy=self._proxy)

    def within(self, seconds: int | None) -> Exchange:
        """The client that kinds share for exchanges of so many seconds; None: of the usual time."""
        if seconds is None:
            return self.exchange
        # One for each whole second: they are few, whatever targets ask for.
        client = self._patient.get(seconds)
        if client is None:
            client = self._patient[seconds] = self.client(min(seconds, self.max_timeout))
        return client

    async def close(self) -> None:
        """Close the connections of the shared clients."""
        for client in (self.exchange, *self._patient.values()):
            await client.close()
