"""Circuit breakers: what keeps failing is left alone, and tried again with one delivery now and then.

A subscription has a breaker, so have all of one owner at a destination, and the destination: see `failures`. Breakers
are shared through the store. Every process looks once a second at those that changed, and what waits behind an open one
stays in the store: waiting costs no attempts. One process at a time sends the probe, when there is something to send.
A receiver's Retry-After opens them too, until the time that it names.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

import structlog
from cachetools import LRUCache
from msgspec.structs import replace

from dispatcher.delivery.breaker_waits import probe_time, wait_after
from dispatcher.delivery.breaker_writes import BreakerStore, BreakerWrites, of_destination
from dispatcher.delivery.failures import Failures
from dispatcher.delivery.open_breakers import OpenBreakers
from dispatcher.domain.destinations import Breaker, Destination, RateLimit, Scopes
from dispatcher.domain.events import utc_now
from dispatcher.domain.retry import MAX_RETRY_AFTER

log = structlog.get_logger("dispatcher.delivery")

FAILURES = 10
"""Failures in a row, without one success in between, that open a breaker."""

POLL_INTERVAL = 1.0
"""Seconds between two looks at what other processes and people did."""

SEVERAL = ""
"""In the place of the one subscription of which something arrived at a destination."""

NEVER = datetime.max.replace(tzinfo=UTC)
Standing = Literal["free", "probe", "closed"]


class Breakers:
    """The breakers as this process sees them. `patience` (seconds) is how long a probe may take.

    `changed` is called with a destination when something may go there that did not, or the other way round, and with
    the time from which on it is worth looking.
    """

    def __init__(
        self, store: BreakerStore, patience: float, changed: Callable[[str, datetime], None]
    ) -> None:
        self._salt = random.random()  # noqa: S311 - no secret
        self._patience = timedelta(seconds=patience)
        self._changed = changed
        self._open = OpenBreakers()
        self._destinations: dict[str, Destination] = {}
        self._probing: dict[str, datetime] = {}
        self._failures = Failures()
        self._arrived: LRUCache[str, str] = LRUCache(10_000)
        self._heard: LRUCache[str, dict[str, datetime]] = LRUCache(10_000)
        self._writes = BreakerWrites(store, self._learn)

    def standing(self, scopes: Scopes) -> tuple[Standing, datetime]:
        """Whether deliveries may be claimed, or one as a probe, or nothing before the time."""
        if self._paused(scopes.destination):
            return "closed", NEVER
        if not (opened := self._open.of(scopes)):
            return "free", NEVER
        until = max(map(self._probe_at, opened))
        return ("closed" if until > utc_now() else "probe"), until

    def blocks(self, scopes: Scopes) -> bool:
        """Whether nothing may begin for it, apart from this process's own probe."""
        if not self._open and scopes.destination not in self._destinations:
            return False  # asked before each attempt, and nearly always so
        if self._paused(scopes.destination):
            return True
        if not (opened := self._open.of(scopes)):
            return False
        now = utc_now()
        return not all(self._may_probe(one.key, now) for one in opened)

    def reason(self, scopes: Scopes) -> str | None:
        """Why nothing goes there now, None when something may."""
        if self._paused(scopes.destination):
            return f"it is paused: {self._destinations[scopes.destination].paused_reason}"
        opened = self._open.of(scopes)
        return f"it kept failing ({opened[-1].reason})" if opened else None

    def admits(self, scopes: Scopes) -> bool:
        """Whether fresh deliveries may go at once: not while a breaker is open, a probe comes from the store."""
        return not self._open.of(scopes) and not self._paused(scopes.destination)

    def destination_open_until(self, destination: str) -> datetime | None:
        """Until when nothing goes there for anybody, NEVER while it is paused; None when something may."""
        if self._paused(destination):
            return NEVER
        breaker = self._open.get(destination)
        return None if breaker is None else self._probe_at(breaker)

    def rate_limit(self, destination: str) -> RateLimit | None:
        """The limit that an operator gave it."""
        known = self._destinations.get(destination)
        return None if known is None else known.rate_limit

    def blocked_destinations(self) -> Iterator[str]:
        """The destinations behind which something may wait."""
        paused = {key for key, one in self._destinations.items() if one.paused_at is not None}
        return iter(paused.union(self._open.destinations))

    def answered(self, scopes: Scopes) -> bool:
        """Note that a delivery arrived or was refused properly. True when that closes a breaker."""
        self._failures.answered(scopes)
        closed = False
        for breaker in self._open.of(scopes):
            if self._ends(breaker, utc_now()):
                self._close(breaker)
                closed = True
        self._note_arrival(scopes)
        return closed

    def failed(self, scopes: Scopes, reason: str, *, down: bool = False, shared: bool = True) -> None:
        """Note that a delivery did not arrive although it may be sent again.

        Unless the fault may be `shared` by others, only the subscription's breaker is concerned.
        """
        opened = self._open.of(scopes)
        if opened:
            if not shared:
                opened = [breaker for breaker in opened if breaker.key == scopes.subscription]
            # Those that began before one was open count no more.
            for breaker in opened:
                if self._may_probe(breaker.key, utc_now()):
                    self._reopen(breaker, reason)
            return
        key = self._failures.failed(scopes, FAILURES, down=down, shared=shared)
        if key is not None:
            self._failures.forget(key)
            self._reopen(self._closed_one(key, scopes), reason)

    def asked_to_wait(self, scopes: Scopes, seconds: float, reason: str) -> None:
        """Hold a subscription for the time that its receiver asked for.

        When two subscriptions of an owner hear it, it holds for all of the owner's there; when two owners do, for all.
        """
        now = utc_now()
        until = now + timedelta(seconds=min(max(seconds, 0.0), MAX_RETRY_AFTER))
        heard = [scopes.subscription]
        for wider, part in ((scopes.owner, scopes.subscription), (scopes.destination, scopes.owner)):
            parts = self._heard.setdefault(wider, {})
            parts[part] = max(until, parts.get(part, until))
            for late in [one for one, its in parts.items() if its <= now]:
                del parts[late]
            if len(parts) > 1:
                heard.append(wider)
        for key in heard:
            before = self._open.get(key) or self._closed_one(key, scopes)
            if before.open_until is None or before.open_until < until or key in self._probing:
                opened_at = before.opened_at or now
                asked = replace(before, open_until=until, reason=reason, asked=True, opened_at=opened_at)
                self._set(asked)
                self._writes.open(asked, probed=True)
                where = {"key": key, "destination": scopes.destination}
                log.info("receiver asks to wait", **where, seconds=round(seconds, 1))

    async def begin_probes(self, wanted: Sequence[Scopes]) -> list[Scopes]:
        """Claim the probes of all breakers that are open for these; no breaker lets two through.

        Those for which this process, and no other, may send a delivery now. Raises StoreUnavailable.
        """
        until = utc_now() + self._patience
        opened: dict[str, Breaker] = {}
        asked: list[Scopes] = []
        for scopes in wanted:
            its = self._open.of(scopes)
            if not any(one.key in opened or one.key in self._writes.pending for one in its):
                opened |= {one.key: one for one in its}
                asked.append(scopes)
        begun = await self._writes.begin_probes(list(opened.values()), until) if opened else set()
        for key in begun:
            self._probing[key] = until
            if (breaker := self._open.get(key)) is not None:
                self._open.put(replace(breaker, open_until=until))
        found = [one for one in asked if all(key in begun for key in one if key in opened)]
        if begun:
            log.info("breakers let probes through", keys=sorted(begun)[:10], probes=len(found))
        return found

    async def run(self) -> None:
        """Write down what was noted and look at what others did, until cancelled."""
        await self._writes.run(POLL_INTERVAL)

    def _paused(self, destination: str) -> bool:
        known = self._destinations.get(destination)
        return known is not None and known.paused_at is not None

    def _may_probe(self, key: str, now: datetime) -> bool:
        until = self._probing.get(key)
        return until is not None and until > now

    def _ends(self, breaker: Breaker, now: datetime) -> bool:
        """Whether a success closes it: what receivers asked for only when it is over."""
        if not breaker.asked or self._may_probe(breaker.key, now):
            return True
        return breaker.open_until is not None and breaker.open_until <= now

    def _closed_one(self, key: str, scopes: Scopes) -> Breaker:
        return Breaker(
            key=key, destination=scopes.destination, open_until=None, alone=self._is_alone(key, scopes)
        )

    def _is_alone(self, key: str, scopes: Scopes) -> bool:
        """Whether nothing of others arrived at the destination, as far as is known."""
        arrived = self._arrived.get(scopes.destination)
        return arrived is None or arrived in (key, scopes.subscription)

    def _note_arrival(self, scopes: Scopes) -> None:
        arrived = self._arrived.get(scopes.destination)
        if arrived == scopes.subscription or (arrived == SEVERAL and not self._open):
            return
        if arrived != SEVERAL:
            self._arrived[scopes.destination] = scopes.subscription if arrived is None else SEVERAL
        alone = [one for one in self._open.at(scopes.destination) if one.alone]
        if alone:
            for one in alone:
                self._open.put(replace(one, alone=False))
            self._writes.not_alone(scopes.destination)

    def _reopen(self, breaker: Breaker, reason: str) -> None:
        wait, now = wait_after(breaker.openings, len(self._open)), utc_now()
        opened = replace(
            breaker,
            open_until=now + timedelta(seconds=wait),
            opened_at=breaker.opened_at or now,
            openings=breaker.openings + 1,
            reason=reason,
            asked=False,
        )
        self._set(opened)
        log.warning(
            "breaker open", destination=opened.destination, key=opened.key, error=reason, next_probe_in=wait
        )
        self._writes.open(opened, probed=breaker.open_until is not None)

    def _probe_at(self, breaker: Breaker) -> datetime:
        """When this process looks whether there is something to probe it with, the same moment for many."""
        if breaker.open_until is None:
            return NEVER
        return probe_time(breaker.open_until, breaker.openings, len(self._open), self._salt)

    def _set(self, breaker: Breaker) -> None:
        """Keep one that is open, and say so."""
        self._probing.pop(breaker.key, None)
        self._open.put(breaker)
        self._changed(breaker.destination, self._probe_at(breaker))

    def _close(self, breaker: Breaker) -> None:
        self._open.remove(breaker.key)
        self._probing.pop(breaker.key, None)
        self._writes.close(breaker)
        log.info("breaker closed", destination=breaker.destination, key=breaker.key)
        self._changed(breaker.destination, utc_now())

    def _learn(self, destinations: list[Destination], breakers: list[Breaker]) -> None:
        """Take what was read from the store. What is being written here is newer."""
        for destination in destinations:
            self._learn_destination(destination)
        for breaker in [*map(of_destination, destinations), *breakers]:
            if not self._writes.is_newer(breaker.key):
                self._learn_breaker(breaker)
        now = utc_now()
        self._probing = {
            key: until for key, until in self._probing.items() if until > now and key in self._open
        }

    def _learn_destination(self, one: Destination) -> None:
        before = self._destinations.get(one.key)
        if one.paused_at is not None or one.rate_limit is not None:
            self._destinations[one.key] = one
        else:
            self._destinations.pop(one.key, None)
        if (before is not None and before.paused_at is not None) != (one.paused_at is not None):
            self._changed(one.key, utc_now())

    def _learn_breaker(self, one: Breaker) -> None:
        before = self._open.get(one.key)
        if one.open_until is None:
            if self._open.remove(one.key):
                self._changed(one.destination, utc_now())
        elif before is None or before.open_until != one.open_until:
            self._open.put(one)
            self._changed(one.destination, self._probe_at(one))
