"""A Tethys portal over SQLite, and the Dask cluster that its jobs run on, from the environment `.venv-tethys`."""

import os
import sqlite3
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.servers.process import ServerError, ServerProcess, accepts, free_port

_ROOT = Path(__file__).parents[2]
_PYTHON = _ROOT / ".venv-tethys" / "bin" / "python"
_SCRIPT = _ROOT / "tests" / "compat" / "clients" / "tethys.py"


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

    def prepare(self) -> None:
        """Make the configuration, the database and the jobs."""
        tethys = str(_python().with_name("tethys"))
        self._run(tethys, "gen", "portal_config", "--overwrite")
        self._run(tethys, "db", "migrate")
        self._run(str(_python()), str(_SCRIPT), "jobs", self._scheduler)

    def command(self) -> Sequence[str | Path]:
        """Return the portal in the foreground, in one process."""
        return [_python(), "-m", "django", "runserver", "--noreload", f"127.0.0.1:{self._port}"]

    def environment(self) -> Mapping[str, str]:
        """Return where the portal has its files."""
        return {"TETHYS_HOME": str(self.directory), "DJANGO_SETTINGS_MODULE": "tethys_portal.settings"}

    def answers(self) -> bool:
        """Tell whether the portal listens."""
        return accepts(self._port)

    def job(self, name: str) -> tuple[int, str, str | None]:
        """Return a job's id, its status as the portal keeps it (`COM`), and when that was last looked at."""
        question = "select id, _status, _last_status_update from tethys_compute_tethysjob where name = ?"
        database = sqlite3.connect(self.directory / "tethys_platform.sqlite")
        try:
            found: tuple[int, str, str | None] = database.execute(question, [name]).fetchone()
        finally:
            database.close()
        return found

    def _run(self, *command: str) -> None:
        environment = {**os.environ, **self.environment()}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ServerError(f"{command} failed:\n{done.stdout}{done.stderr}")


def _python() -> Path:
    if not _PYTHON.exists():
        raise ServerError(f"{_PYTHON} is not there: `make test-tethys` makes it")
    return _PYTHON
