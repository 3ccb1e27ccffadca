"""Pages that a kind adds to the HTTP server, for people who have no key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from aiohttp import web


@runtime_checkable
class PageKind(Protocol):
    """A kind with pages."""

    def pages(self, wake: Callable[[], None]) -> Sequence[web.RouteDef]:
        """The routes. `wake` is to be called when deliveries have become due."""
        ...
