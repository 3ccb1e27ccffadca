"""What delivering needs of the store, put together from what its parts need."""

from __future__ import annotations

from typing import Protocol

from dispatcher.delivery.breaker_writes import BreakerStore
from dispatcher.delivery.lease import LeaseStore
from dispatcher.delivery.outcomes import EndingStore, OutcomeStore
from dispatcher.delivery.rate_limits import RateStore
from dispatcher.delivery.scheduler import ClaimStore
from dispatcher.delivery.sender_cache import DigestStore


class Queue(ClaimStore, OutcomeStore, Protocol):
    """What delivering needs of the queue."""


class DeliveryStore(Protocol):
    """What delivering needs of the store; see `dispatcher.store.store.Store`."""

    @property
    def leases(self) -> LeaseStore: ...

    @property
    def queue(self) -> Queue: ...

    @property
    def digests(self) -> DigestStore: ...

    @property
    def subscriptions(self) -> EndingStore: ...

    @property
    def breakers(self) -> BreakerStore: ...

    @property
    def rate_limits(self) -> RateStore: ...
