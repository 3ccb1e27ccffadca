"""Throttling: a large batch pauses between its parts while others store something."""

from __future__ import annotations

import asyncio
import time

LARGE_BATCH = 2.0
"""Seconds that a large batch pauses for each second that its parts take."""

LARGE_BATCH_WITH_ORDERS = 10.0
"""The same for a large batch with orders: one event in it is for more subscriptions than all others' together."""

EXPANSION = 5.0
"""The same where orders are carried out: no publisher waits for it."""

MAX_PAUSE_SECONDS = 0.1
"""One pause at most: on a busy machine a part takes long for another reason."""

MAX_PAUSES_SECONDS = 0.5
"""All pauses of one transaction at most: it holds locks, and who accepts events of the same jobs waits for them."""

MAX_FINAL_PAUSE_SECONDS = 2.0
"""The pause after the commit at most: the sender of the batch waits for the answer."""

OTHERS_ACTIVE_SECONDS = 1.0
"""How long others count as storing something after they did."""


class Throttle:
    """Knows whether others store something, for one store."""

    def __init__(self) -> None:
        self._others_at = -OTHERS_ACTIVE_SECONDS

    def note_others(self) -> None:
        """Note that something short is being stored."""
        self._others_at = time.monotonic()

    @property
    def others_active(self) -> bool:
        """Whether something short was stored a moment ago."""
        return time.monotonic() - self._others_at < OTHERS_ACTIVE_SECONDS


class Pauses:
    """The pauses of one transaction in so many parts, each `factor` times as long as the part before it took.

    What is more than a transaction may pause, shared evenly by its parts, is for `finish` after its commit.
    """

    def __init__(self, throttle: Throttle, factor: float, parts: int) -> None:
        self._throttle = throttle
        self._factor = factor
        self._longest = min(MAX_PAUSE_SECONDS, MAX_PAUSES_SECONDS / max(parts, 1))
        self._owed = 0.0

    async def after(self, seconds: float) -> None:
        """Pause after a part that took so long; at once when no one else stores anything."""
        wanted = min(self._factor * seconds, MAX_PAUSE_SECONDS)
        now = min(wanted, self._longest)
        self._owed += wanted - now
        await self._pause(now)

    async def finish(self) -> None:
        """Pause after the commit for what the transaction could not."""
        await self._pause(min(self._owed, MAX_FINAL_PAUSE_SECONDS))

    async def _pause(self, seconds: float) -> None:
        if seconds > 0 and self._throttle.others_active:
            await asyncio.sleep(seconds)
