"""On PostgreSQL hot statements read few rows, whatever was known of the tables when their plans were made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Literal

import asyncpg
import pytest

from dispatcher.domain.deliveries import State
from dispatcher.store.postgres import hot_sql as sql
from dispatcher.store.postgres import session as postgres_session
from dispatcher.store.postgres.store import PostgresStore
from tests.claiming import claim, next_due
from tests.factories import make_delivery, make_event, make_subscription
from tests.store.conftest import SEALER
from tests.store.helpers import PAST, attempt, outcome

ROWS = 3000
BATCH = 20
READ = 2500
"""Rows that one call may read through indexes: to look at a tenant's rows for one event of BATCH takes ROWS."""

Statistics = Literal["empty", "stale", "fresh"]
SERVED = ("jobs", "unclaimed_jobs", "grants", "deliveries", "events", "identities", "subscriptions", "turns")


@pytest.fixture
async def watched(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    """Yield a connection to the database, whose statistics nothing changes."""
    connection = await asyncpg.connect(postgres_url)
    tables = await connection.fetch(
        "select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace"
    )
    for (table,) in tables:
        await connection.execute(f"alter table {table} set (autovacuum_enabled = false)")
    yield connection
    for (table,) in tables:
        await connection.execute(f"alter table {table} reset (autovacuum_enabled)")
    await connection.close()


async def _use(store: PostgresStore, process: int, round_: str) -> None:
    """One call of each hot statement, for BATCH events of each kind."""
    subscription = make_subscription(owner="*")
    ordered = make_subscription(owner="*", ordered=True)
    await store.subscriptions.add(subscription)
    await store.subscriptions.add(ordered)
    await store.subscriptions.find_matching([f"default\x1fjob:{round_}-{number}" for number in range(BATCH)])
    jobs = [f"{round_}-{number}" for number in range(BATCH)]
    owned = [make_event(job_id=job, owner="ann") for job in jobs]
    unowned = [make_event(job_id=job, owner=None) for job in jobs]
    own_key = [make_event(job_id=job, owner="ann", published_by="ann") for job in jobs]
    granting = [
        make_event(event="PERMISSION_GRANT", job_id=job, owner=None, data={"user": "bob"}) for job in jobs
    ]
    straight = [make_delivery(event, subscription) for event in unowned]
    waiting = [make_delivery(event, subscription, claimed=False, due_at=PAST) for event in owned]
    in_turn = [make_delivery(event, ordered) for event in own_key]
    await store.events.accept(process, owned, waiting)
    await store.events.accept(process, unowned, straight)
    await store.events.accept(process, own_key, in_turn)
    await store.events.accept(process, granting, [])
    await store.jobs.granted([("default", job, "ann", "bob") for job in jobs])
    await store.events.add_deliveries(process, [make_delivery(owned[0], subscription)])
    claimed = await claim(store, process, BATCH)
    await next_due(store)
    ended = [*straight, *in_turn]
    await store.queue.finish(
        process,
        [
            *(outcome(one.id, State.DELIVERED, attempt=attempt()) for one in ended),
            *(outcome(one.id, State.DELIVERED, attempt=attempt()) for one in claimed),
        ],
    )


FILL = """
insert into jobs (tenant, id, first_event, last_event, updated_at, events, owner, status)
    select 'default', 'other-' || g, gen_random_uuid(), gen_random_uuid(), now(), 1, 'o' || g, 'RUNNING'
    from generate_series(1, $1::int) g
"""
FILL_UNCLAIMED = """
insert into unclaimed_jobs (tenant, id, owner, first_event, last_event, updated_at, events, status)
    select 'default', 'mine-' || g, 'o' || g, gen_random_uuid(), gen_random_uuid(), now(), 1, 'RUNNING'
    from generate_series(1, $1::int) g
"""
FILL_GRANTS = """
insert into grants (tenant, job_id, owner, username, granted, trusted, at)
    select 'default', 'other-' || g, 'o' || g, 'bob', true, true, now() from generate_series(1, $1::int) g
"""
FILL_TURNS = """
insert into turns (subscription_id, delivery_id, job_id)
    select gen_random_uuid(), gen_random_uuid(), 'other-' || g from generate_series(1, $1::int) g
"""
READ_OF = """
select relname, indexrelname, idx_tup_read from pg_stat_user_indexes where idx_tup_read > 0
union all select relname, 'whole', seq_tup_read from pg_stat_user_tables where seq_tup_read > 0
"""
OTHERS = (
    "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
)


async def _alone(watched: asyncpg.Connection) -> None:
    """Return when no one else is connected: a connection reports what it read when it ends."""
    async with asyncio.timeout(20):
        while await watched.fetchval(OTHERS):
            await watched.execute("select pg_sleep(0.02), pg_stat_clear_snapshot()")


@pytest.mark.parametrize("plans", ["force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize("statistics", ["empty", "stale", "fresh"])
async def test_hot_statements_read_few_rows_whatever_is_known_of_the_tables(
    postgres_url: str,
    watched: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    statistics: Statistics,
    plans: str,
) -> None:
    monkeypatch.setattr(postgres_session, "HOT", 1)  # the connection that made its plans goes on with them
    monkeypatch.setitem(sql.SETTINGS, "plan_cache_mode", plans)
    await _alone(watched)
    await watched.execute("select pg_stat_reset()")  # what the tests before this one read does not count
    store = PostgresStore(postgres_url, SEALER)
    await store.open()
    try:
        process = await store.leases.register("a-host", 1, lease=60)
        await _use(store, process, "first")
        if statistics == "stale":
            await watched.execute("analyze")
            await _use(store, process, "second")
        for fill in (FILL, FILL_UNCLAIMED, FILL_GRANTS, FILL_TURNS):
            await watched.execute(fill, ROWS)
        if statistics == "fresh":
            await watched.execute("analyze")
        await _use(store, process, "third")
    finally:
        await store.close()
    await _alone(watched)
    found = await watched.fetch(READ_OF)
    read = {(row["relname"], row["indexrelname"]): row["idx_tup_read"] for row in found}
    served = {
        name: count for name, count in read.items() if name[0].startswith(SERVED) and name[1] != "whole"
    }
    assert served
    assert max(served.values()) < READ, served
