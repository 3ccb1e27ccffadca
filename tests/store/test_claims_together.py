"""Four processes that claim at the same time: each delivery goes to one of them, and none waits for another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import pytest

from dispatcher.domain.deliveries import State
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.events import utc_now
from dispatcher.domain.ids import new_id
from dispatcher.store.factory import open_store
from dispatcher.store.mapping import hex_digits
from dispatcher.store.postgres import hot_sql as sql
from dispatcher.store.postgres import queue_sql as postgres_queues
from dispatcher.store.store import Store
from tests.claiming import claim
from tests.store.conftest import SEALER
from tests.store.helpers import PAST, outcome, stored, subscribed

DESTINATIONS = [f"https://{name}.example:443" for name in "abcdefgh"]
LOCK_TIMEOUT = 20
"""Milliseconds that a statement may wait for a lock, before it fails. A file that grows is locked for a moment too."""


@pytest.fixture
async def stores(postgres_url: str) -> AsyncIterator[list[tuple[Store, int]]]:
    """Yield four stores on one database, with a process each, whose statements may not wait for a lock."""
    async with AsyncExitStack() as stack:
        opened: list[tuple[Store, int]] = []
        for _ in range(4):
            store = open_store(f"{postgres_url}?lock_timeout={LOCK_TIMEOUT}", SEALER)
            await store.open()
            stack.push_async_callback(store.close)
            opened.append((store, await store.leases.register("a-host", 1, lease=60)))
        yield opened


async def much_is_due(store: Store, process: int) -> list[str]:
    """Store forty due deliveries for each destination."""
    new = [
        one
        for destination in DESTINATIONS
        for one in await stored(
            store, process, await subscribed(store, destination=destination), 40, claimed=False, due_at=PAST
        )
    ]
    return sorted(one.id for one in new)


async def test_what_waits_for_a_lock_fails_in_these_stores(
    stores: list[tuple[Store, int]], postgres_url: str
) -> None:
    (store, process), *_ = stores
    other = await asyncpg.connect(postgres_url)
    async with other.transaction():
        await other.execute("select from processes for update")
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            await store.leases.renew(process, 60, new_id("dlv"))
    await other.close()


async def test_four_processes_claim_everything_once_without_waiting(
    stores: list[tuple[Store, int]],
) -> None:
    due = await much_is_due(*stores[0])

    async def work(store: Store, process: int) -> list[str]:
        mine: list[str] = []
        while claimed := await claim(store, process, 10):
            mine += [one.id for one in claimed]
            await store.queue.finish(process, [outcome(one.id, State.DELIVERED) for one in claimed])
        return mine

    shares = await asyncio.gather(*(work(*one) for one in stores))
    assert sorted(key for share in shares for key in share) == due
    assert all(shares), "each had its share"


async def test_a_claim_goes_around_claims_that_are_not_committed_yet(
    stores: list[tuple[Store, int]], postgres_url: str
) -> None:
    due = await much_is_due(*stores[0])
    found = await stores[0][0].queue.find_queues(dict.fromkeys(DESTINATIONS, ""), 100, 10)
    of = [queue.subscription_id for waiting in found.values() for queue in waiting.queues]
    claimed: list[str] = []
    async with AsyncExitStack() as stack:
        for _, process in stores[1:]:
            other = await asyncpg.connect(postgres_url, server_settings=sql.SETTINGS)
            stack.push_async_callback(other.close)
            await stack.enter_async_context(other.transaction())
            shares = [hex_digits(key) for key in of], [20] * len(of)
            rows = await other.fetch(postgres_queues.CLAIM_SHARES, process, utc_now(), 80, *shares)
            claimed += [f"dlv_{row['id'].hex}" for row in rows]
        store, process = stores[0]
        claimed += [one.id for one in await claim(store, process, 500)]
    assert sorted(claimed) == due
