"""On SQLite every question is answered through an index, however much is stored and without any statistics."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event

from dispatcher.store.column_types import microseconds
from dispatcher.store.factory import open_store
from dispatcher.store.sqlite.store import SqliteStore
from tests.factories import NOW, make_subscription
from tests.store.conftest import SEALER
from tests.store.questions import QUESTIONS, ROWS, some_id
from tests.store.uses import PARTS, Use, answer

STEPS = 60_000
"""Steps of SQLite's machine that a statement may take; to look at each of ROWS rows takes several times as many."""

# || binds closer than % and / in SQLite.
FILL = """
create temp table series as
    with recursive s (g) as (select 1 union all select g + 1 from s where g < 2 * {rows}) select g from s;
insert into identities select row_id(g), row_id(g) from series where g <= {rows};
insert into events select row_id(g), {now}, {now}, 'default', g, '/jobs', 'job.FINISHED', 'FINISHED',
    'job-' || (g / 4), 'o' || (g % 5000), 'o' || (g % 5000), x'', null from series where g <= {rows};
insert into jobs (tenant, id, first_event, last_event, updated_at, events, owner, status)
    select 'default', 'job-' || g, row_id(4 * g), row_id(4 * g), {now}, 4, 'o' || (g % 5000), 'FINISHED'
    from series where g < {rows} / 4;
insert into unclaimed_jobs (tenant, id, owner, first_event, last_event, updated_at, events, status)
    select 'default', 'mine-' || g, 'o' || (g % 5000), row_id(4 * g), row_id(4 * g), {now}, 4, 'FINISHED'
    from series where g < {rows} / 4;
insert into grants
    select 'default', 'job-' || g, 'o' || (g % 5000), 'u' || (g % 2000), true, true, {now}
    from series where g < {rows} / 4;
insert into subscriptions select row_id(g), {now}, {now}, null, null, 1, tenant, 's' || (g % 1000),
    'default' || char(31) || case when g % 2 = 0 then 'job:job-' || g else 'owner:o' || g end,
    case when g % 2 = 0 then 'job-' || g end, 'https://h' || (g % 100) || ':443', 'active', null, details, sealed
    from series, subscriptions where g <= {rows};
insert into deliveries (id, event_key, subscription_id, tenant, subscriber, destination, state, listed_as, due_at,
        attempts)
    select row_id(g), row_id(g % {rows}), row_id(g % {rows}), 'default', 's' || (g % 1000),
        'https://h' || (g % 100) || ':443', coalesce(listed_as, 2), listed_as,
        case when listed_as = 0 then {now} + g * 1000000 end, 1
    from (
        select g, case when g % 50 = 7 then 3 when g % 50 = 8 then 4 when g % 2 = 0 then 0 end as listed_as
        from series
    );
insert into quotas select 'default', 'o' || g, '{{}}', {now} from series where g <= {rows};
insert into attempts select row_id(g), 1, {now}, 0.1, 200, 'POST https://h', null, 'ok' from series;
insert into mail_consents (tenant, subscriber, address)
    select 'default', 's' || (g % 1000), 'a' || g || '@example.org' from series where g <= {rows};
insert into tapis_subscriptions select row_id(g), {now}, null, 'default', 'o' || (g % 1000), 'name' || g, 'job-' || g,
    '', x'7b7d' from series where g <= {rows};
insert into tapis_series select 'default', 'Jobs', 'job-' || g, '1', 1, {now} from series where g <= {rows};
insert into tapis_notifications select row_id(g), 'a uuid', {now}, x'7b7d' from series where g <= {rows};
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
    await store.subscriptions.add(make_subscription(owner="*"))
    await store.close()


def _fill(connection: sqlite3.Connection) -> None:
    connection.create_function("row_id", 1, lambda number: bytes.fromhex(some_id("evt", number)[4:]))
    connection.executescript(FILL.format(rows=ROWS, now=microseconds(NOW)))


class Steps:
    """Counts what SQLite's machine does for each statement of a store: the most that it did for one call of it."""

    def __init__(self, store: SqliteStore) -> None:
        self.of: dict[str, int] = {}
        self._text = ""
        self._count = 0
        for worker in (store.session._writer, store.session._readers):
            event.listen(worker._engine, "before_cursor_execute", self._watch)

    def _watch(self, _: object, cursor: Any, statement: str, *__: object) -> None:
        self._text = statement
        self._count = 0
        cursor.connection.set_progress_handler(self._step, 100)

    def _step(self) -> int:
        self._count += 100
        self.of[self._text] = max(self.of.get(self._text, 0), self._count)
        return 0


WALKS = {
    "backlog": "counts what waits",
    "a subscriber's pending deliveries": "goes through all that waits",
    "how many wait for a subscriber": "goes through all that waits",
    "guard": "counts what waits",
}
"""What costs some steps for each delivery that waits; how many were delivered does not matter."""

STATISTICS = {
    "none": "",
    "of few rows": "analyze; update sqlite_stat1 set stat = '1 1 1 1 1'; analyze sqlite_schema",
    "fresh": "analyze",
}
"""Such as a tool of the operator's may have left; we make none, and drop them when the file is opened."""


@pytest.mark.parametrize("statistics", STATISTICS)
async def test_every_statement_takes_few_steps_whatever_statistics_there_were(
    full_file: Path, tmp_path: Path, statistics: str
) -> None:
    path = Path(shutil.copy(full_file, tmp_path / "store.db"))
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(STATISTICS[statistics])
    names = [*PARTS, *QUESTIONS] if statistics == "none" else [*PARTS]
    assert not await _wrong(path, names)


async def test_the_way_of_an_event_takes_few_steps_when_somebody_analyzes_the_file_meanwhile(
    full_file: Path, tmp_path: Path
) -> None:
    path = Path(shutil.copy(full_file, tmp_path / "store.db"))
    assert not await _wrong(path, [*PARTS], "analyze")


async def _wrong(path: Path, names: Sequence[str], first: str = "select 1") -> list[str]:
    """What takes more than STEPS of this, once a statement was carried out."""
    store, wrong = SqliteStore(path, SEALER), list[str]()
    await store.open()
    try:
        use = Use(store, await store.leases.register("a-host", 1, lease=60), "many")
        await store.session.write(Connection.exec_driver_sql, first)
        steps = Steps(store)
        for name in names:
            steps.of.clear()
            await (PARTS[name](use) if name in PARTS else answer(use, name))
            if name not in WALKS:
                many = {text: count for text, count in steps.of.items() if count > STEPS}
                wrong += [f"{name}, {count} steps: {text}" for text, count in many.items()]
    finally:
        await store.close()
    return wrong
