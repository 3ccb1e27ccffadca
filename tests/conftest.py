"""The servers that tests use. A server that is missing fails the test that wants it.

`amqp_url`, `sqlite_url` and `postgres_url` are for nearly all: a virtual host that is new for each test, and databases
with the schema and no rows. `database_url` is for tests that make, change or break the schema. All are on servers that
are started once; `own_rabbitmq` and `own_postgresql` are for tests that stop or kill the server.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import dispatcher.compat.tapis_v3.tables  # noqa: F401 - these are part of the schema
from dispatcher.store.factory import migrate
from tests.servers import Broker, Databases, PostgreSQL, RabbitMQ


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Yield the broker that the tests share: DISPATCHER_TEST_AMQP_URL, or a private one.

    The former needs the management plug-in, on port 15672 or at DISPATCHER_TEST_AMQP_API_URL.
    """
    if url := os.environ.get("DISPATCHER_TEST_AMQP_URL"):
        default = f"http://{urlsplit(url).hostname}:15672"
        yield Broker(url, os.environ.get("DISPATCHER_TEST_AMQP_API_URL", default))
    else:
        with RabbitMQ(log=tmp_path_factory.mktemp("rabbitmq") / "server.log") as server:
            yield server


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Databases]:
    """Yield the PostgreSQL that the tests share: DISPATCHER_TEST_DATABASE_URL, or a private one."""
    if url := os.environ.get("DISPATCHER_TEST_DATABASE_URL"):
        yield Databases(url)
    else:
        log = tmp_path_factory.mktemp("postgresql") / "server.log"
        # Autovacuum would hold up, for a second each time, the removal of all rows after a test.
        with PostgreSQL(durable=False, settings={"autovacuum": "off"}, log=log) as server:
            yield server


@pytest.fixture
async def amqp_url(rabbitmq: Broker) -> AsyncIterator[str]:
    """Yield the address of a virtual host that is new and empty."""
    url = await rabbitmq.create_vhost()
    yield url
    await rabbitmq.delete_vhost(url)


@pytest.fixture
async def database_url(postgresql: Databases) -> AsyncIterator[str]:
    """Yield the address of a database that is new and empty."""
    url = await postgresql.create_database()
    yield url
    await postgresql.drop_database(url)


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an SQLite database with the schema and no rows, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(migrated_file: Path, tmp_path: Path) -> str:
    """Return the address of a file with the schema and no rows."""
    return f"sqlite:///{shutil.copy(migrated_file, tmp_path / 'store.db')}"


@pytest.fixture(scope="session")
def migrated_database(postgresql: Databases) -> Iterator[str]:
    """Yield a PostgreSQL database with the schema and no rows, to be copied."""
    url = asyncio.run(postgresql.create_database())
    migrate(url)
    yield url
    asyncio.run(postgresql.drop_database(url))


@pytest.fixture(scope="session")
def _shared_database(postgresql: Databases, migrated_database: str) -> Iterator[str]:
    url = asyncio.run(postgresql.create_database(template=migrated_database))
    yield url
    asyncio.run(postgresql.drop_database(url))


@pytest.fixture
async def postgres_url(postgresql: Databases, _shared_database: str) -> AsyncIterator[str]:
    """Yield the address of a database with the schema and no rows.

    Tests use it one after the other: they leave the schema as it is, and their rows are removed.
    """
    yield _shared_database
    await postgresql.empty_database(_shared_database)


@pytest.fixture(scope="session")
def _mortal_rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQ]:
    with RabbitMQ(log=tmp_path_factory.mktemp("own-rabbitmq") / "server.log") as server:
        yield server


@pytest.fixture
def own_rabbitmq(_mortal_rabbitmq: RabbitMQ) -> RabbitMQ:
    """Return a private broker that the test may kill. Use a separate virtual host (`create_vhost`)."""
    if not _mortal_rabbitmq.running:
        _mortal_rabbitmq.start()
    return _mortal_rabbitmq


@pytest.fixture(scope="session")
def _mortal_postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgreSQL]:
    with PostgreSQL(log=tmp_path_factory.mktemp("own-postgresql") / "server.log") as server:
        yield server


@pytest.fixture
def own_postgresql(_mortal_postgresql: PostgreSQL) -> PostgreSQL:
    """Return a private PostgreSQL that the test may kill. Use a separate database (`create_database`)."""
    if not _mortal_postgresql.running:
        _mortal_postgresql.start()
    return _mortal_postgresql


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds of each pause from now on; none of them is waited for."""
    found: list[float] = []
    sleep = asyncio.sleep

    async def pause(seconds: float) -> None:
        if seconds:
            found.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", pause)
    return found
