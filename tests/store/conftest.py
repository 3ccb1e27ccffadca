"""A fresh store for each test: on SQLite, and again on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from dispatcher.store.encryption import Sealer
from dispatcher.store.store import Store
from tests.stores import prepared_store

OpenAnother = Callable[[], Awaitable[Store]]
SEALER = Sealer(["the key of these tests, which is long enough"])


@pytest.fixture
async def open_postgres(postgres_url: str) -> AsyncIterator[OpenAnother]:
    """Yield what opens stores on one database, as several processes would."""
    async with AsyncExitStack() as stack:

        async def open_one() -> Store:
            return await stack.enter_async_context(prepared_store(postgres_url, SEALER))

        yield open_one


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest) -> str:
    """Return the address of an empty database, of each kind in turn."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    """Yield an open store with nothing in it, on each database in turn."""
    async with prepared_store(store_url, SEALER) as opened:
        yield opened


@pytest.fixture
async def process(store: Store) -> int:
    """Return a process with a lease."""
    return await store.leases.register("a-host", 4711, lease=60)
