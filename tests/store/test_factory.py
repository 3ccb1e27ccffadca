"""A store opens at its URL, or says what is wrong with it."""

from __future__ import annotations

import asyncio
import stat
import uuid
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from sqlalchemy import Connection, text

from dispatcher.domain.deliveries import State
from dispatcher.domain.errors import SettingsError, StoreUnavailable
from dispatcher.store.encryption import Sealer
from dispatcher.store.factory import migrate, open_store
from dispatcher.store.migrations import newest_revision
from dispatcher.store.postgres.session import HOT
from dispatcher.store.postgres.store import PostgresStore
from dispatcher.store.sqlite.store import SqliteStore
from tests.claiming import claim
from tests.factories import make_event
from tests.servers import Databases, free_port
from tests.store.conftest import SEALER
from tests.store.helpers import ALL, PAST, state_of, stored, subscribed
from tests.stores import prepared_store


def test_a_url_says_which_database(tmp_path: Path) -> None:
    assert isinstance(open_store("postgresql://user@host/database", SEALER), PostgresStore)
    store = open_store("sqlite:///var/a.db", SEALER)
    assert isinstance(store, SqliteStore)
    assert store.session._path == Path("var/a.db")
    absolute = open_store(f"sqlite:///{tmp_path}/a.db", SEALER)
    assert isinstance(absolute, SqliteStore)
    assert absolute.session._path == tmp_path / "a.db"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mysql://user:pa55word@host/db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "postgres:x",
        "a.db",
    ],
)
def test_another_url_is_refused_with_what_would_be_right(url: str) -> None:
    with pytest.raises(SettingsError, match="DISPATCHER_DATABASE_URL: expected sqlite:///") as caught:
        open_store(url, SEALER)
    assert "pa55word" not in str(caught.value)
    with pytest.raises(SettingsError):
        migrate(url)


def test_a_sealer_needs_a_key() -> None:
    with pytest.raises(SettingsError, match="DISPATCHER_SECRETS_KEY"):
        Sealer([])


def test_what_is_sealed_opens_with_any_of_the_keys() -> None:
    old, new = "the old key, which is long enough for it", "the new key, which is long enough for it"
    sealed = Sealer([old]).seal(b"secret")
    assert b"secret" not in sealed
    assert sealed != Sealer([old]).seal(b"secret")
    assert Sealer([new, old]).open(sealed) == b"secret"
    assert Sealer([old]).open(sealed) == b"secret"
    with pytest.raises(SettingsError, match="DISPATCHER_SECRETS_KEY") as caught:
        Sealer([new]).open(sealed)
    assert new not in str(caught.value)
    with pytest.raises(SettingsError):
        Sealer([old]).open(sealed[:-4] + b"AAAA")


async def test_a_file_and_its_directory_are_made_for_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "var" / "deep" / "store.db"
    store = open_store(f"sqlite:///{path}", SEALER)
    await store.open()
    await subscribed(store)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    await store.close()
    assert modes == dict.fromkeys(["store.db", "store.db-wal", "store.db-shm", "store.db.lock"], 0o600)


async def test_a_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "store.db"
    with pytest.raises(SettingsError, match=f"cannot write {path}"):
        await open_store(f"sqlite:///{path}", SEALER).open()


async def test_a_file_has_one_process(sqlite_url: str) -> None:
    store = open_store(sqlite_url, SEALER)
    await store.open()
    with pytest.raises(SettingsError, match="in use by another process"):
        await open_store(sqlite_url, SEALER).open()
    with pytest.raises(SettingsError, match="in use by another process"):
        await asyncio.to_thread(migrate, sqlite_url)
    await store.check_write(0)
    await store.close()
    await asyncio.to_thread(migrate, sqlite_url)
    await store.open()
    await store.check_write(0)
    await store.close()


async def test_what_a_process_left_claimed_in_a_file_is_due_when_it_is_opened_again(sqlite_url: str) -> None:
    store = open_store(sqlite_url, SEALER)
    await store.open()
    process = await store.leases.register("a-host", 1, lease=3600)
    subscription = await subscribed(store)
    (fresh,) = await stored(store, process, subscription)
    (again,) = await stored(store, process, subscription, claimed=False, due_at=PAST)
    await claim(store, process, 10)
    await store.close()
    await store.open()
    assert [await state_of(store, one) for one in (fresh, again)] == [State.PENDING] * 2
    heir = await store.leases.register("a-host", 2, lease=3600)
    assert heir != process
    assert len(await claim(store, heir, 10)) == 2
    await store.close()


async def test_a_store_can_be_closed_and_opened_again(store_url: str) -> None:
    store = open_store(store_url, SEALER)
    await store.open()
    subscription = await subscribed(store)
    await store.close()
    await store.open()
    assert await store.subscriptions.get("default", subscription.id) == subscription
    await store.close()


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    url = f"postgresql://postgres@127.0.0.1:{free_port()}/postgres"
    with pytest.raises(StoreUnavailable) as caught:
        await open_store(url, SEALER).open()
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(StoreUnavailable):
        await asyncio.to_thread(migrate, url)


async def test_a_database_that_does_not_exist_is_named(postgresql: Databases) -> None:
    url = urlsplit(postgresql.url)._replace(path="/no_such_database").geturl()
    with pytest.raises(SettingsError, match=r'DISPATCHER_DATABASE_URL: .*"no_such_database" does not exist'):
        await open_store(url, SEALER).open()


@pytest.mark.parametrize("place", ["host:port/db", "127.0.0.1/db?sslmode=perhaps"])
async def test_an_address_that_makes_no_sense_is_refused(place: str) -> None:
    with pytest.raises(SettingsError, match="DISPATCHER_DATABASE_URL: ") as caught:
        await open_store(f"postgresql://user:pa55word@{place}", SEALER).open()
    assert "pa55word" not in str(caught.value)


async def test_a_start_that_failed_leaves_no_connection(store_url: str) -> None:
    store = open_store(store_url, SEALER)
    await store.open()
    await subscribed(store)
    await store.close()
    wrong = open_store(store_url, Sealer(["a key that has never sealed anything here"]))
    with pytest.raises(SettingsError):
        await wrong.open()
    await store.open()
    assert len((await store.keys.page(None, ALL)).items) == 0
    await store.close()


async def test_a_schema_of_a_newer_program_is_named(store_url: str) -> None:
    store = open_store(store_url, SEALER)
    await store.open()
    await store.session.write(_revise, "9999")
    await store.close()
    try:
        with pytest.raises(SettingsError, match="the schema 9999 is newer than this program knows"):
            await store.open()
        with pytest.raises(SettingsError, match="newer"):
            await asyncio.to_thread(migrate, store_url)
    finally:
        if store_url.startswith("postgresql"):  # which the tests after this one use too
            await store.session.write(_revise, newest_revision())
            await store.close()


def _revise(connection: Connection, revision: str) -> None:
    connection.execute(text("update alembic_version set version_num = :revision"), {"revision": revision})


@pytest.mark.parametrize("content", [b"no database", b"x" * 5000])
async def test_a_file_that_is_no_database_is_named_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=f"{path} is no SQLite database"):
        await open_store(f"sqlite:///{path}", SEALER).open()
    assert path.read_bytes() == content


async def test_a_right_that_is_missing_for_the_schema_is_named(postgresql: Databases) -> None:
    url = await postgresql.create_database()
    role = f"role_{uuid.uuid4().hex}"
    admin = await asyncpg.connect(postgresql.url)
    await admin.execute(f"create role {role} login")
    own = urlsplit(url)._replace(netloc=f"{role}@{urlsplit(url).netloc.rpartition('@')[2]}").geturl()
    with pytest.raises(SettingsError, match="permission denied for schema public; the user has to own"):
        await open_store(own, SEALER).open()
    await postgresql.drop_database(url)
    await admin.execute(f"drop role {role}")
    await admin.close()


_PREPARED = "select string_agg(statement, ' ') from pg_prepared_statements"


async def test_connections_are_made_ready_before_the_first_batch(postgres_url: str) -> None:
    async with prepared_store(postgres_url, SEALER) as store:
        assert isinstance(store, PostgresStore)
        process = await store.leases.register("a-host", 1, lease=60)
        await store.warm_up(process)
        async with AsyncExitStack() as stack:
            for _ in range(HOT):
                connection = await stack.enter_async_context(store.session.hot())
                prepared = await connection.fetchval(_PREPARED)
                assert all(name in prepared for name in ("into events", "into attempts", "match_key"))


async def test_a_locked_table_does_not_hold_up_making_connections_ready(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatcher.store.postgres.store.WARM_UP_TIMEOUT", 0.2)
    async with prepared_store(postgres_url, SEALER) as store:
        process = await store.leases.register("a-host", 1, lease=60)
        locking = await asyncpg.connect(postgres_url)
        try:
            async with locking.transaction():
                await locking.execute("lock table jobs in share mode")
                async with asyncio.timeout(10):
                    await store.warm_up(process)
        finally:
            await locking.close()
        assert await store.events.accept(process, [make_event()], []) == {}


async def test_a_database_that_goes_away_is_named_when_connections_are_made_ready(postgres_url: str) -> None:
    name = urlsplit(postgres_url).path[1:]
    async with prepared_store(postgres_url, SEALER) as store:
        process = await store.leases.register("a-host", 1, lease=60)
        admin = await asyncpg.connect(postgres_url, database="postgres")
        try:
            await admin.execute(f"alter database {name} allow_connections false")
            with pytest.raises(StoreUnavailable):
                await store.warm_up(process)
        finally:
            await admin.execute(f"alter database {name} allow_connections true")
            await admin.close()
