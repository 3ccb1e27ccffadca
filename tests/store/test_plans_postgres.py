"""On PostgreSQL every question is answered through an index, however much is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest

from dispatcher.domain.deliveries import State
from dispatcher.store.postgres import hot_sql as sql
from dispatcher.store.postgres.store import PostgresStore
from tests.claiming import claim
from tests.factories import make_delivery, make_event, make_subscription
from tests.servers import Databases
from tests.store.conftest import SEALER
from tests.store.explained import Plan, Plans
from tests.store.filled import STATISTICS, Statistics, copy, fill
from tests.store.helpers import PAST, attempt, outcome
from tests.store.questions import QUESTIONS
from tests.store.uses import PARTS, Use, answer

SMALL = {"processes", "claims"}
"""They have as many rows as there are processes, or deliveries that are being retried."""

REMOVED = 500
"""Rows that a statement may read and leave out. It compares the BATCH rows of two arrays with each other at most."""

PAGES = 5_000
"""Pages that a statement may look at; the largest reads a page of 500 rows, or deletes 1000 that are over."""

WALKS = {
    "backlog": "counts what waits",
    "delivered deliveries": "goes past what was not delivered, of the tenant's newest",
    "a subscriber's delivered deliveries": "goes past what was not delivered, of the subscriber's newest",
    "how many wait for a subscriber": "goes through the subscriber's own",
    "a subscriber's pending deliveries": "goes through the subscriber's own",
    "subscriptions after": "goes through the tenant's own, until the table is analyzed for the first time",
}
"""What reads more, and why."""

ALL = [
    (statistics, plans) for statistics in STATISTICS for plans in ("force_generic_plan", "force_custom_plan")
]
SAMPLE = ("empty", "force_generic_plan")


@pytest.fixture(scope="module")
def full_database(postgresql: Databases, migrated_database: str) -> Iterator[str]:
    """Yield the address of a database with many rows of each kind."""
    url = asyncio.run(fill(postgresql, migrated_database))
    yield url
    asyncio.run(postgresql.drop_database(url))


@pytest.mark.parametrize(
    ("statistics", "kind"),
    [pytest.param(*one, marks=[] if one == SAMPLE else [pytest.mark.long]) for one in ALL],
)
async def test_every_statement_reads_few_rows_whatever_the_statistics_say(
    full_database: str,
    postgresql: Databases,
    monkeypatch: pytest.MonkeyPatch,
    statistics: Statistics,
    kind: str,
) -> None:
    url, plans = await copy(postgresql, full_database, statistics), Plans()
    with monkeypatch.context() as patch:
        await plans.collect(url, patch, kind)
        store = PostgresStore(url, SEALER)
        await store.open()
        try:
            use = Use(store, await store.leases.register("a-host", 1, lease=60), "many")
            wrong: list[str] = []
            for name in (*PARTS, *QUESTIONS):
                plans.found.clear()
                await (PARTS[name](use) if name in PARTS else answer(use, name))
                assert plans.found
                wrong += [f"{name}: {plan}" for plan in plans.found if not _is_right(name, plan)]
        finally:
            await store.close()
    await postgresql.drop_database(url)
    assert not wrong, "\n\n".join(wrong)


def _is_right(name: str, plan: Plan) -> bool:
    if "typeinfo_tree" in plan.text:
        return True  # asyncpg's own
    within = plan.removed <= REMOVED and plan.pages <= PAGES
    return not plan.whole - SMALL and (within or name in WALKS)


async def hot_updates(url: str, expected: int) -> int:
    """How many updates of deliveries changed no index, once the server has counted as many as are expected."""
    connection = await asyncpg.connect(url)
    counted = (
        "select sum(n_tup_upd) as n_tup_upd, sum(n_tup_hot_upd) as n_tup_hot_upd from pg_stat_user_tables "
        "where relname like 'deliveries%'"
    )
    async with asyncio.timeout(10):
        # The server counts when it has time for it.
        while not (row := await connection.fetchrow(counted)) or row["n_tup_upd"] < expected:
            await connection.execute("select pg_stat_clear_snapshot(), pg_sleep(0.05)")
    await connection.close()
    return int(row["n_tup_hot_upd"])


async def test_a_delivery_that_succeeds_at_once_changes_no_index(database_url: str) -> None:
    store = PostgresStore(database_url, SEALER)
    await store.open()
    process = await store.leases.register("a-host", 1, lease=60)
    subscription = make_subscription(owner="*")
    await store.subscriptions.add(subscription)
    for _ in range(4):
        new = [make_delivery(make_event(), subscription) for _ in range(250)]
        await store.events.accept(process, [one.event for one in new], new)
        await store.queue.finish(
            process, [outcome(one.id, State.DELIVERED, attempt=attempt()) for one in new]
        )
    await store.close()
    assert await hot_updates(database_url, 1000) >= 990


async def test_a_claim_changes_no_index(database_url: str) -> None:
    store = PostgresStore(database_url, SEALER)
    await store.open()
    process = await store.leases.register("a-host", 1, lease=60)
    subscription = make_subscription(owner="*")
    await store.subscriptions.add(subscription)
    new = [make_delivery(make_event(), subscription, claimed=False, due_at=PAST) for _ in range(500)]
    await store.events.accept(process, [one.event for one in new], new)
    assert len(await claim(store, process, 500)) == 500
    await store.close()
    assert await hot_updates(database_url, 500) >= 495


@pytest.mark.parametrize("settings", [sql.SETTINGS, sql.COLD_SETTINGS])
async def test_no_statement_is_compiled_although_a_small_table_is_read_whole(
    postgres_url: str, settings: dict[str, str]
) -> None:
    connection = await asyncpg.connect(postgres_url, server_settings=settings)
    plan = await connection.fetchval("explain (analyze, format json) select count(host) from processes")
    await connection.close()
    assert "Seq Scan" in plan
    assert "JIT" not in plan
