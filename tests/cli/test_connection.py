"""Where commands find the API: what is wrong with its URL or the key is said, and no secret is shown."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Run

COMMANDS = [
    ["jobs", "list"],
    ["wait", "job-1"],
    ["publish", "--event", "FINISHED", "--job-id", "1"],
    ["listen"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("key", "problem"),
    [
        ("s3cret\n", "expected a key of printable ASCII characters: character 7 is none"),
        ("s3crét", "expected a key of printable ASCII characters: character 5 is none"),
        ("s3cret\r\nX: y", "expected a key of printable ASCII characters: character 7 is none"),
        ("s3cret ", "expected a key without spaces at its ends"),
    ],
)
def test_a_key_that_cannot_be_sent_is_explained(run: Run, command: list[str], key: str, problem: str) -> None:
    result = run(*command, DISPATCHER_SERVER="http://127.0.0.1:1", DISPATCHER_KEY=key)
    source = "--key, DISPATCHER_KEY or DISPATCHER_AUTH_ADMIN_KEY"
    assert (result.code, result.out, result.err) == (2, "", f"dispatcher: {source}: {problem}\n")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("127.0.0.1:8080", "expected the URL of a server such as https://dispatcher.example.org, got "),
        ("http://ann:s3cret@example.org", "expected the URL of a server without user and password"),
        ("ann:s3cret@example.org", "expected the URL of a server without user and password"),
        ("http://example.org:port", "expected the URL of a server with a host and a port"),
        ("http://example.org\n", "expected a URL of printable ASCII characters"),
    ],
)
def test_a_url_that_cannot_be_called_is_explained(
    run: Run, command: list[str], url: str, problem: str
) -> None:
    result = run(*command, DISPATCHER_SERVER=url, DISPATCHER_KEY="k")
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith(f"dispatcher: --server or DISPATCHER_SERVER: {problem}")
    assert "s3cret" not in result.err
