"""A database that goes away is distinguished from other errors, and used again when it is back."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable

import asyncpg
import pytest
from sqlalchemy.exc import IntegrityError

from dispatcher.domain.deliveries import State
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.store.factory import open_store
from dispatcher.store.filters import EventFilter
from dispatcher.store.postgres import hot_sql as postgres_sql
from dispatcher.store.postgres.store import PostgresStore
from dispatcher.store.store import Store
from tests.claiming import claim
from tests.factories import make_delivery, make_event
from tests.servers import PostgreSQL
from tests.store.conftest import SEALER
from tests.store.helpers import ALL, PAST, accept, attempt, outcome, state_of, stored, subscribed


@pytest.fixture
async def mortal(own_postgresql: PostgreSQL) -> AsyncIterator[PostgresStore]:
    """Yield a store on a server that may be killed."""
    store = PostgresStore(await own_postgresql.create_database(), SEALER)
    await store.open()
    yield store
    await store.close()


async def test_everything_works_again_after_a_restart(mortal: Store, own_postgresql: PostgreSQL) -> None:
    process = await mortal.leases.register("a-host", 1, lease=60)
    subscription = await subscribed(mortal)
    (fresh,) = await stored(mortal, process, subscription)
    (due,) = await stored(mortal, process, subscription, claimed=False, due_at=PAST)
    await asyncio.to_thread(own_postgresql.kill)
    new = make_delivery(make_event(), subscription)
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "check_write": lambda: mortal.check_write(process),
        "candidates": lambda: mortal.subscriptions.find_matching([subscription.match_key]),
        "accept": lambda: accept(mortal, process, new),
        "finish": lambda: mortal.queue.finish(
            process, [outcome(fresh.id, State.DELIVERED, attempt=attempt())]
        ),
        "claim": lambda: claim(mortal, process, 10),
        "heartbeat": lambda: mortal.leases.renew(process, 60, fresh.id),
        "take_over": mortal.leases.release_expired,
        "events": lambda: mortal.events.page(EventFilter(tenant="default"), ALL),
        "save": lambda: mortal.subscriptions.remove("default", subscription.id),
    }
    for name, call in calls.items():
        for _ in range(2):
            with pytest.raises(StoreUnavailable) as caught:
                await call()
            assert caught.value.__cause__ is not None, name
    await own_postgresql.start_async()
    await mortal.check_write(process)
    assert await mortal.subscriptions.find_matching([subscription.match_key]) == [subscription]
    assert await accept(mortal, process, new) == {}
    await mortal.queue.finish(process, [outcome(fresh.id, State.DELIVERED, attempt=attempt())])
    assert await state_of(mortal, fresh) is State.DELIVERED
    assert [claimed.id for claimed in await claim(mortal, process, 10)] == [due.id]
    assert await mortal.leases.renew(process, 60, fresh.id)
    assert len((await mortal.events.page(EventFilter(tenant="default"), ALL)).items) == 3


async def test_a_connection_that_breaks_within_a_call_is_unavailable(
    open_postgres: object, postgres_url: str
) -> None:
    store = open_store(postgres_url, SEALER)
    await store.open()
    process = await store.leases.register("a-host", 1, lease=60)
    subscription = await subscribed(store)
    new = make_delivery(make_event(), subscription)
    admin = await asyncpg.connect(postgres_url)
    async with admin.transaction():
        await admin.execute("lock table jobs in access exclusive mode")
        accepting = asyncio.create_task(accept(store, process, new))
        while not (
            blocked := await admin.fetchval(
                "select pid from pg_locks where not granted and relation = 'jobs'::regclass"
            )
        ):
            await admin.execute("select pg_sleep(0.01)")
        await admin.execute("select pg_terminate_backend($1)", blocked)
        with pytest.raises(StoreUnavailable):
            await accepting
    await admin.close()
    assert await accept(store, process, new) == {}
    await store.close()


async def test_a_statement_that_takes_too_long_is_unavailable(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dispatcher.store.postgres.connection.STATEMENT_TIMEOUT", 0.2)
    store = open_store(postgres_url, SEALER)
    await store.open()
    process = await store.leases.register("a-host", 1, lease=60)
    admin = await asyncpg.connect(postgres_url)
    async with admin.transaction():
        await admin.execute("lock table jobs, api_keys in access exclusive mode")
        with pytest.raises(StoreUnavailable):
            await store.events.accept(process, [make_event()], [])
        with pytest.raises(StoreUnavailable):
            await store.keys.page(None, ALL)
    await admin.close()
    await store.events.accept(process, [make_event()], [])
    await store.close()


async def test_a_file_that_is_locked_is_unavailable(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dispatcher.store.sqlite.session.BUSY_TIMEOUT", 0.05)
    store = open_store(sqlite_url, SEALER)
    await store.open()
    process = await store.leases.register("a-host", 1, lease=60)
    (new,) = await stored(store, process, await subscribed(store))
    tool = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    tool.execute("begin immediate")
    with pytest.raises(StoreUnavailable, match="locked"):
        await store.queue.finish(process, [outcome(new.id, State.DELIVERED)])
    assert await state_of(store, new) is State.DELIVERING, "reading goes on"
    tool.execute("rollback")
    tool.close()
    await store.queue.finish(process, [outcome(new.id, State.DELIVERED)])
    assert await state_of(store, new) is State.DELIVERED
    await store.close()


async def test_a_batch_that_fails_leaves_nothing(store: Store, process: int) -> None:
    subscription = await subscribed(store)
    (known,) = await stored(store, process, subscription)
    other = make_event()
    broken = make_event(key=known.event.key, id="another")  # another event under a key that is taken
    with pytest.raises((IntegrityError, asyncpg.UniqueViolationError)):
        await store.events.accept(process, [other, broken], [make_delivery(other, subscription)])
    assert await store.events.get("default", other.key) is None
    assert await store.events.accept(process, [other], []) == {}


async def test_what_is_wrong_otherwise_rises_as_it_is_and_tells_no_values(store: Store) -> None:
    subscription = await subscribed(store, name="a-name-of-somebody")
    with pytest.raises(IntegrityError) as caught:
        await store.subscriptions.add(subscription)
    assert "a-name-of-somebody" not in str(caught.value)
    assert subscription.match_key not in str(caught.value)


async def test_a_call_that_is_given_up_leaves_the_store_usable(store: Store, process: int) -> None:
    subscription = await subscribed(store)
    new = [make_delivery(make_event(), subscription) for _ in range(200)]
    accepting = asyncio.create_task(accept(store, process, *new))
    await asyncio.sleep(0)
    accepting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await accepting
    await accept(store, process, *new)
    assert len((await store.events.page(EventFilter(tenant="default"), ALL)).items) == 100
    assert await state_of(store, new[-1]) is State.DELIVERING


@pytest.mark.parametrize("table", ["events", "deliveries", "attempts", "jobs", "identities", "processes"])
async def test_a_check_sees_a_table_that_is_locked(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    monkeypatch.setattr(postgres_sql, "LOCK_LIKE_ACCEPT", postgres_sql.LOCK_LIKE_ACCEPT.replace("4s", "50ms"))
    store = open_store(postgres_url, SEALER)
    await store.open()
    process = await store.leases.register("a-host", 1, lease=60)
    admin = await asyncpg.connect(postgres_url)
    async with admin.transaction():
        await admin.execute(f"lock table {table} in access exclusive mode")
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            await store.check_write(process)
    await store.check_write(process)
    await admin.close()
    await store.close()


async def test_a_check_writes_to_the_disk(sqlite_url: str) -> None:
    store = open_store(sqlite_url, SEALER)
    await store.open()
    process = await store.leases.register("a-host", 1, lease=60)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))  # as on a full disk: no file takes a byte more
    try:
        with pytest.raises(StoreUnavailable):
            await store.check_write(process)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    await store.check_write(process)
    await store.close()
