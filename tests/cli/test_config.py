from __future__ import annotations

from pathlib import Path

import dispatcher
from tests.cli.conftest import Run

PASSWORD = "correct-horse-battery-staple"
KEY = "an-admin-key-of-more-than-32-characters"


def test_each_setting_is_shown_with_where_it_comes_from_and_no_secret(run: Run, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text('[amqp]\nqueue = "jobs"\nprefetch = 50\n')
    result = run(
        *("config", "show", "--json"),
        DISPATCHER_CONFIG="settings.toml",
        DISPATCHER_AMQP_PREFETCH="70",
        DISPATCHER_DATABASE_URL=f"postgresql://dispatcher:{PASSWORD}@db.example.org/jobs",
        DISPATCHER_AUTH_ADMIN_KEY=KEY,
        DISPATCHER_SECRETS_KEY=f"{KEY},{KEY}2",
        DISPATCHER_NETWORK_ALLOW="10.0.0.0/8",
        DISPATCHER_NETWORK_PROXY=f"http://dispatcher:{PASSWORD}@proxy.example.org:3128",
    )

    assert result.code == 0
    shown = result.json
    assert shown["amqp.queue"] == {"value": "jobs", "source": "settings.toml [amqp] queue"}
    assert shown["amqp.prefetch"] == {"value": 70, "source": "environment DISPATCHER_AMQP_PREFETCH"}
    assert shown["http.port"] == {"value": 8080, "source": "default"}
    assert shown["network.allow"]["value"] == ["10.0.0.0/8"]
    assert shown["network.proxy"]["value"] == "http://dispatcher:***@proxy.example.org:3128"
    assert shown["auth.admin_key"]["value"] == "***"
    assert shown["secrets.key"]["value"] == ["***", "***"]
    assert shown["database.url"]["value"] == "postgresql://dispatcher:***@db.example.org/jobs"
    assert KEY not in result.out
    assert PASSWORD not in result.out


def test_the_settings_are_a_table_for_people(run: Run) -> None:
    result = run("config", "show", DISPATCHER_HTTP_PORT="9999")

    [line] = [line for line in result.out.splitlines() if line.startswith("http.port ")]
    assert line.split() == ["http.port", "9999", "environment", "DISPATCHER_HTTP_PORT"]


def test_a_wrong_setting_is_named_in_place_of_the_others(run: Run) -> None:
    result = run("config", "show", DISPATCHER_HTTP_PORT="many")

    assert result.code == 2
    assert "http.port (environment DISPATCHER_HTTP_PORT)" in result.err


def test_the_version_is_that_of_the_package(run: Run) -> None:
    result = run("--version")

    assert (result.code, result.out) == (0, f"dispatcher {dispatcher.__version__}\n")
