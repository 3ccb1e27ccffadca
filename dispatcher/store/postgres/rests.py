"""Rests: what takes long in the database waits now and then while others store something."""

from __future__ import annotations

import asyncio
import time

LARGE = 2.0
"""How long the rests of a large batch are, in times of what the part before took."""

WITH_ORDERS = 10.0
"""The same for a large batch with orders: one event in it is for more subscriptions than all others' together."""

EXPANDING = 10.0
"""The same where orders are carried out: no publisher waits for it."""

LONGEST = 0.1
"""Seconds of one rest at most: on a busy machine a part takes long for another reason."""

OTHERS = 1.0
"""Seconds for which others count as storing something after they did."""


class Rests:
    """The rests of one store."""

    def __init__(self) -> None:
        self._others_at = -OTHERS

    def note_others(self) -> None:
        """Note that something short is being stored."""
        self._others_at = time.monotonic()

    async def after(self, times: float, seconds: float) -> None:
        """Return after the rest that follows a part of so many seconds: at once when no one else stores anything."""
        if time.monotonic() - self._others_at < OTHERS:
            await asyncio.sleep(min(times * seconds, LONGEST))
