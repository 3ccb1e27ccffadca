"""On PostgreSQL the plans are right in a table that has grown faster than its statistics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from dispatcher.domain.deliveries import State
from dispatcher.store.postgres import hot_sql as sql
from dispatcher.store.postgres.accept import PART
from dispatcher.store.postgres.store import PostgresStore
from tests.factories import make_delivery, make_event, make_subscription
from tests.servers import Databases
from tests.store.conftest import SEALER
from tests.store.explained import Plans, nodes
from tests.store.helpers import attempt, outcome

DELIVERIES = 2000


Planned = tuple[PostgresStore, int, Plans]


@pytest.fixture
async def planned(
    postgresql: Databases, migrated_database: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Planned]:
    """Yield a store on a database without rows, its process, and the generic plans of what it asks."""
    url, plans = await postgresql.create_database(template=migrated_database), Plans()
    with monkeypatch.context() as patch:
        await plans.collect(url, patch, "force_generic_plan")
        store = PostgresStore(url, SEALER)
        await store.open()
        try:
            yield store, await store.leases.register("a-host", 1, lease=60), plans
        finally:
            await store.close()
    await postgresql.drop_database(url)


async def test_outcomes_find_their_deliveries_through_the_index(planned: Planned) -> None:
    store, process, plans = planned
    subscription = make_subscription(owner="*")
    await store.subscriptions.add(subscription)
    new = [make_delivery(make_event(job_id=f"job-{g}"), subscription) for g in range(DELIVERIES)]
    await store.events.accept(process, [one.event for one in new], new)
    await store.queue.finish(
        process, [outcome(one.id, State.DELIVERED, attempt=attempt()) for one in new[:1000]]
    )
    [finish] = [plan for plan in plans.found if plan.text == sql.FINISH]
    found = {
        node.get("Index Cond")
        for node in nodes(finish.root)
        if node["Node Type"].endswith("Scan") and node.get("Relation Name", "").startswith("deliveries")
    }
    assert found == {"(id = o.id)"}


async def test_a_thousand_that_take_turns_are_held_one_by_one(planned: Planned) -> None:
    """Each was compared with all others of its part: a third of a second for a thousand at once."""
    store, process, plans = planned
    subscription = make_subscription(owner="*", ordered=True)
    await store.subscriptions.add(subscription)
    for _ in range(2):
        events = [make_event(job_id=f"job-{job}") for job in range(1000)]
        new = [make_delivery(event, subscription, claimed=False) for event in events]
        await store.events.accept(process, events, new)
    held = [plan for plan in plans.found if plan.text == sql.HOLD]
    assert len(held) == 2 * 1000 // PART
    assert max(plan.removed for plan in held) <= PART


BATCHES, BATCH = 6, 250


async def test_whose_a_job_is_is_not_looked_for_among_all_jobs_of_the_tenant(postgres_url: str) -> None:
    """Events that name no owner: an index was used, and nearly all that it found was thrown away."""
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("alter table jobs set (autovacuum_enabled = false)")
    store = PostgresStore(postgres_url, SEALER)
    await store.open()
    try:
        process = await store.leases.register("a-host", 1, lease=60)
        for number in range(BATCHES):
            events = [make_event(owner=None, job_id=f"job-{number}-{index}") for index in range(BATCH)]
            await store.events.accept(process, events, [])
    finally:
        await store.close()
    # A connection tells what it read when it ends, or when it rests.
    async with asyncio.timeout(20):
        while (await connection.fetchval(JOBS_STORED)) < BATCHES * BATCH:
            await connection.execute("select pg_sleep(0.05)")
    read = await connection.fetchval(JOBS_READ)
    await connection.execute("alter table jobs reset (autovacuum_enabled)")
    await connection.close()
    assert read <= 2 * BATCHES * BATCH


JOBS_STORED = "select n_tup_ins from pg_stat_user_tables where relname = 'jobs'"
JOBS_READ = "select sum(idx_tup_read)::int from pg_stat_user_indexes where relname = 'jobs'"
