"""A store: one repository for each aggregate, and what concerns all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from dispatcher.domain.retention import Keep, Kept, Purge
from dispatcher.store.breakers import BreakerRepository
from dispatcher.store.deliveries import DeliveryRepository
from dispatcher.store.destinations import DestinationRepository
from dispatcher.store.digests import DigestRepository
from dispatcher.store.encryption import Sealer
from dispatcher.store.events import EventRepository
from dispatcher.store.expansions import ExpansionRepository
from dispatcher.store.jobs import JobRepository
from dispatcher.store.keys import KeyRepository
from dispatcher.store.leases import LeaseRepository
from dispatcher.store.oauth_tokens import OAuthTokenRepository
from dispatcher.store.ordering import OrderingRepository
from dispatcher.store.orphans import Orphans
from dispatcher.store.queue import DeliveryQueue
from dispatcher.store.quotas import QuotaRepository
from dispatcher.store.rate_limits import RateLimitRepository
from dispatcher.store.recipients import RecipientRepository
from dispatcher.store.session import Session
from dispatcher.store.subscription_mapping import SubscriptionRows
from dispatcher.store.subscriptions import SubscriptionRepository
from dispatcher.store.target_statuses import TargetStatusRepository
from dispatcher.store.tenants import TenantRepository
from dispatcher.store.waits import WaitRepository


class Store(ABC):
    """All that is stored. SQLite and PostgreSQL do the same; one suite of tests runs on both.

    All methods raise StoreUnavailable when the database cannot be reached; what a method writes is written as a
    whole or not at all, and which of the two is not known then.
    """

    session: Session
    events: EventRepository
    expansions: ExpansionRepository
    queue: DeliveryQueue
    breakers: BreakerRepository
    leases: LeaseRepository
    subscriptions: SubscriptionRepository

    def __init__(self, session: Session, mapping: SubscriptionRows, sealer: Sealer) -> None:
        self.subscription_mapping = mapping
        self.deliveries = DeliveryRepository(session)
        self.ordering = OrderingRepository(session)
        self.digests = DigestRepository(session)
        self.destinations = DestinationRepository(session)
        self.rate_limits = RateLimitRepository(session)
        self.jobs = JobRepository(session)
        self.keys = KeyRepository(session)
        self.quotas = QuotaRepository(session)
        self.tenants = TenantRepository(session)
        self.waits = WaitRepository(session)
        self.target_statuses = TargetStatusRepository(session)
        self.oauth_tokens = OAuthTokenRepository(session, sealer)
        self.recipients = RecipientRepository(session, mapping)
        self._orphans = Orphans(session)

    @abstractmethod
    async def open(self) -> None:
        """Connect and bring the schema up to date."""

    @abstractmethod
    async def close(self) -> None:
        """Close every connection. A claim that is left stands until its lease ends."""

    @abstractmethod
    async def warm_up(self, lease_id: int) -> None:
        """Make connections and statements ready that the first batches would wait for otherwise, if that takes no time.

        Raises StoreUnavailable.
        """

    @abstractmethod
    async def check_write(self, lease_id: int) -> None:
        """Write what changes nothing, under the locks that storing events takes. They are waited for 4 s at most."""

    @abstractmethod
    async def retain(self, keep: Keep, purges: Sequence[Purge] = ()) -> Kept:
        """Delete what was kept for long enough, and make room for what comes. `purges` are called for other tables.

        Nothing goes that waits or is being delivered, whatever its age, nor the event of a delivery that stays. It may
        take minutes. While another process does it, it only looks.
        """

    async def purge_orphans(self) -> None:
        """Delete some of what nothing needs any more: unused rate limits, notes on what has ended."""
        await self._orphans.purge()
        await self.breakers.purge()
        await self.recipients.purge()
        await self.target_statuses.purge()
        await self.oauth_tokens.purge()
