"""Opening a destination's breaker in the store, as a process does that saw the failures."""

from __future__ import annotations

from datetime import datetime

from dispatcher.domain.destinations import Breaker
from dispatcher.store.store import Store


def breaker(key: str, until: datetime, reason: str = "down", destination: str | None = None) -> Breaker:
    """An open breaker: of a destination itself, or of `key` within `destination`."""
    return Breaker(key=key, destination=destination or key, open_until=until, reason=reason)


async def open_breaker(
    store: Store, key: str, until: datetime, reason: str = "down", *, probed: bool = False
) -> None:
    """Open one, or keep it open after a probe."""
    await store.breakers.open([breaker(key, until, reason)], {key} if probed else ())
