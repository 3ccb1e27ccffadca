"""Breakers in the store: what this process noted is written there, and what others changed is read once a second."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Protocol

import structlog

from dispatcher.domain.destinations import Breaker, Destination
from dispatcher.domain.errors import StoreUnavailable

log = structlog.get_logger("dispatcher.delivery")


class Changes(Protocol):
    """What changed; see `dispatcher.store.contract.Changes`."""

    @property
    def destinations(self) -> list[Destination]: ...

    @property
    def breakers(self) -> list[Breaker]: ...

    @property
    def until(self) -> datetime: ...

    @property
    def more(self) -> bool: ...


class BreakerStore(Protocol):
    """What breakers need of the store; see `dispatcher.store.contract.Store`."""

    async def destinations_to_watch(self, after: str = "") -> list[Destination]: ...

    async def breakers_to_watch(self, after: str = "") -> list[Breaker]: ...

    async def changes(self, since: datetime | None) -> Changes: ...

    async def open_breaker(
        self, destination: str, until: datetime, reason: str, *, probed: bool, asked: bool = False
    ) -> None: ...

    async def open_breaker_within(self, breaker: Breaker, *, probed: bool) -> None: ...

    async def begin_probe(self, destination: str, seen: datetime, until: datetime) -> bool: ...

    async def begin_probe_within(self, key: str, seen: datetime, until: datetime) -> bool: ...

    async def close_breaker(self, destination: str) -> None: ...

    async def close_breaker_within(self, key: str) -> None: ...

    async def not_alone(self, destination: str) -> None: ...


class BreakerWrites:
    """Writes in the order in which things were noted, and calls `learn` with what was read.

    `pending` are the keys that are to be written.
    """

    def __init__(
        self, store: BreakerStore, learn: Callable[[list[Destination], list[Breaker]], None]
    ) -> None:
        self.pending: dict[str, int] = {}
        self._written: set[str] = set()
        self._store = store
        self._learn = learn
        self._since: datetime | None = None
        self._writes: asyncio.Queue[tuple[str, Callable[[], Awaitable[None]]]] = asyncio.Queue()

    def is_newer(self, key: str) -> bool:
        """Whether what is known of it here is newer than what was just read: it is or was written meanwhile."""
        return key in self.pending or key in self._written

    def open(self, breaker: Breaker, *, probed: bool) -> None:
        """Write down that a breaker is open."""
        until, reason = breaker.open_until, breaker.reason or ""
        if breaker.key != breaker.destination:
            self._put(breaker.key, partial(self._store.open_breaker_within, breaker, probed=probed))
        elif until is not None:
            write = partial(
                self._store.open_breaker, breaker.key, until, reason, probed=probed, asked=breaker.asked
            )
            self._put(breaker.key, write)

    def close(self, breaker: Breaker) -> None:
        """Write down that a breaker is closed."""
        within = breaker.key != breaker.destination
        close = self._store.close_breaker_within if within else self._store.close_breaker
        self._put(breaker.key, partial(close, breaker.key))

    def not_alone(self, destination: str) -> None:
        """Write down that something arrives at a destination."""
        self._put(destination, partial(self._store.not_alone, destination))

    async def begin_probe(self, breaker: Breaker, until: datetime) -> bool:
        """Claim a probe; True for one process only. Raises StoreUnavailable."""
        if breaker.open_until is None:
            return False
        within = breaker.key != breaker.destination
        begin = self._store.begin_probe_within if within else self._store.begin_probe
        self._written.add(breaker.key)
        return await begin(breaker.key, breaker.open_until, until)

    async def run(self, interval: float) -> None:
        """Write, and read every `interval` seconds, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._write_all())
            group.create_task(self._read_all(interval))

    def _put(self, key: str, write: Callable[[], Awaitable[None]]) -> None:
        self.pending[key] = self.pending.get(key, 0) + 1
        self._written.add(key)
        self._writes.put_nowait((key, write))

    async def _write_all(self) -> None:
        while True:
            key, write = await self._writes.get()
            try:
                await write()
            except StoreUnavailable as error:
                # So it is in this process only; the next failure or answer says it again.
                log.warning("cannot write a breaker down", key=key, error=str(error))
            finally:
                self.pending[key] -= 1
                if not self.pending[key]:
                    del self.pending[key]

    async def _read_all(self, interval: float) -> None:
        while True:
            try:
                await self._read()
            except StoreUnavailable as error:
                log.warning("cannot look at the breakers", error=str(error), retry_in=interval)
            await asyncio.sleep(interval)

    async def _read(self) -> None:
        if self._since is None:
            since = (await self._store.changes(None)).until
            await self._read_open()
            self._since = since
        more = True
        while more:
            self._written = set(self.pending)
            changes = await self._store.changes(self._since)
            self._learn(changes.destinations, changes.breakers)
            self._since, more = changes.until, changes.more

    async def _read_open(self) -> None:
        self._written = set(self.pending)
        after = ""
        while destinations := await self._store.destinations_to_watch(after):
            self._learn(destinations, [])
            after = destinations[-1].key
        after = ""
        while breakers := await self._store.breakers_to_watch(after):
            self._learn([], breakers)
            after = breakers[-1].key


def of_destination(one: Destination) -> Breaker:
    """The breaker of a destination itself."""
    return Breaker(
        key=one.key,
        destination=one.key,
        open_until=one.open_until,
        opened_at=one.opened_at,
        openings=one.openings,
        reason=one.reason,
        asked=one.asked,
    )
