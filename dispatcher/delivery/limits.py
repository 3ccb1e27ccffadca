"""Limits of delivery: what one process holds and does at once, and how long things may take."""

from __future__ import annotations

from msgspec import Struct


class Limits(Struct, frozen=True, kw_only=True):
    """The bounds of one process: deliveries in memory, attempts at once for a destination; times in seconds."""

    concurrency: int = 64
    queue: int = 1000
    in_memory: int = 5000
    timeout: float = 15.0
    lease: float = 60.0
    grace: float = 20.0

    @property
    def max_timeout(self) -> float:
        """What an attempt may take at most: a target may ask for more than the usual time."""
        return self.lease / 2
