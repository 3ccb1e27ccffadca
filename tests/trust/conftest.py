"""The API over both databases, and three who call it: alice, whose jobs they are, mallory and eve."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from dispatcher import compat
from dispatcher.compat.tapis_v2.embedded import Embedded
from dispatcher.store.connect import migrate
from tests.api.conftest import Api, Caller, opened, serving
from tests.servers import Databases


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an SQLite database with the schema and no rows, to be copied."""
    path = tmp_path_factory.mktemp("trust") / "empty.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def empty_database(postgresql: Databases) -> Iterator[str]:
    """Yield a PostgreSQL database with the schema and no rows, to be copied."""
    url = asyncio.run(postgresql.create_database())
    migrate(url)
    yield url
    asyncio.run(postgresql.drop_database(url))


@pytest.fixture
async def database_url(empty_database: str, postgresql: Databases) -> AsyncIterator[str]:
    """Yield the address of a copy of it."""
    url = await postgresql.create_database(template=empty_database)
    yield url
    await postgresql.drop_database(url)


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(
    request: pytest.FixtureRequest,
    empty_file: Path,
    tmp_path: Path,
    postgresql: Databases,
    empty_database: str,
) -> AsyncIterator[str]:
    """Yield the address of a database that is new and empty."""
    if request.param == "sqlite":
        yield f"sqlite:///{shutil.copy(empty_file, tmp_path / 'store.db')}"
        return
    made = await postgresql.create_database(template=empty_database)
    yield made
    await postgresql.drop_database(made)


@pytest.fixture
async def api(url: str) -> AsyncIterator[Api]:
    """Yield the API over it, with the shapes of Tapis and Tethys."""
    async with opened(url) as store, serving(store, [compat.attach], before_publish=[Embedded()]) as running:
        yield running


@pytest.fixture
def admin(api: Api) -> Caller:
    """Return a trusted publisher."""
    return api.admin


@pytest.fixture
async def alice(api: Api) -> Caller:
    """Return somebody who may publish and subscribe as alice."""
    return await api.caller("alice", "publish", "subscribe")


@pytest.fixture
async def mallory(api: Api) -> Caller:
    """Return somebody who may publish and subscribe as mallory."""
    return await api.caller("mallory", "publish", "subscribe")


@pytest.fixture
async def eve(api: Api) -> Caller:
    """Return somebody who may publish and subscribe as eve."""
    return await api.caller("eve", "publish", "subscribe")
