"""A fresh store for each test: on SQLite, and again on PostgreSQL."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest

from dispatcher.store.connect import migrate, open_store
from dispatcher.store.contract import Store
from dispatcher.store.schema import metadata
from dispatcher.store.sealing import Sealer
from tests.servers import Databases

OpenAnother = Callable[[], Awaitable[Store]]
SEALER = Sealer(["the key of these tests, which is long enough"])


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def migrated_database(postgresql: Databases) -> Iterator[str]:
    url = asyncio.run(postgresql.create_database())
    migrate(url)
    yield url
    asyncio.run(postgresql.drop_database(url))


@pytest.fixture
def sqlite_url(migrated_file: Path, tmp_path: Path) -> str:
    """Return the address of a file with the schema and no rows."""
    return f"sqlite:///{shutil.copy(migrated_file, tmp_path / 'store.db')}"


@pytest.fixture
async def postgres_url(migrated_database: str) -> AsyncIterator[str]:
    """Yield the address of a database with the schema and no rows."""
    yield migrated_database
    connection = await asyncpg.connect(migrated_database)
    await connection.execute(f"truncate {', '.join(metadata.tables)} restart identity")
    await connection.close()


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
