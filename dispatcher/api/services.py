"""What the handlers of the API work with; `app.py` joins it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from dispatcher.api.owner_quotas import OwnerQuotas
from dispatcher.api.waiters import Waiters
from dispatcher.domain.events import Event
from dispatcher.domain.keys import ApiKey
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import AttemptResult, TargetKind
from dispatcher.intake.decode_context import IntakeAdapter
from dispatcher.intake.delivery_quotas import DeliveryQuotas
from dispatcher.store.store import Store


class IngestPort(Protocol):
    """Takes events in; see `dispatcher.intake.ingest_queue.IngestQueue`."""

    async def submit(self, events: Sequence[Event]) -> Mapping[str, str]:
        """Return when they are committed, with the keys of the duplicates and of what was there before."""
        ...


class LaneView(Protocol):
    """What one process does for a destination; see `dispatcher.delivery.lane.Lane`."""

    @property
    def limit(self) -> float: ...

    @property
    def running(self) -> int: ...

    @property
    def queued(self) -> int: ...


class TrialsPort(Protocol):
    """Sends at a person's request; see `dispatcher.delivery.trial.Trials`."""

    async def send(
        self, subscription: Subscription, send: Callable[[], Awaitable[AttemptResult]]
    ) -> AttemptResult: ...


class Unlimited:
    """For an API without a delivery engine beside it."""

    async def send(
        self, subscription: Subscription, send: Callable[[], Awaitable[AttemptResult]]
    ) -> AttemptResult:
        """What `send` answers."""
        return await send()


class EnginePort(Protocol):
    """Delivers what the API makes due; see `dispatcher.delivery.engine.Engine`."""

    @property
    def lease_id(self) -> int: ...

    def wake(self) -> None: ...

    def lane(self, destination: str) -> LaneView | None: ...


class PublishHook(Protocol):
    """Called with a key and the events that it publishes, before they are stored. What it raises refuses them."""

    async def __call__(self, caller: ApiKey, events: Sequence[Event], services: Services) -> None: ...


class Services(Struct, frozen=True, kw_only=True):
    """The parts of one process that the API speaks to.

    `admin_key` is the one from the settings. `readiness` gives each part's problem, None when it has none.
    `public_url` is where people reach the API, if the settings say so. `adapters` read other systems' forms of events.
    `publish_hooks` are called with a key and the events that it publishes, before they are stored; what they raise
    refuses the events. `trials` keeps test sends to the limits of deliveries, `delivery_quotas` says what is due later
    when events are sent again. `waiters` are those who wait for a job.
    """

    store: Store
    intake: IngestPort
    engine: EnginePort
    kinds: Mapping[str, TargetKind]
    admin_key: str | None
    readiness: Callable[[], Awaitable[Mapping[str, str | None]]]
    metrics: Callable[[], Awaitable[bytes]]
    quotas: OwnerQuotas
    delivery_quotas: DeliveryQuotas
    waiters: Waiters
    adapters: Sequence[IntakeAdapter] = ()
    public_url: str | None = None
    trials: TrialsPort = Unlimited()
    publish_hooks: Sequence[PublishHook] = ()
