"""Migrations: an empty database gets the schema that the code has, once, even when processes start together."""

from __future__ import annotations

import asyncio
import hashlib
import re
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from dispatcher.store import migrations
from dispatcher.store.factory import migrate, pending
from dispatcher.store.postgres.connection import MIGRATION_LOCK
from dispatcher.store.schema import metadata
from tests.servers import Databases

ALL_REVISIONS = ["0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010", "0011"]
PARTITION = re.compile(r"(events|deliveries|attempts)_(oldest|\d{8})")


def differences(connection: Connection) -> list[Any]:
    options = {"compare_type": True, "compare_server_default": True, "include_name": _is_no_partition}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), metadata))


def _is_no_partition(name: str | None, kind: str, _: object) -> bool:
    return kind != "table" or name is None or PARTITION.fullmatch(name) is None


async def on(url: str, operation: Callable[[Connection], Any]) -> Any:
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.begin() as connection:
        result = await connection.run_sync(operation)
    await engine.dispose()
    return result


def test_a_new_file_gets_all_revisions_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new.db"
    assert migrate(url) == ALL_REVISIONS
    assert migrate(url) == []


async def test_a_new_database_gets_all_revisions_once(database_url: str) -> None:
    assert await asyncio.to_thread(migrate, database_url) == ALL_REVISIONS
    assert await asyncio.to_thread(migrate, database_url) == []


def test_alembic_is_not_asked_about_a_schema_that_is_the_newest(
    migrated_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(command, "upgrade")
    assert migrate(f"sqlite:///{migrated_file}") == []


def test_a_migrated_file_is_what_the_schema_says(migrated_file: Path, tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{migrated_file}")
    with engine.connect() as connection:
        assert differences(connection) == []
    engine.dispose()
    direct = create_engine(f"sqlite:///{tmp_path}/direct.db")
    metadata.create_all(direct)
    direct.dispose()
    assert _shape(migrated_file) == _shape(tmp_path / "direct.db")


def _shape(path: Path) -> dict[str, Any]:
    """Columns by name and indexes by definition: a column that was added later stands last in its table."""
    connection = sqlite3.connect(path)
    tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
    found: dict[str, Any] = {
        table: sorted(tuple(row[1:]) for row in connection.execute(f"pragma table_info('{table}')"))
        for table in tables
    }
    found |= {
        name: " ".join(sql.split())
        for name, sql in connection.execute(
            "select name, sql from sqlite_master where type = 'index' and sql is not null"
        )
    }
    connection.close()
    return {name: shape for name, shape in found.items() if name != "alembic_version"}


def _definitions(path: Path) -> dict[str, str]:
    connection = sqlite3.connect(path)
    rows = connection.execute("select name, sql from sqlite_master where sql is not null").fetchall()
    connection.close()
    return {name: " ".join(text.split()) for name, text in rows if name != "alembic_version"}


def test_a_released_migration_stays_as_it_was_released() -> None:
    """A database that has it is not migrated again: what comes later is a revision that only adds."""
    released = Path(migrations.__file__).parent / "versions" / "0001_initial.py"
    assert hashlib.sha256(released.read_bytes()).hexdigest() == (
        "a88c2e2f65c1bb8e32bd0a8149fed770cae8e7497410d6ce188e5ba30d33950a"
    )


CATALOG = """
select c.relname as name,
    coalesce(pg_get_indexdef(i.indexrelid), pg_get_partkeydef(c.oid), c.reloptions::text, '') as definition
from pg_class c left join pg_index i on i.indexrelid = c.oid
where c.relnamespace = 'public'::regnamespace and not c.relispartition
union all
select c.relname || '.' || a.attname,
    format_type(a.atttypid, a.atttypmod) || case when a.attnotnull then ' not null' else '' end
    || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '')
from pg_attribute a join pg_class c on c.oid = a.attrelid and c.relkind in ('r', 'p')
left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
where a.attnum > 0 and c.relnamespace = 'public'::regnamespace and not c.relispartition
"""


async def test_a_migrated_database_is_what_the_schema_says(database_url: str, migrated_database: str) -> None:
    assert await on(migrated_database, differences) == []
    await on(database_url, metadata.create_all)
    assert await _catalog(migrated_database) == await _catalog(database_url)


async def _catalog(url: str) -> dict[str, str]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch(CATALOG)
    await connection.close()
    return {name: definition for name, definition in rows if not name.startswith("alembic_version")}


async def test_processes_that_start_together_migrate_once(database_url: str) -> None:
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(4) as threads:
        applied = await asyncio.gather(
            *(loop.run_in_executor(threads, migrate, database_url) for _ in range(4))
        )
    assert sorted(applied) == [[], [], [], ALL_REVISIONS]


async def test_a_migration_waits_for_another_processs(database_url: str, postgresql: Databases) -> None:
    """Threads of this process take turns by themselves; other processes are kept apart by the database."""
    other = await asyncpg.connect(database_url)
    await other.execute(f"select pg_advisory_lock({MIGRATION_LOCK})")
    waiting = asyncio.create_task(asyncio.to_thread(migrate, database_url))
    while not await other.fetchval(
        "select count(*) from pg_locks where locktype = 'advisory' and not granted"
    ):
        await other.execute("select pg_sleep(0.01)")
    assert await other.fetchval("select count(*) from pg_tables where schemaname = 'public'") == 0
    await other.close()
    assert await waiting == ALL_REVISIONS


def test_a_migration_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new.db"
    with monkeypatch.context() as patch:
        patch.setattr("alembic.operations.ops.CreateIndexOp.create_index", _fails)
        with pytest.raises(RuntimeError, match="no index today"):
            migrate(f"sqlite:///{path}")
    assert _definitions(path) == {}
    assert migrate(f"sqlite:///{path}") == ALL_REVISIONS


def _fails(*_: object, **__: object) -> None:
    raise RuntimeError("no index today")


def test_what_is_pending_is_said_without_making_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    url = f"sqlite:///{path}"
    assert pending(url) == ALL_REVISIONS
    assert not path.exists()
    migrate(url)
    assert pending(url) == []
    connection = sqlite3.connect(path)
    connection.execute("update alembic_version set version_num = '0005'")
    connection.commit()
    connection.close()
    assert pending(url) == ALL_REVISIONS[5:]


async def test_what_is_pending_in_a_database_is_said_and_not_applied(database_url: str) -> None:
    assert await asyncio.to_thread(pending, database_url) == ALL_REVISIONS
    assert await asyncio.to_thread(pending, database_url) == ALL_REVISIONS
    assert await asyncio.to_thread(migrate, database_url) == ALL_REVISIONS
    assert await asyncio.to_thread(pending, database_url) == []
