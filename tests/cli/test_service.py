from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.environment import environment
from tests.servers import free_port

SERVE = [sys.executable, "-m", "dispatcher", "serve"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"DISPATCHER_DATABASE_URL": "postgresql://u:hunter22@127.0.0.1:1/x"}, "openssl rand -base64 48"),
        pytest.param(
            {"DISPATCHER_DATABASE_URL": "sqlite:////proc/x.db"},
            "/proc/x.db.key cannot be made or read",
            marks=pytest.mark.long,
        ),
        pytest.param(
            {"DISPATCHER_HTTP_PORT": "many"},
            "http.port (environment DISPATCHER_HTTP_PORT): expected a whole",
            marks=pytest.mark.long,
        ),
    ],
)
def test_settings_that_stop_the_start_are_reported_in_one_line(
    tmp_path: Path, settings: dict[str, str], message: str
) -> None:
    ended = subprocess.run(
        SERVE, cwd=tmp_path, env=environment(settings), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("dispatcher: ")
    assert message in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert "hunter22" not in ended.stderr


def test_a_port_that_is_taken_stops_the_start_after_the_log_was_written(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = {"DISPATCHER_HTTP_PORT": str(port), "DISPATCHER_LOG_LEVEL": "debug"}
        ended = subprocess.run(
            SERVE, cwd=tmp_path, env=environment(settings), capture_output=True, text=True, check=False
        )
    assert ended.returncode == 2
    message = (
        f"dispatcher: http.host and http.port: cannot listen on 127.0.0.1:{port} (Address already in use)"
    )
    assert ended.stderr.splitlines()[-1].startswith(message)


def test_a_process_that_waits_for_its_database_says_so_once_and_ends_on_sigterm(tmp_path: Path) -> None:
    url = f"postgresql://u:hunter22@127.0.0.1:{free_port()}/x"
    settings = {"DISPATCHER_DATABASE_URL": url, "DISPATCHER_SECRETS_KEY": "0123456789abcdef0123456789abcdef"}
    with subprocess.Popen(
        SERVE, cwd=tmp_path, env=environment(settings), stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
    assert "the database does not answer yet" in first
    assert url.replace("hunter22", "***") in first
    assert "shut down during startup" in rest
    assert rest.count("\n") == 1
    assert process.returncode == 0


@pytest.mark.long
def test_a_check_of_the_schema_says_what_is_pending_by_its_exit_status(tmp_path: Path) -> None:
    migrate = [sys.executable, "-m", "dispatcher", "migrate"]
    settings = environment({"DISPATCHER_DATABASE_URL": f"sqlite:///{tmp_path}/new.db"})

    def run(*options: str) -> tuple[int, str]:
        ended = subprocess.run(
            [*migrate, *options], cwd=tmp_path, env=settings, capture_output=True, text=True, check=False
        )
        return ended.returncode, "".join(
            (ended.stdout + ended.stderr).split()
        )  # it is folded at the width of a terminal

    status, said = run("--check")
    assert (status, "pending:0001,0002" in said) == (1, True)
    assert not (tmp_path / "new.db").exists()
    assert run()[0] == 0
    status, said = run("--check")
    assert (status, "isuptodate" in said) == (0, True)
