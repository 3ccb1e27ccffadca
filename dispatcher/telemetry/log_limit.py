"""Keeps lines that say the same again and again from filling the log."""

from __future__ import annotations

import time

from cachetools import LRUCache

KEYS = 10_000
"""How many different keys are remembered."""


class LogLimit:
    """Lets one line for each key through in `interval` seconds, with the number of those left out before it."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._last: LRUCache[str, tuple[float, int]] = LRUCache(KEYS)

    def allows(self, key: str) -> int | None:
        """How many lines were left out since the last one; None when this one is to be left out too."""
        now = time.monotonic()
        at, left_out = self._last.get(key, (-self._interval, 0))
        if now - at < self._interval:
            self._last[key] = (at, left_out + 1)
            return None
        self._last[key] = (now, 0)
        return left_out
