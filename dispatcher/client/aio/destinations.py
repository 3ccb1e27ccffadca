"""Destinations: list, show, pause, resume, limit the rate."""

from __future__ import annotations

from dispatcher.client.aio.pages import PAGE_SIZE, AsyncPages
from dispatcher.client.aio.resource import AsyncResource
from dispatcher.client.exchange import segment
from dispatcher.client.models import Destination, RateLimit

PATH = "/v1/destinations"


class AsyncDestinations(AsyncResource):
    """`client.destinations`. A key is scheme, host and port, such as `https://example.org:443`."""

    def list(self, *, page_size: int = PAGE_SIZE) -> AsyncPages[Destination]:
        """Destinations with their circuit breakers and pending deliveries, by their keys."""
        return self._list(PATH, Destination, page_size)

    async def get(self, key: str) -> Destination:
        """A destination."""
        return await self._get(_path(key), Destination)

    async def pause(self, key: str, *, reason: str | None = None) -> Destination:
        """Pause all deliveries to a destination until it is resumed (admins only)."""
        document = {} if reason is None else {"reason": reason}
        return await self._change("POST", f"{_path(key)}/pause", Destination, document, repeatable=True)

    async def resume(self, key: str) -> Destination:
        """Resume a paused destination and close its circuit breaker (admins only)."""
        return await self._change("POST", f"{_path(key)}/resume", Destination, repeatable=True)

    async def limit(self, key: str, rate_limit: RateLimit | None) -> Destination:
        """Limit the rate of attempts over all processes; None removes the limit (admins only)."""
        document = {"rate_limit": rate_limit}
        return await self._change("PATCH", _path(key), Destination, document, repeatable=True)


def _path(key: str) -> str:
    return f"{PATH}/{segment(key)}"
