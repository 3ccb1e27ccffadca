"""On PostgreSQL every question is answered through an index, however much is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import asyncpg
import msgspec
import pytest
from sqlalchemy import event

from dispatcher.domain.deliveries import State
from dispatcher.domain.ids import new_id
from dispatcher.store import postgres_sql as sql
from dispatcher.store.connect import open_store
from dispatcher.store.postgres import HOT, PostgresStore
from tests.factories import make_delivery, make_event, make_subscription
from tests.servers import Databases
from tests.store.conftest import SEALER
from tests.store.helpers import PAST, attempt, outcome
from tests.store.questions import QUESTIONS, ROWS

SMALL = {"processes", "claims"}
"""They have as many rows as there are processes, or deliveries that are being retried."""

PAGES = 2_500
"""What a question may look at: a good part of what one whole table has, and hundreds of rows through an index."""

FILL = """
insert into subscriptions
select sub_id(g), created_at, updated_at, null, null, 1, tenant, 's' || g % 1000,
    case when g % 2 = 0 then 'default' || chr(31) || 'job:job-' || g else 'default' || chr(31) || 'owner:o' || g end,
    case when g % 2 = 0 then 'job-' || g end, 'https://h' || g % 100 || ':443', 'active', null, details, sealed
from generate_series(1, {rows}) g, subscriptions where id = $1;
"""
ROWS_OF = """
insert into identities select evt_id(g), evt_id(g) from generate_series(1, {rows}) g;
insert into events select evt_id(g), now(), now(), 'default', g, '/jobs', 'job.FINISHED', 'FINISHED',
    'job-' || g / 4, 'o' || g % 5000, 'o' || g % 5000, '{{}}' from generate_series(1, {rows}) g;
insert into jobs (tenant, id, first_event, last_event, updated_at, events, owner, status)
    select 'default', 'job-' || g, evt_id(4 * g), evt_id(4 * g), now(), 4, 'o' || g % 5000, 'FINISHED'
    from generate_series(1, {rows} / 4) g;
insert into unclaimed_jobs (tenant, id, owner, first_event, last_event, updated_at, events, status)
    select 'default', 'mine-' || g, 'o' || g % 5000, evt_id(4 * g), evt_id(4 * g), now(), 4, 'FINISHED'
    from generate_series(1, {rows} / 4) g;
insert into grants
    select 'default', 'job-' || g, 'o' || g % 5000, 'u' || g % 2000, true, true, now()
    from generate_series(1, {rows} / 4) g;
insert into deliveries (id, event_key, subscription_id, tenant, subscriber, destination, state, listed_as, due_at,
        claimed_by, attempts)
    select dlv_id(g), evt_id(g % {rows}), sub_id(g % {rows}), 'default', 's' || g % 1000,
        'https://h' || g % 100 || ':443', coalesce(listed_as, 2), listed_as,
        case when listed_as = 0 then now() + (g - 600) * interval '1 second' end, null, 1
    from generate_series(1, 2 * {rows}) g,
        lateral (select case when g % 50 = 7 then 3 when g % 50 = 8 then 4 when g % 2 = 0 then 0 end) as l (listed_as);
insert into attempts
    select dlv_id(g), 1, now(), 0.1, 200, 'POST https://h', null, 'ok' from generate_series(1, {rows}) g;
insert into turns (subscription_id, delivery_id, job_id)
    select sub_id(g % 1000), dlv_id(2 * g), 'job-' || g / 8 from generate_series(1, {rows}) g;
insert into memos select dlv_id(2 * g), 'a memo' from generate_series(1, {rows}) g;
insert into destinations (key, open_until) select 'https://h' || g || ':443', case when g < 10 then now() end
    from generate_series(1, {rows}) g;
insert into quotas select 'default', 'o' || g, '{{}}', now() from generate_series(1, {rows}) g;
insert into rates select 'https://h' || g || ':443', g from generate_series(1, {rows}) g;
insert into api_keys
    select evt_id(g), now(), 'digest' || g, 'default', 'o', 'a key', 'publish' from generate_series(1, {rows}) g;
"""


@pytest.fixture(scope="module")
def full_database(postgresql: Databases, migrated_database: str) -> Iterator[str]:
    """Yield the address of a database with many rows of each kind."""
    url = asyncio.run(_fill(postgresql, migrated_database))
    yield url
    asyncio.run(postgresql.drop_database(url))


async def _fill(server: Databases, template: str) -> str:
    url = await server.create_database(template=template)
    store = open_store(url, SEALER)
    await store.open()
    model = make_subscription(owner="*")
    await store.add_subscription(model)
    await store.close()
    connection = await asyncpg.connect(url)
    for prefix in ("evt", "sub", "dlv"):
        await connection.execute(
            f"create function {prefix}_id(g bigint) returns uuid immutable language sql "
            "as $$ select ('01900000' || lpad(to_hex(g), 24, '0'))::uuid $$"
        )
    await connection.execute(FILL.format(rows=ROWS), model.id[4:])
    await connection.execute(ROWS_OF.format(rows=ROWS))
    await connection.execute("vacuum analyze")
    await connection.close()
    return url


class Asked:
    """Notes every statement of a store."""

    def __init__(self) -> None:
        self.hot: list[tuple[str, tuple[object, ...]]] = []
        self.cold: list[tuple[str, tuple[object, ...]]] = []

    async def listen(self, store: PostgresStore) -> None:
        connections = [await store._pool.acquire() for _ in range(HOT)]
        for connection in connections:
            connection.add_query_logger(self._note_hot)
            await store._pool.release(connection)
        event.listen(store._engine.sync_engine, "before_cursor_execute", self._note_cold)

    async def _note_hot(self, query: Any) -> None:
        self.hot.append((query.query, query.args))

    def _note_cold(self, _: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        self.cold.append((statement, tuple(parameters)))


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


async def plan_of(
    connection: asyncpg.Connection[Any], statement: str, args: tuple[object, ...]
) -> dict[str, Any]:
    """The plan as it was carried out; nothing stays changed. What inserts is only planned: it is there already."""
    how = "" if "insert into" in statement else "analyze, buffers, "
    transaction = connection.transaction()
    await transaction.start()
    found = await connection.fetchval(f"explain ({how}format json) {statement}", *args)
    await transaction.rollback()
    plan: dict[str, Any] = msgspec.json.decode(found)[0]["Plan"]
    return plan


def pages(plan: dict[str, Any]) -> int:
    return int(plan.get("Shared Hit Blocks", 0) + plan.get("Shared Read Blocks", 0))


def outline(plan: dict[str, Any], depth: int = 0) -> str:
    """The plan in lines: what is done with what, rows and pages."""
    names = (
        "Node Type",
        "Relation Name",
        "Index Name",
        "Index Cond",
        "Filter",
        "Actual Rows",
        "Actual Loops",
    )
    line = (
        f"{'  ' * depth}{' | '.join(str(plan[name]) for name in names if name in plan)} | {pages(plan)} pages"
    )
    return "\n".join([line, *(outline(part, depth + 1) for part in plan.get("Plans", ()))])


async def check(url: str, asked: Asked) -> None:
    """No plan reads a whole table, or more than PAGES."""
    assert asked.hot or asked.cold
    for settings, statements in ((sql.SETTINGS, asked.hot), (sql.COLD_SETTINGS, asked.cold)):
        connection = await asyncpg.connect(url, server_settings=settings)
        try:
            for statement, args in statements:
                if statement.strip("; ") in ("BEGIN", "COMMIT"):
                    continue
                plan = await plan_of(connection, statement, args)
                whole = {n["Relation Name"] for n in nodes(plan) if n["Node Type"] == "Seq Scan"} - SMALL
                assert not whole, f"{statement}\n{outline(plan)}"
                assert pages(plan) < PAGES, f"{statement}\n{outline(plan)}"
        finally:
            await connection.close()


@pytest.mark.parametrize("question", QUESTIONS)
async def test_a_question_is_answered_through_an_index(full_database: str, question: str) -> None:
    store, asked = PostgresStore(full_database, SEALER), Asked()
    await store.open()
    try:
        await asked.listen(store)
        await QUESTIONS[question](store)
    finally:
        await store.close()
    await check(full_database, asked)


async def test_the_way_of_a_delivery_goes_through_indexes(full_database: str) -> None:
    store, asked = PostgresStore(full_database, SEALER), Asked()
    await store.open()
    try:
        process = await store.register("a-host", 1, lease=60)
        subscription = make_subscription(owner="*")
        await store.add_subscription(subscription)
        await asked.listen(store)
        new = [make_delivery(make_event(job_id=f"job-{g}"), subscription) for g in range(100)]
        held = make_delivery(new[0].event, subscription, claimed=False)
        granting = make_event(event="PERMISSION_GRANT", data={"user": "u1"})
        await store.accept(process, [granting, *(one.event for one in new)], [*new, held])
        again = make_event(id=new[0].event.id)
        assert await store.accept(process, [again], []) == {again.key: new[0].event.key}
        await store.add_deliveries(process, [make_delivery(new[0].event, subscription)])
        outcomes = [outcome(one.id, State.DELIVERED, attempt=attempt()) for one in new]
        await store.finish(process, [*outcomes, outcome(new_id("dlv"), State.PENDING)])
        assert len(await store.claim(process, 100)) == 100
        await store.heartbeat(process, 60, new[0].id)
        await store.leave(process)
        late = await store.register("a-host", 1, lease=-1)
        await store.add_deliveries(
            late, [make_delivery(new[0].event, subscription, claimed=False, due_at=PAST)]
        )
        assert await store.claim(late, 10)
        assert await store.take_over() > 0
    finally:
        await store.close()
    await check(full_database, asked)


async def test_hot_plans_do_not_depend_on_what_was_stored_when_they_were_made(postgres_url: str) -> None:
    """A fresh database has no statistics; its plans are kept while it grows."""
    store, asked = PostgresStore(postgres_url, SEALER), Asked()
    await store.open()
    try:
        await asked.listen(store)
        process = await store.register("a-host", 1, lease=60)
        subscription = make_subscription(owner="*")
        await store.add_subscription(subscription)
        await store.candidates([subscription.match_key])
        new = make_delivery(make_event(), subscription, claimed=False, due_at=PAST)
        await store.accept(process, [new.event], [new])
        assert await store.claim(process, 10)
        await store.next_due()
        await store.finish(process, [outcome(new.id, State.DELIVERED, attempt=attempt())])
    finally:
        await store.close()
    asked.cold.clear()
    await check(postgres_url, asked)


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
    process = await store.register("a-host", 1, lease=60)
    subscription = make_subscription(owner="*")
    await store.add_subscription(subscription)
    for _ in range(4):
        new = [make_delivery(make_event(), subscription) for _ in range(250)]
        await store.accept(process, [one.event for one in new], new)
        await store.finish(process, [outcome(one.id, State.DELIVERED, attempt=attempt()) for one in new])
    await store.close()
    assert await hot_updates(database_url, 1000) >= 990


async def test_a_claim_changes_no_index(database_url: str) -> None:
    store = PostgresStore(database_url, SEALER)
    await store.open()
    process = await store.register("a-host", 1, lease=60)
    subscription = make_subscription(owner="*")
    await store.add_subscription(subscription)
    new = [make_delivery(make_event(), subscription, claimed=False, due_at=PAST) for _ in range(500)]
    await store.accept(process, [one.event for one in new], new)
    assert len(await store.claim(process, 500)) == 500
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
