"""What both stores do alike: all that is not hot, and what follows from what the hot statements found."""

from __future__ import annotations

from abc import ABC

from dispatcher.domain.events import Event
from dispatcher.domain.expansions import Expansion
from dispatcher.store import (
    expansions,
    queries,
    turns,
)
from dispatcher.store.breakers import BreakerRepository
from dispatcher.store.deliveries import DeliveryRepository
from dispatcher.store.destinations import DestinationRepository
from dispatcher.store.digests import DigestRepository
from dispatcher.store.filters import (
    EventFilter,
    Page,
    Window,
)
from dispatcher.store.jobs import JobRepository
from dispatcher.store.keys import KeyRepository
from dispatcher.store.leases import LeaseRepository
from dispatcher.store.queue import DeliveryQueue
from dispatcher.store.quotas import QuotaRepository
from dispatcher.store.rate_limits import RateLimitRepository
from dispatcher.store.recipients import RecipientStore
from dispatcher.store.rows import safe, safe_filter
from dispatcher.store.session import Run, Session
from dispatcher.store.subscription_mapping import SubscriptionRows
from dispatcher.store.subscriptions import SubscriptionRepository
from dispatcher.store.tapis_v3 import TapisStore
from dispatcher.store.target_statuses import TargetStatusRepository
from dispatcher.store.tidying import Tidying
from dispatcher.store.waits import WaitRepository


class SqlStore(ABC):
    """A store on a database that SQLAlchemy knows."""

    session: Session
    leases: LeaseRepository
    breakers: BreakerRepository
    queue: DeliveryQueue
    subscriptions: SubscriptionRepository

    def __init__(self, mapping: SubscriptionRows) -> None:
        self._read: Run = self.session.read
        self._write: Run = self.session.write
        self._subscriptions = mapping
        self.tapis = TapisStore(self._read, self._write, self._subscriptions)
        self.recipients = RecipientStore(self.session, self._subscriptions)
        self.destinations = DestinationRepository(self.session)
        self.rate_limits = RateLimitRepository(self.session)
        self.deliveries = DeliveryRepository(self.session)
        self.digests = DigestRepository(self.session)
        self.jobs = JobRepository(self.session)
        self.keys = KeyRepository(self.session)
        self.quotas = QuotaRepository(self.session)
        self.waits = WaitRepository(self.session)
        self.target_statuses = TargetStatusRepository(self.session)
        self._tidying = Tidying(self._write)

    # Intake and matching

    async def claim_expansions(self, after: bytes) -> list[Expansion]:
        return await self._write(expansions.claim, after)

    async def expanding(self, event_key: str, subscriber: str | None) -> int:
        return await self._read(expansions.remaining, event_key, subscriber)

    async def mend_turns(self, after: int) -> int:
        return await self._write(turns.mend, after)

    # Destinations

    async def tidy(self) -> None:
        await self._tidying.round()
        await self.breakers.purge()
        await self.recipients.tidy()
        await self.target_statuses.tidy()

    # What people ask

    async def event(self, tenant: str, key: str) -> Event | None:
        return await self._read(queries.event, safe(tenant), key)

    async def events(self, which: EventFilter, window: Window) -> Page[Event]:
        return await self._read(queries.event_page, safe_filter(which), window)
