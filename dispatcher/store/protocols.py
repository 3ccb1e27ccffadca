"""What every store can do. SQLite and PostgreSQL fulfil it alike; one suite of tests runs on both.

All methods raise StoreUnavailable when the database cannot be reached; then nothing was changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from dispatcher.domain.deliveries import (
    NewDelivery,
)
from dispatcher.domain.events import Event
from dispatcher.domain.expansions import Expansion, NewExpansion
from dispatcher.domain.retention import Keep, Kept
from dispatcher.store.filters import (
    EventFilter,
    Page,
    Window,
)

if TYPE_CHECKING:
    from dispatcher.store.breakers import BreakerRepository
    from dispatcher.store.deliveries import DeliveryRepository
    from dispatcher.store.destinations import DestinationRepository
    from dispatcher.store.digests import DigestRepository
    from dispatcher.store.jobs import JobRepository
    from dispatcher.store.keys import KeyRepository
    from dispatcher.store.leases import LeaseRepository
    from dispatcher.store.queue import DeliveryQueue
    from dispatcher.store.quotas import QuotaRepository
    from dispatcher.store.rate_limits import RateLimitRepository
    from dispatcher.store.recipients import RecipientStore
    from dispatcher.store.subscriptions import SubscriptionRepository
    from dispatcher.store.tapis_v3 import TapisStore
    from dispatcher.store.target_statuses import TargetStatusRepository
    from dispatcher.store.waits import WaitRepository


class Store(Protocol):
    """Events, deliveries, jobs, subscriptions, keys and processes."""

    @property
    def subscriptions(self) -> SubscriptionRepository:
        """Subscriptions."""
        ...

    @property
    def leases(self) -> LeaseRepository:
        """The processes that share the work."""
        ...

    @property
    def jobs(self) -> JobRepository:
        """Jobs, as their events tell of them."""
        ...

    @property
    def queue(self) -> DeliveryQueue:
        """The deliveries that wait or are claimed."""
        ...

    @property
    def deliveries(self) -> DeliveryRepository:
        """All deliveries, as people see them."""
        ...

    @property
    def digests(self) -> DigestRepository:
        """Digests that gather."""
        ...

    @property
    def destinations(self) -> DestinationRepository:
        """Destinations."""
        ...

    @property
    def breakers(self) -> BreakerRepository:
        """Breakers of destinations, and of subscriptions and owners within one."""
        ...

    @property
    def rate_limits(self) -> RateLimitRepository:
        """Rate limits of subscriptions and destinations."""
        ...

    @property
    def keys(self) -> KeyRepository:
        """API keys."""
        ...

    @property
    def tapis(self) -> TapisStore:
        """What only the shapes of Tapis v3 ask for."""
        ...

    @property
    def recipients(self) -> RecipientStore:
        """Recipients of e-mail: consent, refusals, counts."""
        ...

    @property
    def quotas(self) -> QuotaRepository:
        """What owners may use."""
        ...

    @property
    def waits(self) -> WaitRepository:
        """What is asked for those who wait for a job."""
        ...

    @property
    def target_statuses(self) -> TargetStatusRepository:
        """The latest statuses of targets that keep state."""
        ...

    async def open(self) -> None:
        """Connect and bring the schema up to date."""
        ...

    async def close(self) -> None:
        """Let go of every connection. A claim that is left stands until its lease ends."""
        ...

    async def check_write(self, process: int) -> None:
        """Write what changes nothing, under the locks that storing events takes. They are waited for 4 s at most."""
        ...

    # Intake and matching

    async def accept(
        self,
        process: int,
        events: Sequence[Event],
        deliveries: Sequence[NewDelivery],
        expansions: Sequence[NewExpansion] = (),
    ) -> Mapping[str, str]:
        """Store events, their deliveries or the orders to make them, their jobs and permissions in one transaction.

        A delivery to an ordered subscription is stored as an order while one for its job is open.

        An event that is there already (same identity; or twice in the batch) changes nothing,
        and neither do its deliveries. Returns, for each of these, its key and the key of the one that was
        there: its own when an earlier call stored it whose answer was lost. So the same call may be made
        again after StoreUnavailable. What a process without a lease was to claim is stored as due now.
        """
        ...

    async def add_deliveries(self, process: int, deliveries: Sequence[NewDelivery]) -> None:
        """Store further deliveries of events that are stored (a replay)."""
        ...

    # Expansions: orders to make deliveries later

    async def claim_expansions(self, after: bytes) -> list[Expansion]:
        """Claim the first orders of a queue for 30 seconds; none when other processes have all queues.

        Queues take turns: it is the next one after the queue `after` (NO_QUEUE at first). Together they stand for CHUNK
        deliveries at most.
        """
        ...

    async def expand(
        self, process: int, orders: Sequence[Expansion], deliveries: Sequence[NewDelivery]
    ) -> bool:
        """Store the deliveries that claimed orders stand for, and take these out, in one transaction.

        False when another process did it. So the same call may be made again after StoreUnavailable.
        """
        ...

    async def expanding(self, event_key: str, subscriber: str | None) -> int:
        """How many deliveries of an event are still to be made, to all or to one owner's subscriptions."""
        ...

    # Ordered deliveries: `accept` and `finish` see to them by themselves.

    async def mend_turns(self, after: int) -> int:
        """Let those go on whose turn it is and who were not told, as after a crash.

        It looks at some after `after` (0 at first) and returns where to go on; 0 at the end.
        """
        ...

    async def tidy(self) -> None:
        """Forget some of what nobody needs any more: unused rate limits, memos of what has ended."""
        ...

    async def retain(self, keep: Keep) -> Kept:
        """Delete what was kept for long enough, and make room for what comes.

        Nothing goes that waits or is being delivered, whatever its age, nor the event of a delivery that stays. It may
        take minutes. While another process does it, it only looks.
        """
        ...

    # What people ask

    async def event(self, tenant: str, key: str) -> Event | None:
        """One event by its key (`evt_…`)."""
        ...

    async def events(self, which: EventFilter, window: Window) -> Page[Event]:
        """Events in the order of acceptance, newest first."""
        ...
