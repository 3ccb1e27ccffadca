"""Claims as the scheduler makes them: what waits where, of whom something is due there, and then that."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from dispatcher.delivery.scheduler import MAX_FURTHER_QUEUES
from dispatcher.delivery.shares import divide
from dispatcher.domain.deliveries import OpenDelivery
from dispatcher.store.store import Store

PAGE = 1000
"""Destinations that are found together."""


async def waiting(store: Store) -> AsyncIterator[tuple[str, datetime | None]]:
    """Every destination for which something waits, and when the first of it is due."""
    after = ""
    while found := await store.queue.waiting_destinations(after, PAGE):
        for one in found:
            yield one
        after = found[-1][0]


async def claim(store: Store, process: int, limit: int, each: int | None = None) -> list[OpenDelivery]:
    """Claim what is due, `limit` deliveries at most, and of each destination `each`."""
    claimed = await claim_at(store, process, [name async for name, _ in waiting(store)], limit, each)
    if claimed:
        return claimed
    # That gave back what a claim has whose answer was lost.
    return await claim_at(store, process, [name async for name, _ in waiting(store)], limit, each)


async def claim_at(
    store: Store, process: int, destinations: Sequence[str], limit: int, each: int | None = None
) -> list[OpenDelivery]:
    """The same of these destinations."""
    found = (
        await store.queue.find_queues(dict.fromkeys(destinations, ""), max(32, limit), MAX_FURTHER_QUEUES)
        if destinations
        else {}
    )
    places = limit if each is None else each
    shares = [
        share
        for one in found.values()
        for share in divide(one.queues, places, may_have_more=not one.complete)
    ]
    return await store.queue.claim(process, limit, shares)


async def next_due(store: Store) -> datetime | None:
    """When the first of what waits is due, None when nothing waits for a time."""
    return min([due_at async for _, due_at in waiting(store) if due_at is not None], default=None)
