"""The expander: makes the deliveries that orders stand for, a part at a time and behind others' work."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from dispatcher.domain.deliveries import OpenDelivery
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.expansions import NO_QUEUE, Expansion
from dispatcher.domain.ids import new_id
from dispatcher.domain.subscriptions import Subscription
from dispatcher.intake.delivery_quotas import DeliveryQuotas
from dispatcher.intake.grouping import grouped
from dispatcher.intake.job_access import Match
from dispatcher.intake.matcher import Matcher
from dispatcher.telemetry.background import InternalErrors
from dispatcher.telemetry.metrics import EXPANDED

log = structlog.get_logger("dispatcher.intake")

POLL = 2.0
"""Seconds between two looks for orders that other processes accepted or left behind."""

REST = 1.0
"""How long it rests after a part, in times of what that took: others go first."""

LONGEST_REST = 5.0


class ExpansionStore(Protocol):
    """What expanding needs of the store; see `dispatcher.store.expansions.ExpansionRepository`."""

    async def claim(self, after: bytes) -> list[Expansion]: ...

    async def expand(
        self, lease_id: int, orders: Sequence[Expansion], deliveries: Sequence[OpenDelivery]
    ) -> bool: ...


class Expander:
    """Carries orders out; their queues take turns. `made` is called when there are deliveries that are due.

    What is over one of the `quotas` is due later; without them all is due at once.
    """

    def __init__(
        self,
        expansions: ExpansionStore,
        matcher: Matcher,
        made: Callable[[], None],
        quotas: DeliveryQuotas | None = None,
    ) -> None:
        self._expansions = expansions
        self._matcher = matcher
        self._made = made
        self._quotas = quotas
        self._errors = InternalErrors("expand")
        self._after = NO_QUEUE

    async def run(self, lease_id: Callable[[], int]) -> None:
        """Carry out what there is, under this lease, until cancelled.

        An order that fails is tried again when its claim ends. Those of other queues go on.
        """
        while True:
            began = time.perf_counter()
            try:
                found = await self.expand_next(lease_id())
            except StoreUnavailable as error:
                log.warning("expansions wait", error=str(error), retry_in=LONGEST_REST)
                await asyncio.sleep(LONGEST_REST)
                continue
            except Exception as error:  # noqa: BLE001 - reported, and the others go on
                self._errors.report(error)
                found = True
            rest = min(REST * (time.perf_counter() - began), LONGEST_REST)
            await asyncio.sleep(rest if found else POLL)

    async def expand_next(self, lease_id: int) -> bool:
        """Carry out the first orders of the next queue; False when there are none. Raises StoreUnavailable."""
        orders = await self._expansions.claim(self._after)
        if not orders:
            return False
        self._after = orders[0].queue
        now = utc_now()
        matches: Sequence[Match] = await self._matcher.expand(orders)
        later: Sequence[OpenDelivery] = ()
        if self._quotas is not None:
            matches, later = await self._quotas.admit(matches)
        new = grouped([*(_pending(event, subscription, now) for event, subscription in matches), *later])
        if await self._expansions.expand(lease_id, orders, new):
            EXPANDED.inc(len(new))
            self._made()
        return True


def _pending(event: Event, subscription: Subscription, now: datetime) -> OpenDelivery:
    paused = subscription.status == "paused"
    due_at = None if paused else now + timedelta(seconds=subscription.retry.first_delay)
    return OpenDelivery(new_id("dlv"), event, subscription, due_at=due_at)
