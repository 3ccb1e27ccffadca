"""A start that cannot succeed says one sentence and exits with 2, and `doctor` finds the same before."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import asyncpg
import pytest

from dispatcher.store.encryption import Sealer
from dispatcher.store.factory import migrate, open_store
from tests.environment import environment
from tests.factories import make_subscription
from tests.servers import Databases

KEY = "a-secrets-key-for-the-tests-of-32-characters"
Settings = dict[str, str]
Prepare = Callable[[Path], Settings]


async def run(
    directory: Path, settings: Settings, *command: str, files: int = 0, seconds: float = 50
) -> tuple[int, str]:
    """The exit code of a command, and all that it said; it may open so many `files`, unless that is 0."""
    limited = ("sh", "-c", f'ulimit -n {files}; exec "$@"', "sh") if files else ()
    process = await asyncio.create_subprocess_exec(
        *(*limited, sys.executable, "-m", "dispatcher", *command),
        cwd=directory,
        env=environment(
            {"DISPATCHER_HTTP_PORT": "0", "DISPATCHER_SECRETS_KEY": KEY, "COLUMNS": "300"} | settings
        ),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return process.returncode, said.decode()


async def refused(directory: Path, settings: Settings, reason: str, *, by_doctor: str | None = None) -> None:
    """Assert that `serve` says one sentence with this reason, and that `doctor` says it too."""
    (served, said), (checked, found) = await asyncio.gather(
        run(directory, settings, "serve"), run(directory, settings, "doctor")
    )
    assert (served, checked) == (2, 1), f"{said}\n{found}"
    for output in (said, found):
        assert "Traceback" not in output
    lines = [line for line in said.splitlines() if line.startswith("dispatcher: ")]
    assert len(lines) == 1
    assert reason in lines[0]
    assert (by_doctor or reason) in " ".join(found.split())


def no_database(directory: Path) -> Settings:
    (directory / "x.db").write_text("this is a text and no database" * 100)
    return {"DISPATCHER_DATABASE_URL": "sqlite:///x.db"}


def below_a_file(directory: Path) -> Settings:
    (directory / "file").touch()
    return {"DISPATCHER_DATABASE_URL": "sqlite:///file/x.db"}


def newer_schema(directory: Path) -> Settings:
    path = directory / "x.db"
    migrate(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("update alembic_version set version_num = '9999'")
        connection.commit()
    return {"DISPATCHER_DATABASE_URL": "sqlite:///x.db"}


def tables_of_another(directory: Path) -> Settings:
    with closing(sqlite3.connect(directory / "x.db")) as connection:
        connection.execute("create table jobs (id)")
        connection.commit()
    return {"DISPATCHER_DATABASE_URL": "sqlite:///x.db"}


def half_a_schema(directory: Path) -> Settings:
    path = directory / "x.db"
    migrate(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("drop table processes")
        connection.commit()
    return {"DISPATCHER_DATABASE_URL": "sqlite:///x.db"}


def templates(directory: Path) -> Settings:
    return {"DISPATCHER_SMTP_URL": "smtp://127.0.0.1:9", "DISPATCHER_SMTP_TEMPLATES": str(directory / "none")}


def tapis_keys(directory: Path) -> Settings:
    (directory / "keys").write_text("nonsense")
    return {"DISPATCHER_TAPIS_KEYS": str(directory / "keys")}


def written(content: bytes) -> Prepare:
    def prepare(directory: Path) -> Settings:
        (directory / "c.toml").write_bytes(content)
        return {"DISPATCHER_CONFIG": "c.toml"}

    return prepare


CASES: dict[str, tuple[Prepare, str, str | None]] = {
    "a file that is no database": (no_database, "is no SQLite database", "file is not a database"),
    "a database below a file": (below_a_file, "cannot write", "is no directory"),
    "a newer schema": (newer_schema, "9999 is newer than this program knows", None),
    "tables of another program": (tables_of_another, "another program has the tables jobs", None),
    "a schema that is not whole": (half_a_schema, "lacks the tables processes", None),
    "a folder that cannot hold a database": (
        lambda _: {"DISPATCHER_DATABASE_URL": "sqlite:////proc/x.db"},
        "No such file or directory",
        None,
    ),
    "an address of another machine": (
        lambda _: {"DISPATCHER_HTTP_HOST": "203.0.113.9"},
        "cannot listen on 203.0.113.9",
        None,
    ),
    "templates that are not there": (templates, "is no folder that this user can read", None),
    "keys of Tapis that are none": (tapis_keys, "holds 0 keys, expected 1 to 100", None),
    "an administrator without a tenant": (
        lambda _: {"DISPATCHER_TAPIS_ADMINS": "root"},
        "expected users with their tenants, such as root@dev",
        None,
    ),
    "a file of settings that is no TOML": (written(b"[database\n"), "expected TOML", None),
    "a file of settings in another encoding": (written(b'[http]\nhost = "\xff"\n'), "expected TOML", None),
    "an unknown setting": (
        lambda _: {"DISPATCHER_HTTP_PROT": "1"},
        "did you mean DISPATCHER_HTTP_PORT?",
        None,
    ),
    "a malformed setting": (lambda _: {"DISPATCHER_HTTP_PORT": "x"}, "expected a whole number", None),
}


OF_DATABASES = (no_database, below_a_file, newer_schema, tables_of_another, half_a_schema)
SAMPLE = (
    "a file that is no database",
    "tables of another program",
    "an unknown setting",
    "templates that are not there",
)


@pytest.mark.parametrize(
    "name", [name if name in SAMPLE else pytest.param(name, marks=pytest.mark.long) for name in CASES]
)
async def test_what_stops_a_start_is_one_sentence_and_found_before(tmp_path: Path, name: str) -> None:
    prepare, reason, by_doctor = CASES[name]
    await refused(tmp_path, prepare(tmp_path), reason, by_doctor=by_doctor)


WORKERS = ("serve", "--workers", "2")
BY_ALL = WORKERS, ("migrate",)
"""What refuses a wrong database as `serve` does. Several workers and SQLite do not go together."""


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in CASES if "setting" in name or "address" in name])
@pytest.mark.parametrize("command", BY_ALL)
async def test_other_commands_say_one_sentence_about_the_settings_too(
    tmp_path: Path, name: str, command: tuple[str, ...]
) -> None:
    prepare, reason, _ = CASES[name]
    if "address" in name:
        command = WORKERS  # a migration listens nowhere
    database = {"DISPATCHER_DATABASE_URL": "postgresql://unknown@127.0.0.1:9/none"}
    code, said = await run(tmp_path, database | prepare(tmp_path), *command)
    assert (code, "Traceback" in said) == (2, False), said
    [line] = [line for line in said.splitlines() if line.startswith("dispatcher: ")]
    assert reason in line


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name, (prepare, *_) in CASES.items() if prepare in OF_DATABASES])
async def test_a_migration_says_one_sentence_about_the_database_too(tmp_path: Path, name: str) -> None:
    prepare, reason, _ = CASES[name]
    code, said = await run(tmp_path, prepare(tmp_path), "migrate")
    assert (code, "Traceback" in said) == (2, False), said
    assert reason in said


async def test_too_few_open_files(tmp_path: Path) -> None:
    commands = (("serve",), ("serve", "--workers", "2"), ("migrate",), ("doctor",))
    said = await asyncio.gather(*(run(tmp_path, {}, *command, files=12) for command in commands))
    assert [code for code, _ in said] == [2, 2, 2, 1]
    for _, text in said:
        assert "Traceback" not in text
        assert "the limit of this process is 12 (ulimit -n)" in " ".join(text.split())
    assert not (tmp_path / "var").exists()


async def test_secrets_that_no_key_opens(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'x.db'}", Sealer(["another key of 32 characters or more"]))
    await store.open()
    await store.subscriptions.add(make_subscription())
    await store.close()
    await refused(
        tmp_path,
        {"DISPATCHER_DATABASE_URL": "sqlite:///x.db"},
        "no key of it opens a secret that is in the database",
    )


@pytest.mark.long
async def test_a_port_that_is_taken_does_not_lose_the_first_key(tmp_path: Path) -> None:
    settings = {"DISPATCHER_DATABASE_URL": "sqlite:///x.db"}
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = settings | {"DISPATCHER_HTTP_PORT": str(other.getsockname()[1])}
        await refused(tmp_path, taken, "Address already in use")
        _, said = await run(tmp_path, taken, "serve")
    assert "The first admin key" not in said
    with closing(sqlite3.connect(tmp_path / "x.db")) as connection:
        assert connection.execute("select count(*) from api_keys").fetchone() == (0,)


Name = Callable[..., Awaitable[str]]
MAY_NOTHING = "do $$ begin create role may_nothing login; exception when duplicate_object then null; end $$"


@pytest.fixture
async def database(postgresql: Databases) -> AsyncIterator[Name]:
    """Yield what makes a database, with statements that are carried out for it, and names it for a user."""
    made: list[str] = []
    admin = await asyncpg.connect(postgresql.url)

    async def make(options: str, *statements: str, user: str | None = None) -> str:
        name = f"start_{len(made)}_{id(made):x}"
        await admin.execute(f'create database "{name}" {options}')
        made.append(name)
        for statement in statements:
            await admin.execute(statement.format(name=name))
        parts = urlsplit(postgresql.url)
        where = parts.netloc if user is None else f"{user}@{parts.hostname}:{parts.port}"
        return parts._replace(netloc=where, path=f"/{name}").geturl()

    yield make
    for name in made:
        await admin.execute(f'drop database "{name}" with (force)')
    await admin.close()


async def test_a_user_who_may_not_make_tables(tmp_path: Path, database: Name) -> None:
    url = await database("", MAY_NOTHING, user="may_nothing")
    await refused(
        tmp_path,
        {"DISPATCHER_DATABASE_URL": url},
        "permission denied for schema public",
        by_doctor="this user may not make tables in the schema",
    )


@pytest.mark.long
async def test_a_database_that_cannot_hold_every_text(tmp_path: Path, database: Name) -> None:
    url = await database("encoding 'SQL_ASCII' template template0 lc_collate 'C' lc_ctype 'C'")
    await refused(tmp_path, {"DISPATCHER_DATABASE_URL": url}, "the database's encoding is SQL_ASCII")


async def test_a_read_only_database_is_found_by_doctor(tmp_path: Path, database: Name) -> None:
    url = await database("", 'alter database "{name}" set default_transaction_read_only = on')
    code, found = await run(tmp_path, {"DISPATCHER_DATABASE_URL": url}, "doctor")
    assert code == 1
    assert "the database is read-only" in found


@pytest.mark.long
@pytest.mark.timeout(150)
@pytest.mark.parametrize("command", [("serve",), *BY_ALL])
async def test_a_read_only_database_is_waited_for_and_then_one_sentence(
    tmp_path: Path, database: Name, command: tuple[str, ...]
) -> None:
    """A standby may be promoted: so `serve` waits for it as for a database that does not answer."""
    url = await database("", 'alter database "{name}" set default_transaction_read_only = on')
    code, said = await run(tmp_path, {"DISPATCHER_DATABASE_URL": url}, *command, seconds=120)
    assert (code != 0, "Traceback" in said) == (True, False), said
    [line] = [line for line in said.splitlines() if line.startswith("dispatcher: ")]
    assert "read-only" in line


def with_wrong_password(amqp_url: str) -> Settings:
    parts = urlsplit(amqp_url)
    return {
        "DISPATCHER_AMQP_URL": parts._replace(netloc=f"guest:wrong@{parts.hostname}:{parts.port}").geturl()
    }


async def test_a_user_whom_the_broker_refuses(tmp_path: Path, amqp_url: str) -> None:
    settings = {"DISPATCHER_DATABASE_URL": "sqlite:///x.db"} | with_wrong_password(amqp_url)
    await refused(tmp_path, settings, "refuses the user guest")


async def says_one_sentence(
    directory: Path, settings: Settings, reason: str, *commands: tuple[str, ...]
) -> None:
    """Assert that each of these commands does so, with this reason, and exits with 2."""
    for code, said in await asyncio.gather(*(run(directory, settings, *command) for command in commands)):
        assert (code, "Traceback" in said) == (2, False), said
        [line] = [line for line in said.splitlines() if line.startswith("dispatcher: ")]
        assert reason in line


async def another_queue(amqp_url: str) -> Settings:
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("dispatcher.intake", durable=True)
    return {"DISPATCHER_AMQP_URL": amqp_url}


async def test_what_the_broker_refuses_ends_several_workers_too(
    tmp_path: Path, database_url: str, amqp_url: str
) -> None:
    settings = {"DISPATCHER_DATABASE_URL": database_url} | with_wrong_password(amqp_url)
    await says_one_sentence(tmp_path, settings, "refuses the user guest", WORKERS)


@pytest.mark.long
async def test_a_queue_with_other_arguments_ends_several_workers_too(
    tmp_path: Path, database_url: str, amqp_url: str
) -> None:
    settings = {"DISPATCHER_DATABASE_URL": database_url} | await another_queue(amqp_url)
    await says_one_sentence(tmp_path, settings, "dispatcher.intake", WORKERS)


@pytest.mark.long
async def test_a_port_that_is_taken_ends_several_workers_too(tmp_path: Path, database_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        settings = {"DISPATCHER_DATABASE_URL": database_url, "DISPATCHER_HTTP_PORT": port}
        await says_one_sentence(tmp_path, settings, "Address already in use", WORKERS)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in CASES if "templates" in name or "Tapis" in name])
async def test_files_that_are_wrong_end_several_workers_too(
    tmp_path: Path, database_url: str, name: str
) -> None:
    prepare, reason, _ = CASES[name]
    settings = {"DISPATCHER_DATABASE_URL": database_url} | prepare(tmp_path)
    await says_one_sentence(tmp_path, settings, reason, WORKERS)


async def test_several_workers_and_sqlite_do_not_go_together(tmp_path: Path) -> None:
    settings = {"DISPATCHER_DATABASE_URL": "sqlite:///x.db"}
    await says_one_sentence(tmp_path, settings, "SQLite is for one process", WORKERS)


@pytest.mark.long
async def test_a_user_who_may_not_make_tables_ends_other_commands_too(tmp_path: Path, database: Name) -> None:
    url = await database("", MAY_NOTHING, user="may_nothing")
    settings = {"DISPATCHER_DATABASE_URL": url}
    await says_one_sentence(tmp_path, settings, "permission denied for schema public", *BY_ALL)


@pytest.mark.long
async def test_a_database_that_cannot_hold_every_text_ends_other_commands_too(
    tmp_path: Path, database: Name
) -> None:
    url = await database("encoding 'SQL_ASCII' template template0 lc_collate 'C' lc_ctype 'C'")
    await says_one_sentence(tmp_path, {"DISPATCHER_DATABASE_URL": url}, "encoding is SQL_ASCII", *BY_ALL)


@pytest.mark.long
async def test_a_newer_schema_on_postgresql_ends_all_commands(tmp_path: Path, database_url: str) -> None:
    await asyncio.to_thread(migrate, database_url)
    connection = await asyncpg.connect(database_url)
    await connection.execute("update alembic_version set version_num = '9999'")
    await connection.close()
    settings = {"DISPATCHER_DATABASE_URL": database_url}
    await refused(tmp_path, settings, "9999 is newer than this program knows")
    await says_one_sentence(tmp_path, settings, "9999 is newer than this program knows", *BY_ALL)


@pytest.mark.long
async def test_secrets_that_no_key_opens_end_several_workers_too(tmp_path: Path, database_url: str) -> None:
    store = open_store(database_url, Sealer(["another key of 32 characters or more"]))
    await store.open()
    await store.subscriptions.add(make_subscription())
    await store.close()
    settings = {"DISPATCHER_DATABASE_URL": database_url}
    await says_one_sentence(tmp_path, settings, "no key of it opens a secret", WORKERS)


@pytest.mark.long
async def test_a_database_that_does_not_exist_and_a_password_that_is_wrong_end_all_commands(
    tmp_path: Path, postgresql: Databases
) -> None:
    parts = urlsplit(postgresql.url)
    settings = {"DISPATCHER_DATABASE_URL": parts._replace(path="/none").geturl()}
    await says_one_sentence(tmp_path, settings, 'database "none" does not exist', ("serve",), *BY_ALL)
    stranger = parts._replace(netloc=f"stranger@{parts.hostname}:{parts.port}").geturl()
    settings = {"DISPATCHER_DATABASE_URL": stranger}
    await says_one_sentence(tmp_path, settings, 'role "stranger" does not exist', ("serve",), *BY_ALL)
