"""Destinations: list, show, pause, resume, limit the rate."""

# Made by scripts/sync_client.py from its namesake in dispatcher/client/aio: change that one.
from __future__ import annotations

from dispatcher.client.exchange import segment
from dispatcher.client.models import Destination, RateLimit
from dispatcher.client.sync.pages import PAGE_SIZE, Pages
from dispatcher.client.sync.resource import Resource

PATH = "/v1/destinations"


class Destinations(Resource):
    """`client.destinations`. A key is scheme, host and port, such as `https://example.org:443`."""

    def list(self, *, page_size: int = PAGE_SIZE) -> Pages[Destination]:
        """Destinations with their circuit breakers and pending deliveries, by their keys."""
        return self._list(PATH, Destination, page_size)

    def get(self, key: str) -> Destination:
        """A destination."""
        return self._get(_path(key), Destination)

    def pause(self, key: str, *, reason: str | None = None) -> Destination:
        """Pause all deliveries to a destination until it is resumed (admins only)."""
        document = {} if reason is None else {"reason": reason}
        return self._change("POST", f"{_path(key)}/pause", Destination, document, repeatable=True)

    def resume(self, key: str) -> Destination:
        """Resume a paused destination and close its circuit breaker (admins only)."""
        return self._change("POST", f"{_path(key)}/resume", Destination, repeatable=True)

    def limit(self, key: str, rate_limit: RateLimit | None) -> Destination:
        """Limit the rate of attempts over all processes; None removes the limit (admins only)."""
        document = {"rate_limit": rate_limit}
        return self._change("PATCH", _path(key), Destination, document, repeatable=True)


def _path(key: str) -> str:
    return f"{PATH}/{segment(key)}"
