"""On SQLite every question is answered through an index, however much is stored and without any statistics."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from dispatcher.domain.deliveries import State
from dispatcher.store.columns import microseconds
from dispatcher.store.connect import open_store
from dispatcher.store.sqlite import SqliteStore
from tests.factories import NOW, make_delivery, make_event, make_subscription
from tests.store.conftest import SEALER
from tests.store.helpers import PAST, attempt, outcome
from tests.store.questions import QUESTIONS, ROWS, some_id

STEPS = 200_000
"""Steps of SQLite's machine that a question may take; to look at each of ROWS rows takes several times as many."""

FILL = """
create temp table series as
    with recursive s (g) as (select 1 union all select g + 1 from s where g < 2 * {rows}) select g from s;
insert into identities select row_id(g), row_id(g) from series where g <= {rows};
insert into events select row_id(g), {now}, {now}, 'default', g, '/jobs', 'job.FINISHED', 'FINISHED',
    'job-' || g / 4, 'o' || g % 5000, 'o' || g % 5000, x'', null from series where g <= {rows};
insert into jobs (tenant, id, first_event, last_event, updated_at, events, owner, status)
    select 'default', 'job-' || g, row_id(4 * g), row_id(4 * g), {now}, 4, 'o' || g % 5000, 'FINISHED'
    from series where g < {rows} / 4;
insert into unclaimed_jobs (tenant, id, owner, first_event, last_event, updated_at, events, status)
    select 'default', 'mine-' || g, 'o' || g % 5000, row_id(4 * g), row_id(4 * g), {now}, 4, 'FINISHED'
    from series where g < {rows} / 4;
insert into grants
    select 'default', 'job-' || g, 'o' || g % 5000, 'u' || g % 2000, true, true, {now}
    from series where g < {rows} / 4;
insert into subscriptions select row_id(g), {now}, {now}, null, null, 1, tenant, 's' || g % 1000,
    'default' || char(31) || case when g % 2 = 0 then 'job:job-' || g else 'owner:o' || g end,
    case when g % 2 = 0 then 'job-' || g end, 'https://h' || g % 100 || ':443', 'active', null, details, sealed
    from series, subscriptions where g <= {rows};
insert into deliveries (id, event_key, subscription_id, tenant, subscriber, destination, state, listed_as, due_at,
        attempts)
    select row_id(g), row_id(g % {rows}), row_id(g % {rows}), 'default', 's' || g % 1000,
        'https://h' || g % 100 || ':443', coalesce(listed_as, 2), listed_as,
        case when listed_as = 0 then {now} + g * 1000000 end, 1
    from (
        select g, case when g % 50 = 7 then 3 when g % 50 = 8 then 4 when g % 2 = 0 then 0 end as listed_as
        from series
    );
insert into quotas select 'default', 'o' || g, '{{}}', {now} from series where g <= {rows};
insert into attempts select row_id(g), 1, {now}, 0.1, 200, 'POST https://h', null, 'ok' from series;
insert into api_keys select row_id(g), {now}, 'digest' || g, 'default', 'o', 'a key', 'publish' from series;
"""


@pytest.fixture(scope="module")
def full_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with many rows of each kind."""
    path = tmp_path_factory.mktemp("full") / "store.db"
    asyncio.run(_with_model(path))
    connection = sqlite3.connect(path)
    _fill(connection)
    connection.close()
    return path


async def _with_model(path: Path) -> None:
    store = open_store(f"sqlite:///{path}", SEALER)
    await store.open()
    await store.add_subscription(make_subscription(owner="*"))
    await store.close()


def _fill(connection: sqlite3.Connection) -> None:
    connection.create_function("row_id", 1, lambda number: bytes.fromhex(some_id("evt", number)[4:]))
    connection.executescript(FILL.format(rows=ROWS, now=microseconds(NOW)))


class Steps:
    """Counts what SQLite's machine does for a store."""

    def __init__(self, store: SqliteStore) -> None:
        self.count = 0
        for worker in (store._writer, store._readers):
            event.listen(worker._engine, "before_cursor_execute", self._watch)

    def _watch(self, _: object, cursor: Any, *__: object) -> None:
        cursor.connection.set_progress_handler(self._step, 100)

    def _step(self) -> int:
        self.count += 100
        return 0


WALKS = {
    "backlog": "counts what waits",
    "a subscriber's pending deliveries": "goes through all that waits",
    "how many wait for a subscriber": "goes through all that waits",
}
"""What costs some steps for each delivery that waits; how many were delivered does not matter."""


@pytest.mark.parametrize("question", [question for question in QUESTIONS if question not in WALKS])
async def test_a_question_is_answered_through_an_index(full_file: Path, question: str) -> None:
    store = SqliteStore(full_file, SEALER)
    await store.open()
    try:
        steps = Steps(store)
        await QUESTIONS[question](store)
    finally:
        await store.close()
    assert steps.count < STEPS


STATISTICS = {
    "none": "",
    "of few rows": "analyze; update sqlite_stat1 set stat = '1 1 1 1 1'; analyze sqlite_schema",
    "fresh": "analyze",
}
"""Such as a tool of the operator's may have left; we make none."""


@pytest.mark.parametrize("statistics", STATISTICS)
async def test_the_way_of_a_delivery_goes_through_indexes(full_file: Path, statistics: str) -> None:
    connection = sqlite3.connect(full_file)
    connection.executescript(STATISTICS[statistics])
    connection.close()
    store = SqliteStore(full_file, SEALER)
    await store.open()
    try:
        process = await store.register("a-host", 1, lease=60)
        subscription = make_subscription(owner="*")
        await store.add_subscription(subscription)
        new = [make_delivery(make_event(job_id=f"job-{g}"), subscription) for g in range(300)]
        steps = Steps(store)
        await store.accept(process, [one.event for one in new], new)
        again = make_event(id=new[0].event.id)
        assert await store.accept(process, [again], []) == {again.key: new[0].event.key}
        await store.finish(process, [outcome(one.id, State.DELIVERED, attempt=attempt()) for one in new])
        await store.add_deliveries(
            process, [make_delivery(new[0].event, subscription, claimed=False, due_at=PAST)]
        )
        assert await store.claim(process, 10)
        assert await store.leave(process) > 0
    finally:
        await store.close()
    assert steps.count < STEPS
