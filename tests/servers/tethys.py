"""A Tethys portal over SQLite, and the Dask cluster that its jobs run on, from the environment `.venv-tethys`."""

import json
import os
import sqlite3
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from tests.servers.process import ServerError, ServerProcess, accepts, free_port

_ROOT = Path(__file__).parents[2]
_PYTHON = _ROOT / ".venv-tethys" / "bin" / "python"
_SCRIPT = _ROOT / "tests" / "compat" / "clients" / "tethys.py"


class PortalJob(NamedTuple):
    """A job as it stands in the portal's database: `status` is short (`COM`); what has not happened is None."""

    id: int
    status: str
    looked_at: datetime | None
    started_at: datetime | None
    completed_at: datetime | None


class DaskCluster(ServerProcess):
    """A scheduler with a worker."""

    def __init__(self, log: Path | None = None) -> None:
        super().__init__("dask", log)
        self._port = free_port()
        self.address = f"tcp://127.0.0.1:{self._port}"

    def prepare(self) -> None:
        """Nothing: it makes all that it needs."""

    def command(self) -> Sequence[str | Path]:
        """Return the cluster in the foreground."""
        return [_python(), _SCRIPT, "cluster", str(self._port)]

    def answers(self) -> bool:
        """Tell whether the scheduler listens."""
        return accepts(self._port)


class TethysPortal(ServerProcess):
    """A portal with the jobs that `tests/compat/clients/tethys.py` makes."""

    def __init__(self, scheduler: str, log: Path | None = None) -> None:
        super().__init__("tethys", log)
        self._scheduler = scheduler
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.tokens: dict[str, str] = {}
        """The `status_report_token` of each job, by name."""

    def prepare(self) -> None:
        """Make the configuration, the database and the jobs."""
        tethys = str(_python().with_name("tethys"))
        self._run(tethys, "gen", "portal_config", "--overwrite")
        self._run(tethys, "db", "migrate")
        printed = self._run(str(_python()), str(_SCRIPT), "jobs", self._scheduler)
        self.tokens = json.loads(printed.splitlines()[-1])  # after what the portal says of itself

    def command(self) -> Sequence[str | Path]:
        """Return the portal in the foreground, in one process."""
        return [_python(), "-m", "django", "runserver", "--noreload", f"127.0.0.1:{self._port}"]

    def environment(self) -> Mapping[str, str]:
        """Return where the portal has its files."""
        return {"TETHYS_HOME": str(self.directory), "DJANGO_SETTINGS_MODULE": "tethys_portal.settings"}

    def answers(self) -> bool:
        """Tell whether the portal listens."""
        return accepts(self._port)

    def job(self, name: str) -> PortalJob:
        """Return a job as the portal keeps it."""
        question = (
            "select id, _status, _last_status_update, start_time, completion_time from tethys_compute_tethysjob "
            "where name = ?"
        )
        with closing(self._database()) as database:
            number, status, *times = database.execute(question, [name]).fetchone()
        return PortalJob(number, status, *map(_time, times))

    def start_job(self, name: str) -> None:
        """Let a job be one that the portal starts now."""
        change = "update tethys_compute_tethysjob set execute_time = ? where name = ?"
        with closing(self._database()) as database, database:
            database.execute(change, [datetime.now(UTC).replace(tzinfo=None).isoformat(" "), name])

    def _database(self) -> sqlite3.Connection:
        return sqlite3.connect(self.directory / "tethys_platform.sqlite")

    def _run(self, *command: str) -> str:
        environment = {**os.environ, **self.environment()}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ServerError(f"{command} failed:\n{done.stdout}{done.stderr}")
        return done.stdout


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)


def _python() -> Path:
    if not _PYTHON.exists():
        raise ServerError(f"{_PYTHON} is not there: `make test-tethys` makes it")
    return _PYTHON
