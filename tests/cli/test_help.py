from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.conftest import Run

COMMANDS = {
    "": ["demo", "serve", "migrate", "publish", "wait", "listen", "sink", "doctor", "signature", "config"],
    "subscriptions": ["add", "list", "show", "remove", "pause", "resume", "restore", "test", "try"],
    "deliveries": ["list", "show", "retry", "cancel"],
    "events": ["list", "show", "replay"],
    "jobs": ["list", "show", "history"],
    "keys": ["create", "list", "remove"],
    "config": ["show"],
    "signature": ["sign", "verify"],
    "templates": ["check", "preview"],
}
PATHS = [[group, name] if group else [name] for group, names in COMMANDS.items() for name in names]


@pytest.mark.parametrize(
    "path", [path for path in PATHS if path not in (["signature"], ["config"])], ids=" ".join
)
def test_help_teaches_each_command_with_an_example(run: Run, path: list[str]) -> None:
    help = run(*path, "--help")
    assert help.code == 0
    assert f"dispatcher {' '.join(path)}" in help.out.partition("Example")[2]


@pytest.mark.parametrize("group", COMMANDS)
def test_help_lists_the_commands_of_a_group(run: Run, group: str) -> None:
    help = run(*filter(None, [group]), "--help")
    assert all(f" {name} " in help.out for name in COMMANDS[group])


@pytest.mark.parametrize(
    "group", [group for group in COMMANDS if group not in ("", "signature", "templates", "config")]
)
def test_every_list_can_be_json(run: Run, group: str) -> None:
    name = "create" if group == "keys" else "show"
    assert "--json" in run(group, "list", "--help").out
    assert "--json" in run(group, name, "--help").out


def test_a_mistyped_command_is_answered_with_the_nearest_one(run: Run) -> None:
    result = run("subscriptions", "ad")
    assert result.code == 2
    assert "Did you mean 'add'?" in result.err


def test_a_wrong_setting_ends_a_command_with_its_name_and_code_2(run: Run) -> None:
    result = run("deliveries", "list", DISPATCHER_HTTP_PROT="80")
    assert result.code == 2
    assert result.out == ""
    assert result.err == (
        "dispatcher: environment DISPATCHER_HTTP_PROT: unknown setting; did you mean DISPATCHER_HTTP_PORT?\n"
    )


def test_without_a_key_a_command_says_where_one_is_expected(run: Run) -> None:
    result = run("deliveries", "list")
    assert result.code == 2
    assert "expected one in DISPATCHER_KEY" in result.err


def test_a_server_that_does_not_answer_is_named(run: Run) -> None:
    result = run("deliveries", "list", "--server", "http://127.0.0.1:1", "--key", "x")
    assert result.code == 1
    assert result.err.startswith("dispatcher: http://127.0.0.1:1 does not answer: ")
    assert "dispatcher serve" in result.err


def test_a_server_that_is_no_url_is_refused(run: Run) -> None:
    result = run("deliveries", "list", "--server", "localhost:8080", "--key", "x")
    assert result.code == 2
    assert (
        "expected the URL of a server such as https://dispatcher.example.org, got 'localhost:8080'"
        in result.err
    )


@pytest.mark.parametrize(
    "module", ["aiohttp", "structlog", "sqlalchemy", "aio_pika", "asyncpg", "cryptography"]
)
def test_help_does_not_import_what_is_slow(module: str) -> None:
    code = f"import sys, dispatcher.cli; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
