"""A database of version 0.1.0 is taken over: its jobs are claimed, its grants their owners', its publishers trusted."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest
from alembic import command

from dispatcher.domain.events import utc_now
from dispatcher.store.factory import migrate, open_store
from dispatcher.store.filters import EventFilter, JobFilter
from dispatcher.store.store import Store
from tests.factories import make_event
from tests.store.conftest import SEALER
from tests.store.helpers import ALL

ID = "01900000000000000000000000000000"
FUTURE = datetime(9999, 1, 1, tzinfo=UTC)
JOBS = """
insert into jobs (tenant, id, first_event, last_event, updated_at, events, owner, status)
values ('default', 'hers', {id}, {id}, {now}, 1, 'alice', 'RUNNING'),
    ('default', 'nobodys', {two}, {two}, {now}, 1, null, 'RUNNING')
"""
EVENT = """
insert into events (key, time, accepted_at, tenant, id, source, type, event, job_id, owner, job_owner, document)
values ({id}, {now}, {now}, 'default', '1', '/jobs', 'job.RUNNING', 'RUNNING', 'hers', 'alice', 'alice', {json})
"""
PERMISSIONS = """
insert into permissions (tenant, job_id, username, granted, at) values ('default', 'hers', 'bob', true, {future}),
    ('default', 'hers', 'carol', false, {now}), ('default', 'nobodys', 'bob', true, {now})
"""
KEYS = """
insert into api_keys (id, created_at, digest, tenant, owner, name, scopes) values
    ({one}, {now}, 'a', 'default', 'jobs', 'a service', 'publish'),
    ({two}, {now}, 'b', 'default', 'alice', 'hers', 'publish subscribe'),
    ({three}, {now}, 'c', 'default', 'admin', 'an admin', 'admin publish')
"""
STATEMENTS = (JOBS, EVENT, PERMISSIONS, KEYS)


def _ids(literal: str) -> dict[str, str]:
    names = ("id", "one", "two", "three")
    return {name: literal.format(f"{ID[:-1]}{number}") for number, name in enumerate(names)}


def _fill_file(path: Path) -> None:
    connection = sqlite3.connect(path)
    now = int(utc_now().timestamp() * 1_000_000)
    future = (FUTURE - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    values = _ids("x'{}'") | {"now": str(now), "future": str(future), "json": "x'7b7d'"}
    for statement in STATEMENTS:
        connection.execute(statement.format(**values))
    connection.commit()
    connection.close()


async def _run(url: str, statements: Sequence[str]) -> None:
    connection = await asyncpg.connect(url)
    values = _ids("'{}'") | {"now": "now()", "future": "'9999-01-01Z'", "json": "'{}'"}
    for statement in statements:
        await connection.execute(statement.format(**values))
    await connection.close()


async def _check(store: Store) -> None:
    process = await store.leases.register("host", 1, 60)
    assert await store.jobs.owners("default", ["hers", "nobodys"]) == {"hers": "alice"}
    bob, carol = (("default", "hers", "alice", user) for user in ("bob", "carol"))
    assert await store.jobs.granted([bob, carol]) == {bob}
    assert [
        job.id for job in (await store.jobs.page(JobFilter(tenant="default", visible_to="bob"), ALL)).items
    ] == ["hers"]
    events = await store.events.page(EventFilter(tenant="default", visible_to="bob"), ALL)
    assert [(event.job_id, event.published_by) for event in events.items] == [("hers", None)]
    revoke = make_event(
        event="PERMISSION_REVOKE",
        job_id="hers",
        data={"user": "bob"},
        time=utc_now(),
        accepted_at=utc_now(),
    )
    await store.events.accept(process, [revoke], [])
    assert await store.jobs.granted([bob]) == set(), "its grant from the future ends when it is revoked"
    scopes = {key.name: key.scopes for key in (await store.keys.page(None, ALL)).items}
    assert scopes == {
        "a service": ("publish", "publish:any"),
        "hers": ("publish", "subscribe"),
        "an admin": ("admin", "publish"),
    }
    assert len(await store.keys.owner_bound()) == 1


async def test_a_file_of_the_version_before_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "old.db"
    _released(f"sqlite:///{path}", monkeypatch)
    _fill_file(path)
    store = open_store(f"sqlite:///{path}", SEALER)
    await store.open()
    await _check(store)
    await store.close()


async def test_a_database_of_the_version_before_is_taken_over(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.to_thread(_released, database_url, monkeypatch)
    await _run(database_url, STATEMENTS)
    store = open_store(database_url, SEALER)
    await store.open()
    await _check(store)
    await store.close()


async def test_permissions_that_a_process_of_the_version_before_stores_count(database_url: str) -> None:
    store = open_store(database_url, SEALER)
    await store.open()
    process = await store.leases.register("host", 1, 60)
    await _run(database_url, STATEMENTS[:3])
    bob, carol = (("default", "hers", "alice", user) for user in ("bob", "carol"))
    assert await store.jobs.granted([bob, carol]) == {bob}
    moment = utc_now()
    grant = make_event(
        event="PERMISSION_GRANT", job_id="hers", data={"user": "carol"}, time=moment, accepted_at=moment
    )
    await store.events.accept(process, [grant], [])
    assert await store.jobs.granted([bob, carol]) == {bob, carol}
    revoked = "update permissions set granted = false, at = now() where job_id = 'hers'"
    await _run(database_url, [revoked])
    assert await store.jobs.granted([bob, carol]) == set()
    await store.close()


def _released(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        whole = command.upgrade
        patch.setattr(command, "upgrade", lambda config, _: whole(config, "0001"))
        assert migrate(url) == ["0001"]
