"""A fresh store for each test: on SQLite, and again on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from dispatcher.store.connect import open_store
from dispatcher.store.contract import Store
from dispatcher.store.sealing import Sealer

OpenAnother = Callable[[], Awaitable[Store]]
SEALER = Sealer(["the key of these tests, which is long enough"])


@pytest.fixture
async def open_postgres(postgres_url: str) -> AsyncIterator[OpenAnother]:
    """Yield what opens stores on one database, as several processes would."""
    async with AsyncExitStack() as stack:

        async def open_one() -> Store:
            store = open_store(postgres_url, SEALER)
            await store.open()
            stack.push_async_callback(store.close)
            return store

        yield open_one


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest) -> str:
    """Return the address of an empty database, of each kind in turn."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """Yield an open store with nothing in it, on each database in turn."""
    opened = open_store(store_url, SEALER)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def process(store: Store) -> int:
    """Return a process with a lease."""
    return await store.register("a-host", 4711, lease=60)
