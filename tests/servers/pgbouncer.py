"""PgBouncer for tests: a private pooler before a PostgreSQL."""

import signal
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from tests.servers.process import ServerProcess, accepts, find_program, free_port

CONFIGURATION = """
[databases]
* = host={host} port={database_port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = 40
{more}
"""


class PgBouncer(ServerProcess):
    """A private PgBouncer in this pool mode, before the server of `database_url`; `url` leads through it."""

    stop_signal = signal.SIGTERM  # at once
    unprivileged_user = "postgres"

    def __init__(self, database_url: str, mode: str, *, more: str = "", log: Path | None = None) -> None:
        self._pgbouncer = find_program("pgbouncer", "/usr/sbin/pgbouncer")
        super().__init__("pgbouncer", log)
        self.port = free_port()
        parts = urlsplit(database_url)
        self.url = parts._replace(netloc=f"{parts.username}@127.0.0.1:{self.port}").geturl()
        self._configuration = self.directory / "pgbouncer.ini"
        self._configuration.write_text(
            CONFIGURATION.format(
                host=parts.hostname,
                database_port=parts.port,
                user=parts.username,
                port=self.port,
                mode=mode,
                more=more,
            )
        )
        self._configuration.chmod(0o644)

    def prepare(self) -> None:
        """Nothing has to be made."""

    def command(self) -> Sequence[str | Path]:
        """Return the pooler in the foreground."""
        return [self._pgbouncer, self._configuration]

    def answers(self) -> bool:
        """Tell whether it takes connections."""
        return accepts(self.port)
