"""On PostgreSQL the plans are right in a table that has grown faster than its statistics."""

from __future__ import annotations

import asyncpg

from dispatcher.domain.deliveries import State
from dispatcher.store import postgres_sql as sql
from dispatcher.store.postgres import PostgresStore
from tests.factories import make_delivery, make_event, make_subscription
from tests.store.conftest import SEALER
from tests.store.helpers import attempt, outcome
from tests.store.test_plans_postgres import Asked, nodes, plan_of

DELIVERIES = 2000


async def test_outcomes_find_their_deliveries_through_the_index(postgres_url: str) -> None:
    store, asked = PostgresStore(postgres_url, SEALER), Asked()
    await store.open()
    try:
        process = await store.register("a-host", 1, lease=60)
        subscription = make_subscription(owner="*")
        await store.add_subscription(subscription)
        new = [make_delivery(make_event(job_id=f"job-{g}"), subscription) for g in range(DELIVERIES)]
        await store.accept(process, [one.event for one in new], new)
        await asked.listen(store)
        await store.finish(
            process, [outcome(one.id, State.DELIVERED, attempt=attempt()) for one in new[:1000]]
        )
    finally:
        await store.close()
    connection = await asyncpg.connect(postgres_url, server_settings=sql.SETTINGS)
    try:
        (finish,) = [(text, args) for text, args in asked.hot if "update deliveries" in text]
        plan = await plan_of(connection, *finish)
    finally:
        await connection.close()
    found = {
        node.get("Index Cond")
        for node in nodes(plan)
        if node["Node Type"].endswith("Scan") and node.get("Relation Name", "").startswith("deliveries")
    }
    assert found == {"(id = o.id)"}
