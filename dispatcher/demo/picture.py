"""What the demo has seen of the service: the events and deliveries that its API shows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

from dispatcher.client import AsyncClient
from dispatcher.client.models import Attempt, Delivery, DeliveryDetail, Event


class Came(Struct, frozen=True):
    """An event was accepted."""

    at: datetime
    event: Event


class Tried(Struct, frozen=True):
    """An attempt of a delivery ended."""

    at: datetime
    delivery: DeliveryDetail
    attempt: Attempt


News = Came | Tried


class Picture:
    """Everything that was seen so far, by id."""

    def __init__(self) -> None:
        self.events: dict[str, Event] = {}
        self.deliveries: dict[str, DeliveryDetail] = {}

    @property
    def settled(self) -> bool:
        """Whether nothing more will happen by itself."""
        return all(delivery.ended for delivery in self.deliveries.values())

    def of(self, subscription_id: str) -> list[DeliveryDetail]:
        """The deliveries of one subscription, in the order in which they were made."""
        found = (one for one in self.deliveries.values() if one.subscription_id == subscription_id)
        return sorted(found, key=lambda one: one.id)

    def delay(self, delivery: Delivery) -> float | None:
        """Seconds from the acceptance of the event to the end of the delivery; None while it goes on."""
        if delivery.ended_at is None:
            return None
        return (delivery.ended_at - self.events[delivery.event_id].accepted_at).total_seconds()

    def has_changed(self, delivery: Delivery) -> bool:
        """Whether a delivery stands elsewhere than when it was seen last."""
        known = self.deliveries.get(delivery.id)
        return known is None or (known.state, known.attempts) != (delivery.state, delivery.attempts)

    def add(self, events: Iterable[Event], deliveries: Iterable[DeliveryDetail]) -> list[News]:
        """Take in what is seen now, and tell what is new, in the order in which it happened."""
        news: list[News] = []
        for event in events:
            if event.id not in self.events:
                news.append(Came(event.accepted_at, event))
                self.events[event.id] = event
        for delivery in deliveries:
            known = self.deliveries.get(delivery.id)
            seen = len(known.latest_attempts) if known else 0
            news += [
                Tried(attempt.ended_at, delivery, attempt) for attempt in delivery.latest_attempts[seen:]
            ]
            self.deliveries[delivery.id] = delivery
        return sorted(news, key=lambda one: one.at)


async def look(client: AsyncClient, picture: Picture) -> list[News]:
    """Look at the service again: what is new since the last time. Raises ClientError."""
    listed = await client.deliveries.list().collect()
    changed = [delivery.id for delivery in listed if picture.has_changed(delivery)]
    deliveries = await asyncio.gather(*(client.deliveries.get(one) for one in changed))
    # The events come last: those of the deliveries above were accepted before.
    return picture.add(await client.events.list().collect(), deliveries)
