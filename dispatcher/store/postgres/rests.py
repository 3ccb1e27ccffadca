"""Rests: what takes long in the database waits now and then while others store something."""

from __future__ import annotations

import asyncio
import time

REST = 2.0
"""How long a rest is, in times of what the part before it took."""

LONGEST = 1.0
"""Seconds of one rest at most."""

OTHERS = 1.0
"""Seconds for which others count as storing something after they did."""


class Rests:
    """The rests of one store."""

    def __init__(self) -> None:
        self._others_at = -OTHERS

    def note_others(self) -> None:
        """Note that something short is being stored."""
        self._others_at = time.monotonic()

    async def after(self, seconds: float) -> None:
        """Return after the rest that follows a part of so many seconds: at once when nobody else stores anything."""
        if time.monotonic() - self._others_at < OTHERS:
            await asyncio.sleep(min(REST * seconds, LONGEST))


async def none(_: float) -> None:
    """Go on at once."""
