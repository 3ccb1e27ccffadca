"""Circuit breakers: a destination that keeps failing is left alone, and tried again with one delivery now and then.

Breakers are shared through the store. Every process looks at those that are not closed once a second, and what waits
behind them stays in the store: waiting costs no attempts. One process at a time sends the probe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

import structlog
from cachetools import LRUCache

from dispatcher.domain.destinations import Destination, RateLimit
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.events import utc_now
from dispatcher.telemetry.metrics import BREAKERS_OPEN

log = structlog.get_logger("dispatcher.delivery")

FAILURES = 10
"""Failures in a row, without one answer in between, that open a breaker."""

FIRST_WAIT = 2.0
LONGEST_WAIT = 60.0
"""Seconds to the first probe, and between two of them at most; each failed one doubles the wait."""

LOOK = 1.0
"""Seconds between two looks at what other processes and people did."""


class BreakerStore(Protocol):
    """What breakers need of the store; see `dispatcher.store.contract.Store`."""

    async def destinations_to_watch(self) -> Sequence[Destination]: ...

    async def open_breaker(self, destination: str, until: datetime, reason: str, *, probed: bool) -> None: ...

    async def begin_probe(self, destination: str, seen: datetime, until: datetime) -> bool: ...

    async def close_breaker(self, destination: str) -> None: ...


class Breakers:
    """The breakers as this process sees them. `patience` (seconds) is how long a probe may take.

    `changed` is called with the places that each destination has which is not to be used freely: 0, or 1 for the probe.
    """

    def __init__(
        self, store: BreakerStore, patience: float, changed: Callable[[dict[str, int]], None]
    ) -> None:
        self._store = store
        self._patience = timedelta(seconds=patience)
        self._changed = changed
        self._watched: dict[str, Destination] = {}
        self._probing: dict[str, datetime] = {}
        self._failures: LRUCache[str, int] = LRUCache(10_000)
        self._writes: asyncio.Queue[tuple[str, Callable[[], Awaitable[None]]]] = asyncio.Queue()
        self._telling: set[str] = set()

    def blocks(self, destination: str) -> bool:
        """Whether nothing may begin for it, apart from this process's own probe."""
        known = self._watched.get(destination)
        return known is not None and known.blocked and not self._may_probe(destination)

    def rate_limit(self, destination: str) -> RateLimit | None:
        """The limit that an operator gave it."""
        known = self._watched.get(destination)
        return None if known is None else known.rate_limit

    def answered(self, destination: str) -> bool:
        """Note that a destination works. True when that closes its breaker."""
        self._failures.pop(destination, None)
        known = self._watched.get(destination)
        if known is None or known.open_until is None:
            return False
        if destination not in self._telling:
            self._write(destination, partial(self._close, destination))
        return True

    def failed(self, destination: str, reason: str) -> bool:
        """Note that a destination did not work. True when that opens its breaker."""
        known = self._watched.get(destination)
        if known is not None and known.open_until is not None:
            if self._may_probe(destination):
                self._open(destination, known, reason)
                return True
            return False  # an attempt that began before it opened
        count = self._failures.get(destination, 0) + 1
        self._failures[destination] = count
        if count < FAILURES:
            return False
        self._open(destination, known or Destination(key=destination), reason)
        return True

    async def run(self) -> None:
        """Write down what was noted and look at what others did, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tell())
            group.create_task(self._look())

    async def _look(self) -> None:
        while True:
            try:
                await self._refresh()
            except StoreUnavailable as error:
                log.warning("cannot look at the breakers", error=str(error), retry_in=LOOK)
            await asyncio.sleep(LOOK)

    async def _refresh(self) -> None:
        found = {one.key: one for one in await self._store.destinations_to_watch()}
        # What is being written is newer than what was read.
        kept = {key: self._watched[key] for key in self._telling if key in self._watched}
        gone = {key for key in self._telling if key not in self._watched}
        self._watched = {key: one for key, one in found.items() if key not in gone} | kept
        now = utc_now()
        # Not kept: a probe that nobody needed, or whose breaker others closed, would let more through the next time.
        self._probing = {
            key: until for key, until in self._probing.items() if until > now and key in self._watched
        }
        for one in list(self._watched.values()):
            if one.open_until is not None and one.open_until <= now and one.paused_at is None:
                await self._begin_probe(one, one.open_until)
        self._show()

    async def _begin_probe(self, one: Destination, seen: datetime) -> None:
        until = utc_now() + self._patience
        if one.key not in self._telling and await self._store.begin_probe(one.key, seen, until):
            self._probing[one.key] = until
            log.info("breaker lets a probe through", destination=one.key)

    def _may_probe(self, destination: str) -> bool:
        until = self._probing.get(destination)
        return until is not None and until > utc_now()

    def _open(self, destination: str, known: Destination, reason: str) -> None:
        self._failures.pop(destination, None)
        self._probing.pop(destination, None)
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(known.openings, 10))
        until = utc_now() + timedelta(seconds=wait)
        self._watched[destination] = Destination(
            key=destination,
            open_until=until,
            opened_at=known.opened_at or utc_now(),
            openings=known.openings + 1,
            reason=reason,
            paused_at=known.paused_at,
            paused_reason=known.paused_reason,
            rate_limit=known.rate_limit,
        )
        log.warning("breaker open", destination=destination, error=reason, next_probe_in=wait)
        probed = known.open_until is not None
        opened = partial(self._store.open_breaker, destination, until, reason, probed=probed)
        self._write(destination, opened)
        self._show()

    async def _close(self, destination: str) -> None:
        await self._store.close_breaker(destination)
        self._probing.pop(destination, None)
        known = self._watched.pop(destination, None)
        if known is not None and (known.paused_at is not None or known.rate_limit is not None):
            self._watched[destination] = Destination(
                key=destination,
                paused_at=known.paused_at,
                paused_reason=known.paused_reason,
                rate_limit=known.rate_limit,
            )
        log.info("breaker closed", destination=destination)
        self._show()

    def _write(self, destination: str, write: Callable[[], Awaitable[None]]) -> None:
        self._telling.add(destination)
        self._writes.put_nowait((destination, write))

    async def _tell(self) -> None:
        while True:
            destination, write = await self._writes.get()
            try:
                await write()
            except StoreUnavailable as error:
                # So it is in this process only, until the next look; the next failure or answer says it again.
                log.warning("cannot write a breaker down", destination=destination, error=str(error))
            finally:
                self._telling.discard(destination)

    def _show(self) -> None:
        BREAKERS_OPEN.set(sum(one.open_until is not None for one in self._watched.values()))
        self._changed(_places(self._watched, self._may_probe))


def _places(watched: Mapping[str, Destination], may_probe: Callable[[str], bool]) -> dict[str, int]:
    return {key: int(one.paused_at is None and may_probe(key)) for key, one in watched.items() if one.blocked}
