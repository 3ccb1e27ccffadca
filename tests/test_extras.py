"""Without what the extra `server` brings, the command ends with 2 and says what to install."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest

from dispatcher import extras
from tests.client.test_imports import FORBIDDEN

REQUIREMENTS = [
    "aiohttp>=3.14",
    'aio-pika>=10.2; extra == "amqp"',
    'dispatcher[amqp,v1a]; extra == "server"',
    "pyjwt[crypto]>=2.10; extra == 'server'",
    "stable",
]


def installed(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    def version(name: str) -> str:
        try:
            return versions[name.replace("-", "_")]
        except KeyError:
            raise metadata.PackageNotFoundError(name) from None

    monkeypatch.setattr(extras, "version", version)


def test_nothing_is_missing_where_everything_is_recent_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, aiohttp="3.14", aio_pika="10.10.1", pyjwt="2.10.0rc1", stable="0.1")
    assert list(extras.unmet(REQUIREMENTS)) == []


def test_what_is_absent_or_too_old_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, aiohttp="3.13.9", aio_pika="10.2", stable="1")
    assert list(extras.unmet(REQUIREMENTS)) == ["aiohttp>=3.14", "pyjwt>=2.10"]


def test_everything_that_the_service_needs_is_installed_here() -> None:
    assert extras.missing() == []


def test_a_command_without_the_extra_ends_with_2_and_one_sentence() -> None:
    code = FORBIDDEN % (["typer"], []) + "from dispatcher.__main__ import main\nmain()"
    done = subprocess.run([sys.executable, "-c", code, "serve"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == (
        "dispatcher: the service and the command line need the extra `server`: "
        "pip install 'dispatcher[server]' (missing or too old: typer)\n"
    )
