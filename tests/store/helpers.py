"""What tests of the store do again and again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from dispatcher.domain.deliveries import Attempt, Delivery, OpenDelivery, Outcome, State
from dispatcher.domain.events import utc_now
from dispatcher.domain.ids import new_id
from dispatcher.domain.subscriptions import Subscription
from dispatcher.store.filters import DeliveryFilter, Window
from dispatcher.store.store import Store
from tests.factories import NOW, make_delivery, make_event, make_subscription

PAST = utc_now() - timedelta(hours=1)
FUTURE = utc_now() + timedelta(hours=1)
ALL = Window()


async def accept(store: Store, process: int, *deliveries: OpenDelivery) -> Mapping[str, str]:
    """Accept deliveries with their events."""
    events = {delivery.event.key: delivery.event for delivery in deliveries}
    return await store.events.accept(process, list(events.values()), deliveries)


async def subscribed(store: Store, **fields: object) -> Subscription:
    """Store a subscription to every job."""
    subscription = make_subscription(**{"owner": "*"} | fields)
    await store.subscriptions.add(subscription)
    return subscription


async def stored(
    store: Store, process: int, subscription: Subscription, count: int = 1, **fields: object
) -> list[OpenDelivery]:
    """Accept deliveries of as many new events; claimed unless `fields` say otherwise."""
    new = [make_delivery(make_event(), subscription, **fields) for _ in range(count)]
    await accept(store, process, *new)
    return new


def outcome(delivery_id: str, state: State, **fields: object) -> Outcome:
    """Return the outcome of a first attempt."""
    values = {
        "delivery_id": delivery_id,
        "state": state,
        "attempts": 1,
        "due_at": None,
        "ended_at": NOW if state.final else None,
        "reason": None,
        "attempt": None,
    }
    return Outcome(**values | fields)  # type: ignore[arg-type]  # each test names real fields


def attempt(number: int = 1, **fields: object) -> Attempt:
    """Return an attempt that was answered with 200."""
    values = {
        "number": number,
        "started_at": NOW,
        "duration": 0.25,
        "request": "POST https://example.org/hook",
        "status": 200,
        "error": None,
        "answer": "ok",
    }
    return Attempt(**values | fields)  # type: ignore[arg-type]  # each test names real fields


async def ended(
    store: Store, process: int, subscription: Subscription, state: State, count: int = 1
) -> list[OpenDelivery]:
    """Store deliveries that have ended in this state after one attempt."""
    new = await stored(store, process, subscription, count)
    await store.queue.finish(process, [outcome(one.id, state, attempt=attempt()) for one in new])
    return new


async def found(store: Store, delivery: OpenDelivery) -> Delivery:
    """Return a delivery as it stands now."""
    there = await store.deliveries.get(delivery.event.tenant, delivery.id)
    assert there is not None
    return there


async def state_of(store: Store, delivery: OpenDelivery) -> State:
    """Return where a delivery stands now."""
    return (await found(store, delivery)).state


async def ids(store: Store, **fields: object) -> list[str]:
    """Return the ids of the deliveries that a filter selects."""
    which = DeliveryFilter(**{"tenant": "default"} | fields)  # type: ignore[arg-type]  # each test names real fields
    return [delivery.id for delivery in (await store.deliveries.page(which, ALL)).items]


def unknown(prefix: str) -> str:
    """Return an id of something that is not stored."""
    return new_id(prefix)  # type: ignore[arg-type]  # one of the four prefixes


def later(seconds: float) -> datetime:
    """Return a time so many seconds after NOW."""
    return NOW + timedelta(seconds=seconds)
