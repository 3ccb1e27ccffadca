"""Destinations take turns: one of which much is due takes nothing from the others."""

from __future__ import annotations

from datetime import timedelta

import pytest

from dispatcher.store.store import Store
from tests.claiming import claim
from tests.factories import make_delivery, make_event
from tests.store.conftest import OpenAnother
from tests.store.helpers import PAST, accept, subscribed

A, B, C = (f"https://{name}.example:443" for name in "abc")


@pytest.fixture
async def due(store: Store, process: int) -> dict[str, list[str]]:
    """Store five due deliveries for each of three destinations; return their ids, the longest due first."""
    found: dict[str, list[str]] = {}
    for destination in (C, A, B):
        subscription = await subscribed(store, destination=destination)
        new = [
            make_delivery(make_event(), subscription, claimed=False, due_at=PAST - timedelta(seconds=number))
            for number in range(5)
        ]
        await accept(store, process, *new)
        found[destination] = [delivery.id for delivery in reversed(new)]
    return found


async def claimed(store: Store, process: int, limit: int, each: int) -> dict[str, list[str]]:
    by_destination: dict[str, list[str]] = {}
    for delivery in await claim(store, process, limit, each):
        by_destination.setdefault(delivery.subscription.destination, []).append(delivery.id)
    return by_destination


async def test_each_gets_as_many_as_it_has_room_for(
    store: Store, process: int, due: dict[str, list[str]]
) -> None:
    assert await claimed(store, process, 100, 2) == {one: due[one][:2] for one in (A, B, C)}
    assert await claimed(store, process, 100, 1) == {one: due[one][2:3] for one in (A, B, C)}
    assert await claimed(store, process, 100, 9) == {one: due[one][3:] for one in (A, B, C)}


async def test_what_others_claim_at_the_same_time_is_skipped(open_postgres: OpenAnother) -> None:
    one, another = await open_postgres(), await open_postgres()
    first, second = (
        await one.leases.register("a-host", 1, lease=60),
        await another.leases.register("a-host", 2, lease=60),
    )
    subscription = await subscribed(one, destination=A)
    new = [make_delivery(make_event(), subscription, claimed=False, due_at=PAST) for _ in range(4)]
    await accept(one, first, *new)
    shares = [
        await claimed(one, first, 100, 3),
        await claimed(another, second, 100, 3),
    ]
    assert sorted(len(share[A]) for share in shares) == [1, 3]
