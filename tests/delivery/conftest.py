"""An engine over a real store, with a target kind whose answers the test decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Self

import pytest
from msgspec import Struct

from dispatcher.delivery.engine import Engine
from dispatcher.delivery.limits import Limits
from dispatcher.domain.deliveries import Delivery, State
from dispatcher.domain.events import Event
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import AttemptResult, TargetKind
from dispatcher.intake.matcher import Matcher
from dispatcher.store.encryption import Sealer
from dispatcher.store.filters import DeliveryFilter, Window
from dispatcher.store.store import Store
from tests.stores import prepared_store

GOOD = AttemptResult(request_line="POST x", status=204)
BAD = AttemptResult(request_line="POST x", status=500, error="answered 500")


class Sent(Struct, frozen=True):
    """One attempt as the target saw it."""

    subscription: Subscription
    event: Event
    delivery_id: str
    number: int


class ScriptedKind:
    """A target kind that notes every attempt and asks `answer` what comes of it."""

    name = "webhook"
    spec = Struct

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.answer: Callable[[Sent], Awaitable[AttemptResult]] = self.good
        self._changed = asyncio.Condition()

    async def good(self, _: Sent) -> AttemptResult:
        return GOOD

    async def until(self, enough: Callable[[list[Sent]], bool]) -> list[Sent]:
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(lambda: enough(self.sent))
        return self.sent

    async def attempted(self, sent: Sent) -> AttemptResult:
        async with self._changed:
            self.sent.append(sent)
            self._changed.notify_all()
        return await self.answer(sent)

    def check(self, target: Struct) -> str:
        return ""

    def redact(self, target: Struct) -> dict[str, object]:
        return {}

    def sender(self, subscription: Subscription) -> ScriptedSender:
        return ScriptedSender(self, subscription)

    async def close(self) -> None:
        pass


class ScriptedSender:
    """The sender of one subscription."""

    def __init__(self, kind: ScriptedKind, subscription: Subscription) -> None:
        self._kind = kind
        self._subscription = subscription

    async def send(
        self, event: Event, delivery_id: str, number: int, attempt_state: str | None
    ) -> AttemptResult:
        return await self._kind.attempted(Sent(self._subscription, event, delivery_id, number))


class Running:
    """An engine that runs, and the way in that intake takes."""

    def __init__(self, store: Store, kind: TargetKind, limits: Limits) -> None:
        self.engine = Engine(store, {kind.name: kind}, limits)
        self._store = store

    @asynccontextmanager
    async def runs(self) -> AsyncIterator[Self]:
        """Deliver while this is entered, and stop after it."""
        await self.engine.begin()
        async with asyncio.TaskGroup() as group:
            self.engine.launch(group)
            try:
                yield self
            finally:
                await self.engine.stop()

    async def accept(self, *events: Event) -> None:
        deliveries = self.engine.reservations.reserve_slots(await Matcher(self._store).match(events))
        await self._store.events.accept(self.engine.lease_id, events, deliveries)
        self.engine.reservations.enqueue(deliveries)

    async def has(self, happened: Callable[[], bool]) -> None:
        """Return when something has happened to the engine, which sends no notification of it."""
        async with asyncio.timeout(20):
            while not happened():  # noqa: ASYNC110 - there is nothing to wait for
                await asyncio.sleep(0.01)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """The address of an empty database, of each kind in turn."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """An open store with nothing in it, on each database in turn."""
    async with prepared_store(url, Sealer(["a key of thirty-two characters or more"])) as store:
        yield store


@pytest.fixture
def kind() -> ScriptedKind:
    return ScriptedKind()


@asynccontextmanager
async def running(store: Store, kind: ScriptedKind, limits: Limits | None = None) -> AsyncIterator[Running]:
    """An engine that runs while this is entered and is stopped after it."""
    async with Running(store, kind, limits or Limits()).runs() as process:
        yield process


async def deliveries(store: Store) -> list[Delivery]:
    """All deliveries, the oldest first."""
    return (await store.deliveries.page(DeliveryFilter(tenant="default"), Window(limit=500))).items[::-1]


async def settled(store: Store, wanted: Mapping[State, int]) -> list[Delivery]:
    """All deliveries, once there are so many of each state."""
    async with asyncio.timeout(20):
        while True:
            found = await deliveries(store)
            counts: dict[State, int] = {}
            for delivery in found:
                counts[delivery.state] = counts.get(delivery.state, 0) + 1
            if counts == dict(wanted):
                return found
            await asyncio.sleep(0.02)
