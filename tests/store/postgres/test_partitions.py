"""Partitions on PostgreSQL: they are there before they are needed, and go when what is in them has had its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import asyncpg
import msgspec
import pytest
from sqlalchemy import Connection

from dispatcher.domain.deliveries import State
from dispatcher.domain.events import utc_now
from dispatcher.domain.retention import DAY, DEFAULT, Keep
from dispatcher.store import batches
from dispatcher.store.factory import migrate, open_store
from dispatcher.store.filters import DeliveryFilter
from dispatcher.store.postgres import connection as postgres_server
from dispatcher.store.postgres import hot_sql as sql
from dispatcher.store.postgres import retention as postgres_retention
from dispatcher.store.postgres.partitions import AHEAD, KEYS, Partition, make_ahead, partitions, time_of
from dispatcher.store.store import Store
from tests.claiming import claim
from tests.factories import NOW, make_event
from tests.servers import Databases
from tests.store.conftest import SEALER, OpenAnother
from tests.store.explained import nodes
from tests.store.helpers import ALL, attempt, outcome, stored, subscribed
from tests.store.test_migrations import on
from tests.store.test_retention import (
    KEEP,
    LONG_AGO,
    check_that_what_only_events_need_goes_with_them,
    ended_as,
    is_there,
    made,
    old,
)

WEEK = 7 * DAY


@pytest.fixture(scope="module")
def aged_template(postgresql: Databases) -> Iterator[str]:
    """Yield the address of a database with the partitions of the last hundred days."""
    url = asyncio.run(postgresql.create_database())
    migrate(url)
    asyncio.run(on(url, _age))
    yield url
    asyncio.run(postgresql.drop_database(url))


@pytest.fixture
async def aged_url(postgresql: Databases, aged_template: str) -> AsyncIterator[str]:
    """Yield the address of a copy."""
    url = await postgresql.create_database(template=aged_template)
    yield url
    await postgresql.drop_database(url)


def _age(connection: Connection) -> None:
    for table in KEYS:
        for one in partitions(connection, table):
            connection.exec_driver_sql(f"drop table {one.name}")
    for days in range(105, -1, -7):
        make_ahead(connection, utc_now() - days * DAY, WEEK)


@pytest.fixture
async def aged(aged_url: str) -> AsyncIterator[Store]:
    """Yield a store on it."""
    store = open_store(aged_url, SEALER)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def process(aged: Store) -> int:
    """Return a process with a lease."""
    return await aged.leases.register("a-host", 4711, lease=60)


async def listed(url: str, table: str = "deliveries") -> list[Partition]:
    found: list[Partition] = await on(url, lambda connection: partitions(connection, table))
    return found


async def rows(url: str, table: str) -> int:
    connection: asyncpg.Connection[Any] = await asyncpg.connect(url)
    counted: int = await connection.fetchval(f"select count(*) from {table}")  # noqa: S608 - a name of these tests
    await connection.close()
    return counted


def spans(found: list[Partition]) -> list[tuple[datetime | None, datetime]]:
    return [(None if one.low is None else time_of(one.low), time_of(one.high)) for one in found]


async def test_a_new_database_has_partitions_for_now_and_for_what_comes(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_server, "utc_now", lambda: NOW)
    await asyncio.to_thread(migrate, database_url)
    today = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
    for table in KEYS:
        found = spans(await listed(database_url, table))
        assert found[0] == (None, today)
        assert found[1:] == [
            (today + n * DEFAULT.width, today + (n + 1) * DEFAULT.width) for n in range(AHEAD + 1)
        ]
    before = await listed(database_url)
    await asyncio.to_thread(migrate, database_url)
    assert await listed(database_url) == before


@pytest.mark.parametrize("width", [2 * DAY, timedelta(minutes=7)])
async def test_partitions_follow_one_another_without_a_gap_whenever_they_are_made(
    database_url: str, width: timedelta
) -> None:
    await asyncio.to_thread(migrate, database_url)
    for days in (1, 9, 10, 400, 401):
        now = utc_now() + days * DAY
        await on(database_url, partial(make_ahead, now=now, width=width))
        found = await listed(database_url)
        assert all(after.low == before.high for before, after in pairwise(found))
        assert time_of(found[-1].high) > now + AHEAD * width


@pytest.mark.parametrize(
    ("days", "width"),
    [
        *((1, DAY), (7, DAY), (8, 2 * DAY), (30, 7 * DAY), (365, 91 * DAY)),
        *((0.5, timedelta(hours=3)), (0.003, timedelta(minutes=1))),
    ],
)
def test_some_four_partitions_hold_what_is_kept(days: float, width: timedelta) -> None:
    assert Keep(delivered=days * DAY, exhausted=days * DAY).width == width


async def test_what_no_partition_takes_is_not_stored(aged: Store, process: int) -> None:
    with pytest.raises(asyncpg.CheckViolationError, match="no partition"):
        await aged.events.accept(process, [make_event(key=made("evt", -365 * DAY))], [])


async def test_an_old_partition_is_dropped_and_what_must_stay_moves(
    aged: Store, aged_url: str, process: int
) -> None:
    subscription = await subscribed(aged)
    before = await listed(aged_url)
    gone = [await old(aged, process, subscription, days * DAY) for days in (99, 80, 60, 40) for _ in range(3)]
    young = [await old(aged, process, subscription, 10 * DAY)]
    await ended_as(aged, process, [*gone, *young], State.DELIVERED)
    failed = [await old(aged, process, subscription, days * DAY) for days in (80, 60, 40)]
    await ended_as(aged, process, failed, State.EXHAUSTED, utc_now() - DAY)
    waits = [await old(aged, process, subscription, days * DAY) for days in (99, 60, 40)]
    kept = await aged.retain(KEEP)
    after = await listed(aged_url)
    assert kept.dropped == dict.fromkeys(KEYS, len(before) - len(after))
    assert len(before) - len(after) >= 9
    assert (kept.standing, kept.ahead) == (dict.fromkeys(KEYS, 0), dict.fromkeys(KEYS, AHEAD))
    # Nothing was deleted one by one but what is looked for without a partition.
    assert [kept.deleted[table] for table in KEYS] == [0, 0, 0]
    assert kept.deleted["identities"] == len(gone)
    assert after[0].low is None
    assert after[1:] == before[-len(after) + 1 :]
    assert (await rows(aged_url, "deliveries"), await rows(aged_url, "deliveries_oldest")) == (7, 6)
    assert (await rows(aged_url, "attempts"), await rows(aged_url, "attempts_oldest")) == (4, 3)
    assert (await rows(aged_url, "events"), await rows(aged_url, "events_oldest")) == (7, 6)
    for one in (*failed, *waits, *young):
        assert await is_there(aged, one)
    assert await aged.deliveries.retry("default", failed[0].id)
    assert {one.id for one in await claim(aged, process, 99)} == {one.id for one in (failed[0], *waits)}
    await aged.queue.finish(process, [outcome(one.id, State.DELIVERED, attempt=attempt()) for one in waits])
    assert (await aged.retain(KEEP)).deleted["deliveries"] == len(waits)


async def test_what_only_events_need_goes_with_their_partition(aged: Store, process: int) -> None:
    await check_that_what_only_events_need_goes_with_them(aged, process)


async def test_a_partition_of_which_too_much_must_stay_is_not_dropped_but_what_need_not_goes(
    aged: Store, aged_url: str, process: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_retention, "MOST", dict.fromkeys(KEYS, 2))
    subscription = await subscribed(aged)
    delivered = [
        await old(aged, process, subscription, days * DAY) for days in (80, 60, 50) for _ in range(3)
    ]
    await ended_as(aged, process, delivered, State.DELIVERED)
    failed = [await old(aged, process, subscription, 60 * DAY) for _ in range(3)]
    other = await old(aged, process, subscription, 50 * DAY)
    await ended_as(aged, process, [*failed, other], State.EXHAUSTED, utc_now() - 89 * DAY)
    kept = await aged.retain(KEEP)
    assert kept.standing == dict.fromkeys(KEYS, 1)
    assert (kept.deleted["deliveries"], kept.deleted["attempts"], kept.deleted["events"]) == (3, 3, 3)
    assert not any([await is_there(aged, one) for one in delivered])
    assert all([await is_there(aged, one) for one in (*failed, other)])
    longer = Keep(delivered=30 * DAY, exhausted=80 * DAY)
    assert (await aged.retain(longer)).deleted["deliveries"] == 4
    kept = await aged.retain(longer)
    assert (kept.standing, kept.dropped) == (dict.fromkeys(KEYS, 0), dict.fromkeys(KEYS, 1))
    assert await rows(aged_url, "attempts") == 0


async def test_a_partition_with_a_claim_of_its_acceptance_stays(aged: Store, process: int) -> None:
    subscription = await subscribed(aged)
    fresh = await old(aged, process, subscription, 60 * DAY)
    held = fresh.id
    await aged.leases.renew(process, 60, held)
    claimed = await old(aged, process, subscription, 60 * DAY, claimed=True, due_at=None)
    kept = await aged.retain(KEEP)
    assert kept.standing["deliveries"] > 0
    assert await is_there(aged, claimed)
    await aged.queue.finish(process, [outcome(claimed.id, State.DELIVERED)])
    await aged.leases.renew(process, 60, made("dlv", timedelta(0)))
    assert (await aged.retain(KEEP)).standing["deliveries"] == 0
    assert not await is_there(aged, claimed)
    assert await is_there(aged, fresh)


async def test_a_table_in_use_is_left_alone_until_it_is_not(
    aged: Store, aged_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(postgres_retention._SETTINGS, "lock_timeout", "50ms")
    reader: asyncpg.Connection[Any] = await asyncpg.connect(aged_url)
    await reader.execute("begin; select from deliveries")
    kept = await aged.retain(KEEP)
    assert kept.dropped["deliveries"] == 0
    assert kept.standing["deliveries"] > 0
    await reader.close()
    assert (await aged.retain(KEEP)).dropped["deliveries"] == kept.standing["deliveries"]


async def test_one_process_at_a_time_does_it(aged: Store, aged_url: str) -> None:
    other: asyncpg.Connection[Any] = await asyncpg.connect(aged_url)
    await other.execute(f"select pg_advisory_lock({postgres_retention.LOCK})")
    before = await listed(aged_url)
    kept = await aged.retain(KEEP)
    assert (kept.deleted, sum(kept.dropped.values())) == ({}, 0)
    assert kept.standing["deliveries"] > 0
    assert await listed(aged_url) == before
    await other.close()
    both = await asyncio.gather(aged.retain(KEEP), aged.retain(KEEP))
    assert sum(kept.dropped["events"] for kept in both) == len(before) - len(await listed(aged_url))


async def test_what_plugins_have_is_purged_by_one_process_at_a_time(open_postgres: OpenAnother) -> None:
    first, second = await open_postgres(), await open_postgres()
    begun, finish = asyncio.Event(), asyncio.Event()
    purging: list[str] = []

    async def by_the_first(_: Keep) -> Mapping[str, int]:
        purging.append("first")
        begun.set()
        await finish.wait()
        return {"a table": 3}

    async def by_the_second(_: Keep) -> Mapping[str, int]:
        purging.append("second")
        return {"a table": 0}

    running = asyncio.create_task(first.retain(KEEP, [by_the_first]))
    await begun.wait()
    kept = await second.retain(KEEP, [by_the_second])
    assert (purging, kept.deleted) == (["first"], {})
    finish.set()
    assert (await running).deleted["a table"] == 3
    await second.retain(KEEP, [by_the_second])
    assert purging == ["first", "second"]


async def test_a_replay_that_is_being_stored_keeps_its_event(
    aged: Store, aged_url: str, process: int
) -> None:
    """Between the look and the deletion: who has locked the event is waited for."""
    event = make_event(key=made("evt", 200 * DAY))
    await aged.events.accept(process, [event], [])
    other: asyncpg.Connection[Any] = await asyncpg.connect(aged_url)
    await other.execute("begin; select from events for key share")
    waiting = asyncio.create_task(aged.retain(KEEP))
    while not await other.fetchval("select exists (select from pg_locks where not granted)"):
        await other.execute("select pg_sleep(0.01)")
    await other.execute(
        "insert into deliveries (id, event_key, subscription_id, state, tenant, subscriber, destination) "
        "values ($1, $2, $1, 0, 'default', 'alice', 'https://h:443')",
        made("dlv", timedelta(0))[4:],
        event.key[4:],
    )
    await other.execute("commit")
    assert (await waiting).deleted["events"] == 0
    assert await aged.events.get("default", event.key) is not None
    await other.close()


async def test_others_go_on_while_partitions_are_dropped(aged: Store, aged_url: str, process: int) -> None:
    subscription = await subscribed(aged)
    before = await listed(aged_url)
    failed = [await old(aged, process, subscription, days * DAY) for days in range(40, 100, 3)]
    await ended_as(aged, process, failed, State.EXHAUSTED, utc_now() - DAY)
    stop = asyncio.Event()

    async def deliver() -> int:
        rounds = 0
        while not stop.is_set():
            (straight,) = await stored(aged, process, subscription)
            await stored(aged, process, subscription, claimed=False, due_at=LONG_AGO)
            (late,) = await claim(aged, process, 1)
            done = [outcome(one, State.DELIVERED, attempt=attempt()) for one in (straight.id, late.id)]
            await aged.queue.finish(process, done)
            await aged.deliveries.page(DeliveryFilter(tenant="default", job_id=straight.event.job_id), ALL)
            rounds += 1
        return rounds

    async with asyncio.TaskGroup() as group:
        rounds = group.create_task(deliver())
        kept = await aged.retain(KEEP)
        stop.set()
    assert rounds.result() > 0
    assert kept.dropped["deliveries"] == len(before) - len(await listed(aged_url)) > 0
    for one in failed:
        assert await is_there(aged, one)


async def test_what_is_known_by_its_id_is_looked_for_in_its_own_partition_only(
    aged: Store, aged_url: str, process: int
) -> None:
    new = await old(aged, process, await subscribed(aged), 50 * DAY)
    columns = [f"'{{{value}}}'" for value in (new.id[4:], 2, 1, "null", "null", "null")]
    tried = ["'{}'"] * len(batches.ATTEMPT)
    connection: asyncpg.Connection[Any] = await asyncpg.connect(aged_url, server_settings=sql.SETTINGS)
    for table, statement, args in (
        ("events", sql.EVENTS, [f"'{{{new.event.key[4:]}}}'", "1000000"]),
        ("deliveries", sql.FINISH, [str(process), *columns, *tried]),
    ):
        # Prepared, because to explain the statement itself makes a plan for these values.
        await connection.execute(f"prepare {table}_plan as {statement}")
        found = await connection.fetchval(
            f"explain (analyze, format json) execute {table}_plan ({', '.join(args)})"
        )
        read = [
            node["Relation Name"]
            for node in nodes(msgspec.json.decode(found)[0]["Plan"])
            if node.get("Relation Name", "").startswith(f"{table}_") and node["Actual Loops"]
        ]
        assert len(read) == 1, (statement, read)
    await connection.close()
