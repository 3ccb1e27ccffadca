from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"DISPATCHER_DATABASE_URL": "postgresql://u:hunter22@127.0.0.1:1/x"}, "openssl rand -base64 48"),
        ({"DISPATCHER_DATABASE_URL": "sqlite:////proc/x.db"}, "/proc/x.db.key cannot be made or read"),
        ({"DISPATCHER_HTTP_PORT": "many"}, "http.port (environment DISPATCHER_HTTP_PORT): expected a whole"),
    ],
)
def test_settings_that_stop_the_start_are_told_in_one_line(
    tmp_path: Path, settings: dict[str, str], told: str
) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DISPATCHER_")} | settings
    command = [sys.executable, "-m", "dispatcher", "serve"]
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("dispatcher: ")
    assert told in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert "hunter22" not in ended.stderr
