"""PostgreSQL for tests: a private server, and databases that no other test sees."""

import signal
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from tests.servers.process import ServerProcess, accepts, find_program, free_port

_END_OTHERS = """
select pg_terminate_backend(pid, 10000) from pg_stat_activity
where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()
"""

# To truncate a table takes milliseconds for each of its files, to look for those that are not empty takes one for all.
_USED_TABLES = """
select string_agg(oid::regclass::text, ', ') from pg_class
where relkind = 'r' and relnamespace = 'public'::regnamespace and relname <> 'alembic_version'
    and pg_relation_size(oid) > 0
"""

_BEGIN_SEQUENCES = """
select setval(format('%I.%I', schemaname, sequencename)::regclass, start_value, false) from pg_sequences
where last_value is not null
"""


class Databases:
    """A running PostgreSQL, reached as a user who may create databases."""

    def __init__(self, url: str) -> None:
        self.url = url

    async def create_database(self, template: str = "template0") -> str:
        """Create a database, empty or as a copy of `template` (its address), and return its address.

        The template must have no connections. A copy takes some milliseconds.
        """
        name = f"test_{uuid.uuid4().hex}"
        source = urlsplit(template).path.lstrip("/")
        await self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}"')
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    async def drop_database(self, url: str) -> None:
        """Drop a database of `create_database` and close its connections."""
        await self._execute(f'DROP DATABASE "{urlsplit(url).path.lstrip("/")}" WITH (FORCE)')

    async def empty_database(self, url: str) -> None:
        """End all connections to a database, remove all rows, and let the numbers of rows begin again.

        The schema, and which version it has, stay as they are.
        """
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(_END_OTHERS)
            if used := await connection.fetchval(_USED_TABLES):
                await connection.execute(f"TRUNCATE {used}")
            await connection.execute(_BEGIN_SEQUENCES)
        finally:
            await connection.close()

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


class PostgreSQL(ServerProcess, Databases):
    """A private PostgreSQL.

    `durable` is for those who kill it and expect their data to be there; without it commits do not wait for
    the disk. `settings` are those of postgresql.conf.
    """

    stop_signal = signal.SIGINT  # "fast": SIGTERM would wait until the last client has gone
    unprivileged_user = "postgres"

    def __init__(
        self, *, durable: bool = True, settings: Mapping[str, str] | None = None, log: Path | None = None
    ) -> None:
        self._programs = find_program("postgres", "/usr/lib/postgresql/*/bin/postgres").parent
        ServerProcess.__init__(self, "postgresql", log)
        self.port = free_port()
        Databases.__init__(self, f"postgresql://postgres@127.0.0.1:{self.port}/postgres")
        self._data = self.directory / "data"
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            **({} if durable else {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}),
            **(settings or {}),
        }

    def command(self) -> Sequence[str | Path]:
        """Return the server with its settings."""
        settings = [f"--{name}={value}" for name, value in self._settings.items()]
        return [self._programs / "postgres", "-D", self._data, *settings]

    def prepare(self) -> None:
        """Create the data directory before the first start."""
        if not (self._data / "PG_VERSION").exists():
            options = "--username=postgres --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync"
            self.run([self._programs / "initdb", "-D", self._data, *options.split()])

    def answers(self) -> bool:
        """Tell whether the server takes connections: while it recovers it listens but refuses."""
        ask = f"{self._programs}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)
        return accepts(self.port) and subprocess.run(ask, check=False).returncode == 0

    async def wait_for_standby(self) -> None:
        """Commit nothing from now on that a standby does not have too; return when one is there."""
        await self._execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute("SELECT pg_reload_conf()")
            while not await connection.fetchval(
                "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
            ):
                await connection.execute("SELECT pg_sleep(0.05)")
        finally:
            await connection.close()


class Standby(PostgreSQL):
    """A private copy of a running PostgreSQL, which follows it until it is promoted."""

    def __init__(self, primary: PostgreSQL, log: Path | None = None) -> None:
        super().__init__(log=log)
        self._primary = primary

    def prepare(self) -> None:
        """Copy the primary before the first start."""
        if not (self._data / "PG_VERSION").exists():
            options = (
                "--write-recovery-conf --wal-method=stream --checkpoint=fast --no-sync --username=postgres"
            )
            place = ["--host=127.0.0.1", f"--port={self._primary.port}", f"--pgdata={self._data}"]
            self.run([self._programs / "pg_basebackup", *options.split(), *place])

    def promote(self) -> None:
        """Let it take writes."""
        self.run([self._programs / "pg_ctl", "promote", "-D", self._data])
