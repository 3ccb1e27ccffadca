"""Holds owners to their quota of deliveries a minute: what is too much is due later, at the rate of the quota.

The store grants deliveries, a share of a minute at a time for each process; it is asked for all owners of a batch at
once, and only for those whose share is used up.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Protocol

import structlog
from cachetools import LRUCache
from msgspec import Struct

from dispatcher.domain.deliveries import OpenDelivery
from dispatcher.domain.delivery_quota import Grant, Owner
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.events import utc_now
from dispatcher.domain.ids import new_id
from dispatcher.intake.job_access import Match
from dispatcher.telemetry.background import InternalErrors
from dispatcher.telemetry.log_limit import LogLimit
from dispatcher.telemetry.metrics import DELIVERIES_OVER_QUOTA

log = structlog.get_logger("dispatcher.intake")

OVERRIDE_SECONDS = 5.0
"""How long it may take until what an admin set for an owner counts in this process."""

LOG_SECONDS = 60.0
"""How often it is logged that an owner is over the quota."""

OWNERS = 10_000
"""Of how many owners the shares are kept."""


class QuotaStore(Protocol):
    """What quotas of deliveries need of the store; see `dispatcher.store.quotas.QuotaRepository`."""

    async def take_deliveries(self, needed: Mapping[Owner, int], default: int) -> Mapping[Owner, Grant]: ...

    async def deliveries_per_minute(self, owners: Sequence[Owner], default: int) -> Mapping[Owner, int]: ...


class DeliveryQuotas:
    """The quotas of all owners in this process; `default` (0: none) is what an owner may get a minute."""

    def __init__(self, store: QuotaStore, default: int) -> None:
        self._store = store
        self._default = default
        self._shares: LRUCache[Owner, _Share] = LRUCache(OWNERS)
        self._used: set[Owner] = set()
        self._log_limit = LogLimit(LOG_SECONDS)
        self._errors = InternalErrors("quota")

    async def admit(self, matches: Sequence[Match]) -> tuple[Sequence[Match], list[OpenDelivery]]:
        """Those of these matches that may be delivered now, and the deliveries that are due later.

        While the store is away, or fails, all of them are delivered.
        """
        needed = _needed(matches)
        missing: dict[Owner, int] = {}
        for owner, count in needed.items():
            share = self._shares.get(owner)
            over = count if share is None else share.take(count)
            if over:
                missing[owner] = over
        self._used.update(needed)
        late = await self._ask(missing) if missing else {}
        return _split(matches, needed, late) if late else (matches, [])

    async def run(self) -> None:
        """Read what admins set for those owners who got deliveries, until cancelled."""
        while True:
            await asyncio.sleep(OVERRIDE_SECONDS)
            used, self._used = self._used, set()
            owners = [owner for owner in used if owner in self._shares]
            try:
                limits = await self._store.deliveries_per_minute(owners, self._default) if owners else {}
            except StoreUnavailable:
                continue  # readiness says so
            for owner, limit in limits.items():
                share = self._shares.get(owner)
                if share is not None and share.per_minute != limit:
                    self._shares[owner] = _Share(limit, 0)

    async def _ask(self, missing: Mapping[Owner, int]) -> dict[Owner, Late]:
        """Of each owner that gets less than is missing, how many deliveries are due later and when."""
        try:
            given = await self._store.take_deliveries(missing, self._default)
        except StoreUnavailable:
            return {}
        except Exception as error:  # noqa: BLE001 - reported; a quota must not keep events from being stored
            self._errors.report(error)
            return {}
        late: dict[Owner, Late] = {}
        for owner, grant in given.items():
            share = self._shares.get(owner)
            if share is None or share.per_minute != grant.per_minute:
                share = self._shares[owner] = _Share(grant.per_minute, 0)
            over = missing[owner] - grant.granted
            if over > 0:
                late[owner] = Late(over, grant)
                self._report(owner, late[owner])
            else:
                share.left -= over
        return late

    def _report(self, owner: Owner, late: Late) -> None:
        DELIVERIES_OVER_QUOTA.inc(late.count)
        if self._log_limit.allows("\x1f".join(owner)) is not None:
            log.warning(
                "deliveries are due later: their owner is over the quota",
                tenant=owner[0],
                owner=owner[1],
                deliveries_per_minute=late.grant.per_minute,
            )


class Late(Struct, frozen=True):
    """How many of an owner's deliveries are due later, and what the quota gave."""

    count: int
    grant: Grant


class _Share:
    """What is left of the deliveries that the store granted for an owner; any number without a limit."""

    __slots__ = ("left", "per_minute")

    def __init__(self, per_minute: int, left: int) -> None:
        self.per_minute = per_minute
        self.left = left

    def take(self, count: int) -> int:
        """Take so many; how many there were too few."""
        if not self.per_minute:
            return 0
        taken = min(self.left, count)
        self.left -= taken
        return count - taken


def _needed(matches: Sequence[Match]) -> Counter[Owner]:
    """How many deliveries count for each owner."""
    counted = Counter([subscription.counted_for for _, subscription in matches])
    return Counter({owner: count for owner, count in counted.items() if owner is not None})


def _split(
    matches: Sequence[Match], needed: Mapping[Owner, int], late: Mapping[Owner, Late]
) -> tuple[list[Match], list[OpenDelivery]]:
    """What goes now, and what goes later: of each owner the last ones."""
    moment, now, later = utc_now(), list[Match](), list[OpenDelivery]()
    left = {owner: needed[owner] - over.count for owner, over in late.items()}
    for event, subscription in matches:
        owner = subscription.counted_for
        over = None if owner is None else late.get(owner)
        if owner is None or over is None:
            now.append((event, subscription))
            continue
        left[owner] -= 1
        if left[owner] >= 0:
            now.append((event, subscription))
            continue
        first = moment + timedelta(seconds=subscription.retry.first_delay)
        due_at = max(first, over.grant.due_at(-left[owner] - 1, moment))
        reason = (
            f"over the quota of {over.grant.per_minute} deliveries a minute: due at "
            f"{due_at.isoformat(timespec='seconds').replace('+00:00', 'Z')}"
        )
        # Its age counts from then on: the quota takes nothing of the time in which it may be tried.
        delivery_id = new_id("dlv")
        later.append(
            OpenDelivery(delivery_id, event, subscription, due_at=due_at, since=due_at, reason=reason)
        )
    return now, later
