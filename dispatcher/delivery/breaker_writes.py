"""Breakers in the store: what this process noted is written there, and what others changed is read once a second."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple, Protocol

import structlog

from dispatcher.domain.destinations import Breaker, Destination, HealthChanges
from dispatcher.domain.errors import StoreUnavailable

log = structlog.get_logger("dispatcher.delivery")

MAX_BATCH = 500
"""Breakers that are opened in one statement."""


class BreakerStore(Protocol):
    """What breakers need of the store; see `dispatcher.store.breakers.BreakerRepository`."""

    async def destinations_to_watch(self, after: str = "") -> list[Destination]: ...

    async def to_watch(self, after: str = "") -> list[Breaker]: ...

    async def changes(self, since: datetime | None) -> HealthChanges: ...

    async def open(self, opened: Sequence[Breaker], probed: Collection[str]) -> None: ...

    async def begin_probes(self, opened: Sequence[Breaker], until: datetime) -> set[str]: ...

    async def close(self, destination: str) -> None: ...

    async def close_within(self, key: str) -> None: ...

    async def note_others(self, destination: str) -> None: ...


class _Opened(NamedTuple):
    """A breaker that is open, because its probe failed or for another reason."""

    breaker: Breaker
    probed: bool


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
        self._writes: deque[tuple[str, _Opened | Callable[[], Awaitable[None]]]] = deque()
        self._some = asyncio.Event()

    def is_newer(self, key: str) -> bool:
        """Whether what is known of it here is newer than what was just read: it is or was written meanwhile."""
        return key in self.pending or key in self._written

    def open(self, breaker: Breaker, *, probed: bool) -> None:
        """Write down that a breaker is open."""
        self._put(breaker.key, _Opened(breaker, probed))

    def close(self, breaker: Breaker) -> None:
        """Write down that a breaker is closed."""
        within = breaker.key != breaker.destination
        close = self._store.close_within if within else self._store.close
        self._put(breaker.key, partial(close, breaker.key))

    def not_alone(self, destination: str) -> None:
        """Write down that something arrives at a destination."""
        self._put(destination, partial(self._store.note_others, destination))

    async def begin_probes(self, opened: Sequence[Breaker], until: datetime) -> set[str]:
        """Claim the probes of these; the keys of those that this process alone has. Raises StoreUnavailable."""
        self._written.update(breaker.key for breaker in opened)
        return await self._store.begin_probes(opened, until)

    async def run(self, interval: float) -> None:
        """Write, and read every `interval` seconds, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._write_all())
            group.create_task(self._read_all(interval))

    def _put(self, key: str, write: _Opened | Callable[[], Awaitable[None]]) -> None:
        self.pending[key] = self.pending.get(key, 0) + 1
        self._written.add(key)
        self._writes.append((key, write))
        self._some.set()

    async def _write_all(self) -> None:
        while True:
            await self._some.wait()
            self._some.clear()
            while self._writes:
                await self._write_next()

    async def _write_next(self) -> None:
        keys, write = self._next()
        try:
            await write()
        except StoreUnavailable as error:
            # So it is in this process only; the next failure or answer says it again.
            log.warning("cannot store breakers", keys=keys[:10], error=str(error))
        finally:
            for key in keys:
                self.pending[key] -= 1
                if not self.pending[key]:
                    del self.pending[key]

    def _next(self) -> tuple[list[str], Callable[[], Awaitable[None]]]:
        """What was noted first, with what was opened right after it; and the keys that it is about."""
        key, first = self._writes.popleft()
        if not isinstance(first, _Opened):
            return [key], first
        opened = {key: first}
        while self._writes and len(opened) < MAX_BATCH:
            key, write = self._writes[0]
            if key in opened or not isinstance(write, _Opened):
                break
            opened[key] = write
            self._writes.popleft()
        probed = {key for key, one in opened.items() if one.probed}
        return list(opened), partial(self._store.open, [one.breaker for one in opened.values()], probed)

    async def _read_all(self, interval: float) -> None:
        while True:
            try:
                await self._read()
            except StoreUnavailable as error:
                log.warning("cannot read the breakers", error=str(error), retry_in=interval)
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
        while breakers := await self._store.to_watch(after):
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
