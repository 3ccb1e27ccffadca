"""The client imports nothing of the server, and only the libraries that `pip install dispatcher` brings."""

from __future__ import annotations

import subprocess
import sys
import tomllib

from tests.docs.code_blocks import ROOT

FORBIDDEN = """
import importlib.abc, sys

class Forbidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in %r or ".".join(name.split(".")[:2]) in %r:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Forbidden())
"""
SERVER_LIBRARIES = [
    *(
        "aio_pika",
        "aiormq",
        "aiodns",
        "aiosmtplib",
        "aiosqlite",
        "alembic",
        "asyncpg",
        "cachetools",
        "css_inline",
    ),
    *(
        "cryptography",
        "email_validator",
        "httptools",
        "jinja2",
        "jwt",
        "prometheus_client",
        "rich",
        "sqlalchemy",
    ),
    *("structlog", "typer", "uvloop"),
]
SERVER = [
    f"dispatcher.{path.stem}"
    for path in (ROOT / "dispatcher").iterdir()
    if path.stem not in ("client", "domain") and not path.stem.startswith(("_", "py"))
]


def run(code: str, *libraries: str) -> subprocess.CompletedProcess[str]:
    prelude = FORBIDDEN % ([*SERVER_LIBRARIES, *libraries], SERVER)
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", prelude + code],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


def test_webhooks_are_verified_and_both_clients_made_without_the_server_and_its_libraries() -> None:
    done = run(
        "import asyncio\n"
        "from dispatcher.client import AsyncClient, Client, Publisher, Webhook, models\n"
        "Webhook('whsec_' + 'A' * 32)\n"
        "Client('http://127.0.0.1:1').close()\n"
        "asyncio.run(AsyncClient('http://127.0.0.1:1').close())\n"
        "Publisher.http('http://127.0.0.1:1', key='k')\n"
        "assert 'aiohttp' not in sys.modules\n"
    )
    assert done.stderr == ""


def test_of_the_domain_only_what_needs_no_library_is_imported() -> None:
    done = run(
        "import dispatcher.client\nprint(*sorted(n for n in sys.modules if n.startswith('dispatcher.domain')))"
    )
    assert done.stdout.split() == ["dispatcher.domain", "dispatcher.domain.json_text"]


def test_a_webhook_is_verified_without_any_http_library() -> None:
    done = run("from dispatcher.client import Webhook\nWebhook('whsec_' + 'A' * 32)\n", "aiohttp", "urllib3")
    assert done.stderr == ""


def test_what_needs_an_extra_says_which() -> None:
    amqp = run("from dispatcher.client import Publisher\nPublisher.amqp('amqp://127.0.0.1/')")
    assert "pip install 'dispatcher[amqp]'" in amqp.stderr.splitlines()[-1]
    v1a = run("from dispatcher.client import Webhook\nWebhook('whpk_' + 'A' * 44)")
    assert "pip install 'dispatcher[v1a]'" in v1a.stderr.splitlines()[-1]


def test_the_package_itself_requires_only_what_the_client_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {requirement.split(">")[0] for requirement in project["dependencies"]}
    assert names == {"aiohttp", "msgspec", "urllib3"}
