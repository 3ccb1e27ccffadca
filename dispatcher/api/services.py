"""What the handlers of the API work with; `app.py` joins it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from dispatcher.api.tokens import Tokens
from dispatcher.domain.events import Event
from dispatcher.domain.keys import ApiKey
from dispatcher.domain.targets import TargetKind
from dispatcher.store.contract import Store


class Intake(Protocol):
    """Takes events in; see `dispatcher.intake.batcher.Intake`."""

    async def submit(self, events: Sequence[Event]) -> Mapping[str, str]:
        """Return when they are committed, with the keys of the duplicates and of what was there before."""
        ...


class Engine(Protocol):
    """Delivers what the API makes due; see `dispatcher.delivery.engine.Engine`."""

    @property
    def process(self) -> int: ...

    def wake(self) -> None: ...


class Services(Struct, frozen=True, kw_only=True):
    """The parts of one process that the API speaks to.

    `admin_key` is the one from the settings. `readiness` gives each part's problem, None when it has none.
    `tokens` checks those of Tapis, None when none are accepted. `before_publish` are called with a key and the
    events that it publishes, before they are stored; what they raise refuses the events.
    """

    store: Store
    intake: Intake
    engine: Engine
    kinds: Mapping[str, TargetKind]
    admin_key: str | None
    readiness: Callable[[], Awaitable[Mapping[str, str | None]]]
    metrics: Callable[[], bytes]
    tokens: Tokens | None = None
    before_publish: Sequence[Callable[[ApiKey, Sequence[Event], Services], Awaitable[None]]] = ()
