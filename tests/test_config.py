from __future__ import annotations

import os
import stat
import tomllib
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec.structs import fields

from dispatcher.config.loading import load, old_names, sources
from dispatcher.config.secret_keys import key_file, secret_keys, sqlite_file
from dispatcher.config.settings import SECTIONS, Settings
from dispatcher.config.types import Secret, Url
from dispatcher.domain.errors import SettingsError
from dispatcher.domain.retention import DAY, Keep

REFERENCE = Path(__file__).parent.parent / "config" / "dispatcher.toml"
KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refusal(environ: dict[str, str], path: Path | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        load(environ, path)
    return str(caught.value)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "settings.toml"
    path.write_text(text)
    return path


# Where settings come from


def test_a_setting_may_be_given_by_its_old_name_and_value_until_1_0(tmp_path: Path) -> None:
    path = written(tmp_path, '[tethys]\nopen_to = "nobody"\n')
    assert load({}, path).tethys.allow == "none"
    environ = {"DISPATCHER_TETHYS_OPEN_TO": "loopback"}
    assert load(environ, path).tethys.allow == "loopback"
    assert sources(environ, path) == {"tethys.allow": "environment DISPATCHER_TETHYS_OPEN_TO"}
    [sentence] = old_names(environ)
    assert sentence.startswith(
        "environment DISPATCHER_TETHYS_OPEN_TO: this setting is called tethys.allow now"
    )
    assert old_names({"DISPATCHER_TETHYS_ALLOW": "loopback"}) == []
    assert "environment DISPATCHER_TETHYS_OPEN_TO" in refusal({"DISPATCHER_TETHYS_OPEN_TO": "all"})


def test_without_a_file_and_an_environment_the_defaults_hold() -> None:
    assert load({}) == Settings()


def test_the_reference_file_says_the_defaults() -> None:
    assert load({}, REFERENCE) == Settings()


def test_the_reference_file_has_every_setting_and_no_other() -> None:
    document = tomllib.loads(REFERENCE.read_text())
    assert {section: list(values) for section, values in document.items()} == {
        section: [field.name for field in fields(struct)] for section, struct in SECTIONS.items()
    }


def test_the_reference_file_explains_every_setting() -> None:
    pairs = pairwise(REFERENCE.read_text().splitlines())
    settings = [(before, line) for before, line in pairs if " = " in line and not line.startswith("#")]
    assert len(settings) == sum(len(fields(struct)) for struct in SECTIONS.values())
    assert [line for before, line in settings if not before.startswith("# ")] == []


def test_a_file_changes_what_it_names(tmp_path: Path) -> None:
    path = written(tmp_path, '[http]\nport = 9000\n[network]\nallow = ["10.0.0.0/8", "::1/128"]\n')
    settings = load({}, path)
    assert settings.http.port == 9000
    assert settings.http.host == "127.0.0.1"
    assert settings.network.allow == (ip_network("10.0.0.0/8"), ip_network("::1/128"))


def test_a_file_of_an_editor_that_marks_utf_8_is_read(tmp_path: Path) -> None:
    path = tmp_path / "marked.toml"
    path.write_bytes('\ufeff[smtp]\nsender = "Zoë <jobs@example.org>"\n'.encode())
    assert load({}, path).smtp.sender == "Zoë <jobs@example.org>"


def test_the_environment_wins(tmp_path: Path) -> None:
    path = written(tmp_path, '[http]\nport = 9000\nhost = "::1"\n')
    settings = load({"DISPATCHER_HTTP_PORT": "9001"}, path)
    assert (settings.http.host, settings.http.port) == ("::1", 9001)


def test_the_environment_names_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "[http]\nport = 9000\n")
    assert load({"DISPATCHER_CONFIG": str(path)}).http.port == 9000


def test_the_file_in_the_working_directory_is_read(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "dispatcher.toml").write_text("[http]\nport = 9000\n")
    assert load({}).http.port == 9000


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    assert (
        refusal({"DISPATCHER_CONFIG": str(missing)})
        == f"{missing}: cannot be read (No such file or directory)"
    )


def test_every_setting_has_a_variable() -> None:
    environ = {
        "DISPATCHER_DATABASE_URL": "postgresql://u:p@db/dispatcher",
        "DISPATCHER_AMQP_URL": "amqps://u:p@mq/",
        "DISPATCHER_AMQP_EXCHANGE": "jobs",
        "DISPATCHER_AMQP_QUEUE": "jobs.in",
        "DISPATCHER_AMQP_EXCHANGE_TYPE": "fanout",
        "DISPATCHER_AMQP_BINDINGS": "job.#, task.*",
        "DISPATCHER_AMQP_SINGLE_ACTIVE_CONSUMER": "true",
        "DISPATCHER_AMQP_DECLARE": "false",
        "DISPATCHER_AMQP_PREFETCH": "10",
        "DISPATCHER_HTTP_HOST": "0.0.0.0",
        "DISPATCHER_HTTP_PORT": "80",
        "DISPATCHER_HTTP_MAX_WAITERS": "7",
        "DISPATCHER_HTTP_PUBLIC_URL": "https://jobs.example.org/",
        "DISPATCHER_SMTP_URL": "smtp+starttls://u:p@mail:587",
        "DISPATCHER_SMTP_SENDER": "Jobs <jobs@example.org>",
        "DISPATCHER_SMTP_HELLO": "Jobs.Example.org",
        "DISPATCHER_SMTP_TRUSTED_DOMAINS": "example.org, Example.com",
        "DISPATCHER_SMTP_TEMPLATES": "mails",
        "DISPATCHER_SMTP_TIMEOUT": "7",
        "DISPATCHER_SMTP_CONNECTIONS": "3",
        "DISPATCHER_SMTP_MAX_PER_HOUR": "5",
        "DISPATCHER_SMTP_MAX_PER_DOMAIN": "50",
        "DISPATCHER_SMTP_CONFIRMATIONS_PER_KEY": "4",
        "DISPATCHER_SMTP_CONFIRMATIONS_PER_ADDRESS": "1",
        "DISPATCHER_AUTH_ADMIN_KEY": KEY,
        "DISPATCHER_TAPIS_KEYS": "tapis.jwks",
        "DISPATCHER_TAPIS_ADMINS": "root@dev, ops@prod",
        "DISPATCHER_TAPIS_ISSUERS": "https://a.example/v3/tokens, https://b.example/v3/tokens",
        "DISPATCHER_TETHYS_ALLOW": "loopback",
        "DISPATCHER_SECRETS_KEY": f"{KEY}, {KEY[::-1]}",
        "DISPATCHER_NETWORK_ALLOW": "10.0.0.0/8,fd00::/8",
        "DISPATCHER_NETWORK_PROXY": "http://u:p@proxy.example.org:3128",
        "DISPATCHER_LOG_LEVEL": "WARNING",
        "DISPATCHER_LOG_FORMAT": "json",
        "DISPATCHER_DELIVERY_CONCURRENCY": "2",
        "DISPATCHER_DELIVERY_QUEUE": "3",
        "DISPATCHER_DELIVERY_TIMEOUT": "4.5",
        "DISPATCHER_DELIVERY_LEASE": "30",
        "DISPATCHER_DELIVERY_GRACE": "0",
        "DISPATCHER_DELIVERY_MAX_IN_MEMORY": "6",
        "DISPATCHER_RETENTION_DELIVERED": "7",
        "DISPATCHER_RETENTION_EXHAUSTED": "8",
        "DISPATCHER_QUOTAS_SUBSCRIPTIONS": "1",
        "DISPATCHER_QUOTAS_DESTINATIONS": "2",
        "DISPATCHER_QUOTAS_EVENTS_PER_MINUTE": "3",
        "DISPATCHER_QUOTAS_DELIVERIES_PER_MINUTE": "4",
        "DISPATCHER_QUOTAS_STORED_MIB": "5",
        "DISPATCHER_QUOTAS_WAITERS": "6",
        "DISPATCHER_QUOTAS_TENANT_SUBSCRIPTIONS": "0",
    }
    changed, default = load(environ), Settings()
    names = {f"DISPATCHER_{s}_{f.name}".upper() for s, struct in SECTIONS.items() for f in fields(struct)}
    assert names == environ.keys()
    for section, struct in SECTIONS.items():
        for field in fields(struct):
            value = getattr(getattr(changed, section), field.name)
            assert value != getattr(getattr(default, section), field.name), f"{section}.{field.name}"
    assert changed.amqp.url == Url("amqps://u:p@mq/")
    assert changed.amqp.bindings == ("job.#", "task.*")
    assert changed.smtp.trusted_domains == ("example.org", "example.com")
    assert changed.log.level == "warning"
    assert changed.secrets.key == (Secret(KEY), Secret(KEY[::-1]))


def test_bindings_are_a_list_or_have_commas_between_them(tmp_path: Path) -> None:
    file = tmp_path / "dispatcher.toml"
    file.write_text('[amqp]\nexchange = "amq.topic"\nbindings = ["job.#", "a,b"]\n')
    assert load({}, file).amqp.bindings == ("job.#", "a,b")
    assert load({"DISPATCHER_AMQP_BINDINGS": "a,b"}, file).amqp.bindings == ("a", "b")
    for nothing in ("", "é" * 128):
        assert "amqp.bindings" in refusal({"DISPATCHER_AMQP_BINDINGS": nothing}, file)


@pytest.mark.parametrize(
    "name",
    ["AMQP_URL", "SMTP_URL", "SMTP_TRUSTED_DOMAINS", "AUTH_ADMIN_KEY", "SECRETS_KEY", "NETWORK_ALLOW"],
)
def test_an_empty_variable_means_none(name: str) -> None:
    assert load({f"DISPATCHER_{name}": ""}) == Settings()


@pytest.mark.parametrize(
    "name",
    [
        "DISPATCHER_SERVER",
        "DISPATCHER_KEY",
        "DISPATCHER_TEST_AMQP_URL",
        "DISPATCHER_SERVICE_HOST",
        "DISPATCHER_PORT_8080_TCP_ADDR",
        "OTHER_THING",
    ],
)
def test_variables_that_are_no_settings_are_left_alone(name: str) -> None:
    assert load({name: "tcp://10.0.0.1:8080"}) == Settings()


# What stops the start: its name, where it came from, what was expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[htpp]\nport = 1", "{path} [htpp]: unknown section; did you mean http?"),
        ("[zzz]", "{path} [zzz]: unknown section; known are database, amqp, http, smtp,"),
        ("[http]\nprot = 1", "{path} [http] prot: unknown setting; did you mean port?"),
        ("[http]\nzzz = 1", "{path} [http] zzz: unknown setting; known are host, port"),
        ("http = 1", "{path} http: expected a section, [http] on a separate line"),
        ("[http]\nport = ", "{path}: expected TOML: Invalid value (at "),
        (
            '[amqp]\nprefetch = "many"',
            "amqp.prefetch ({path} [amqp] prefetch): expected a whole number from 1 to 65535, got 'many'",
        ),
        (
            "[http]\nport = true",
            "http.port ({path} [http] port): expected a whole number from 0 to 65535, got True",
        ),
        (
            "[network]\nallow = [1]",
            "network.allow ({path} [network] allow): expected networks such as 10.0.0.0/8, fd00::/8",
        ),
        (
            "[log]\nlevel = 3",
            "log.level ({path} [log] level): expected one of debug, info, warning, error, got 3",
        ),
        ("[secrets]\nkey = 3", "secrets.key ({path} [secrets] key): expected keys of 32 characters or more"),
        (
            "[auth]\nadmin_key = 3",
            "auth.admin_key ({path} [auth] admin_key): expected a text of 32 characters",
        ),
        (
            "[http]\nhost = 3",
            "http.host ({path} [http] host): expected a host name or an address to listen on",
        ),
        (
            "[delivery]\ngrace = true",
            "delivery.grace ({path} [delivery] grace): expected seconds, a number from",
        ),
    ],
)
def test_a_wrong_file_says_where_and_what_would_be_right(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    assert refusal({}, path).startswith(message.format(path=path))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("AMQP_PREFETCH", "0", "expected a whole number from 1 to 65535, got '0'"),
        ("AMQP_PREFETCH", "1.5", "expected a whole number from 1 to 65535, got '1.5'"),
        ("AMQP_EXCHANGE", "", "expected a name of 1 to 255 bytes, got ''"),
        (
            "AMQP_QUEUE",
            "amq.mine",
            "expected a name of 1 to 250 bytes that does not start with amq., got 'amq.mine'",
        ),
        ("AMQP_QUEUE", "ü" * 126, "expected a name of 1 to 250 bytes that does not start with amq., got 'üü"),
        (
            "AMQP_URL",
            "http://mq/",
            "expected amqp:// or amqps:// and then user:password@host:port, or nothing, got a",
        ),
        ("AMQP_URL", "amqp:///vhost", "or nothing, got a URL without a host"),
        ("AMQP_URL", "mq:5672", "expected amqp:// or amqps://"),
        ("AMQP_URL", "amqp://u:p@mq:0/", "a password is percent-encoded"),
        (
            "DATABASE_URL",
            "",
            "expected sqlite:///path/to/file.db or postgresql://user:password@host:port/database",
        ),
        ("DATABASE_URL", "postgres://db/x", "got a URL that starts with postgres:"),
        ("DATABASE_URL", "sqlite://var/x.db", "after sqlite:/// comes the path of a file"),
        ("DATABASE_URL", "sqlite:///", "after sqlite:/// comes the path of a file"),
        ("DATABASE_URL", "sqlite:///var/", "after sqlite:/// comes the path of a file"),
        ("DATABASE_URL", "sqlite:///:memory:", "after sqlite:/// comes the path of a file"),
        (
            "DATABASE_URL",
            "postgresql://u:p@db:port/x",
            "its host or port is none (a password is percent-encoded)",
        ),
        ("DATABASE_URL", "postgresql://u:p@db/x#w", "a password is percent-encoded, so # is %23"),
        ("HTTP_HOST", " ", "expected a host name or an address to listen on, got ' '"),
        ("HTTP_PORT", "65536", "expected a whole number from 0 to 65535, got '65536'"),
        (
            "SMTP_URL",
            "mail:25",
            "expected smtp:// or smtps:// or smtp+starttls:// and then user:password@host:port",
        ),
        ("HTTP_PUBLIC_URL", "jobs.example.org", "expected a URL such as https://dispatcher.example.org"),
        ("HTTP_PUBLIC_URL", "ftp://x", "expected a URL such as https://dispatcher.example.org, or nothing"),
        ("HTTP_PUBLIC_URL", "https://u:p@x", "without a user and a query"),
        ("HTTP_PUBLIC_URL", "https://x/?a=b", "without a user and a query"),
        ("HTTP_PUBLIC_URL", "https://bücher.example", "or nothing, in ASCII"),
        ("SMTP_SENDER", "jürgen@example.org", "expected an address such as Dispatcher <noreply@example.org>"),
        (
            "NETWORK_PROXY",
            "proxy.example.org:3128",
            "expected http:// and then user:password@host:port, or nothing",
        ),
        ("NETWORK_PROXY", "https://proxy.example.org", "got a URL that starts with https:"),
        ("NETWORK_PROXY", "http://proxy.example.org/path", "or nothing; without a path"),
        ("NETWORK_PROXY", "http://user:p%E2%82%AC@proxy.example.org", "user and password in Latin-1"),
        ("NETWORK_PROXY", "http://us%3Aer:pass@proxy.example.org", "and no colon in the user"),
        ("SMTP_HELLO", "my host", "expected a host such as jobs.example.org, an address such as [192.0.2.7]"),
        ("SMTP_HELLO", "jobs\r\nRSET", "expected a host such as jobs.example.org"),
        ("SMTP_HELLO", "[2001:db8::7]", "or [IPv6:2001:db8::7], or nothing"),
        ("SMTP_HELLO", "[IPv6:192.0.2.7]", "or [IPv6:2001:db8::7], or nothing"),
        ("SMTP_HELLO", "[192.0.2.7", "or [IPv6:2001:db8::7], or nothing"),
        ("SMTP_SENDER", "jobs", "expected an address such as Dispatcher <noreply@example.org>, got 'jobs'"),
        ("SMTP_SENDER", "a@b\r\nBcc: c@d", "expected an address such as Dispatcher <noreply@example.org>"),
        (
            "SMTP_TRUSTED_DOMAINS",
            "@example.org",
            "expected domains such as example.org, example.com, got '@example.",
        ),
        ("AUTH_ADMIN_KEY", "x" * 31, "expected 32 characters or more, got 31"),
        ("SECRETS_KEY", f"{KEY},short", "key 2: expected 32 characters or more, got 5"),
        ("SECRETS_KEY", f"{KEY},,{KEY}", "with commas between them; there is nothing between two commas"),
        ("NETWORK_ALLOW", "10.0.0.0/33", "expected networks such as 10.0.0.0/8, fd00::/8, got '10.0.0.0/33'"),
        (
            "NETWORK_ALLOW",
            "10.1.2.3/8",
            "expected 10.0.0.0/8 for the network, or 10.1.2.3/32 for this address alone",
        ),
        (
            "NETWORK_ALLOW",
            "fd00::1/8",
            "expected fd00::/8 for the network, or fd00::1/128 for this address alone",
        ),
        ("LOG_LEVEL", "loud", "expected one of debug, info, warning, error, got 'loud'"),
        ("LOG_FORMAT", "xml", "expected one of console, json, got 'xml'"),
        ("DELIVERY_CONCURRENCY", "0", "expected a whole number from 1 to 1000, got '0'"),
        ("DELIVERY_TIMEOUT", "nan", "expected seconds, a number from 0.1 to 300, got 'nan'"),
        ("DELIVERY_LEASE", "soon", "expected seconds, a number from 5 to 3600, got 'soon'"),
    ],
)
def test_a_wrong_variable_is_named_with_what_was_expected(name: str, value: str, expected: str) -> None:
    section, key = name.lower().split("_", 1)
    message = refusal({f"DISPATCHER_{name}": value})
    assert message.startswith(f"{section}.{key} (environment DISPATCHER_{name}): ")
    assert expected in message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("DISPATCHER_AMQP_PREFECTH", "unknown setting; did you mean DISPATCHER_AMQP_PREFETCH?"),
        ("DISPATCHER_QQQ", "unknown setting; config/dispatcher.toml has them all"),
    ],
)
def test_an_unknown_variable_is_named_with_the_nearest_known_one(name: str, message: str) -> None:
    assert refusal({name: "1"}) == f"environment {name}: {message}"


# Secrets


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AUTH_ADMIN_KEY", "hunter22"),
        ("SECRETS_KEY", f"{KEY},hunter22"),
        ("DATABASE_URL", "mysql://u:hunter22@db/x"),
        ("DATABASE_URL", "postgresql://u:hunter22@db:x/x"),
        ("DATABASE_URL", "postgresql://u:hunt/er22@db/hunter22"),
        ("AMQP_URL", "http://u:hunter22@mq/"),
        ("AMQP_URL", "u:hunter22@mq"),
        ("SMTP_URL", "smtp://u:hunter22#@mail"),
        ("NETWORK_PROXY", "http://u:hunter22%E2%82%AC@proxy"),
    ],
)
def test_a_refused_secret_is_not_repeated(name: str, value: str) -> None:
    message = refusal({f"DISPATCHER_{name}": value})
    assert "hunter" not in message
    assert "er22" not in message


def test_a_secret_shows_in_no_form_but_revealed() -> None:
    settings = load(
        {"DISPATCHER_AUTH_ADMIN_KEY": KEY, "DISPATCHER_AMQP_URL": "amqp://u:hunter22@mq/v?x=hunter22"}
    )
    assert KEY not in f"{settings!r} {settings} {settings.auth.admin_key} {settings.auth.admin_key!r}"
    assert "hunter22" not in f"{settings!r} {settings.amqp.url} {settings.amqp.url!r}"
    assert str(settings.amqp.url) == "amqp://u:***@mq/v"
    assert settings.auth.admin_key is not None
    assert settings.auth.admin_key.reveal() == KEY


def test_a_url_without_a_password_is_shown_as_it_is() -> None:
    assert str(Url("sqlite:///var/x.db")) == "sqlite:///var/x.db"
    assert str(Url("amqp://guest@mq:5672/v")) == "amqp://guest@mq:5672/v"


def test_secrets_are_equal_by_what_they_hold() -> None:
    assert Secret(KEY) == Secret(KEY)
    assert hash(Secret(KEY)) == hash(Secret(KEY))
    assert Secret(KEY) != Secret("x")
    assert Secret("x://") != Url("x://")


# The keys that seal secrets in the store


def sqlite_settings(path: Path) -> Settings:
    return load({"DISPATCHER_DATABASE_URL": f"sqlite:///{path}"})


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///var/x.db", Path("var/x.db")),
        ("sqlite:////srv/x.db", Path("/srv/x.db")),
        ("postgresql://h/x", None),
    ],
)
def test_the_file_of_an_sqlite_database_is_found(url: str, path: Path | None) -> None:
    assert sqlite_file(Url(url)) == path


def test_keys_from_the_settings_are_taken_in_their_order(tmp_path: Path) -> None:
    settings = load({"DISPATCHER_SECRETS_KEY": f"{KEY},{KEY[::-1]}"})
    assert secret_keys(settings) == [KEY, KEY[::-1]]
    assert list(tmp_path.iterdir()) == []


def test_with_sqlite_a_key_is_made_beside_the_database_for_its_owner_only(tmp_path: Path) -> None:
    database = tmp_path / "new" / "x.db"
    (key,) = secret_keys(sqlite_settings(database))
    assert len(key) >= 32
    assert stat.S_IMODE(key_file(database).stat().st_mode) == 0o600
    assert [path.name for path in database.parent.iterdir()] == ["x.db.key"]


def test_a_kept_key_stays_the_same(tmp_path: Path) -> None:
    settings = sqlite_settings(tmp_path / "x.db")
    assert secret_keys(settings) == secret_keys(settings)


def test_of_many_that_start_together_one_key_wins(tmp_path: Path) -> None:
    settings = sqlite_settings(tmp_path / "x.db")
    with ThreadPoolExecutor(16) as pool:
        keys = list(pool.map(lambda _: secret_keys(settings)[0], range(64)))
    assert len(set(keys)) == 1


def test_a_kept_key_that_is_too_short_is_refused(tmp_path: Path) -> None:
    settings = sqlite_settings(tmp_path / "x.db")
    (tmp_path / "x.db.key").write_text("short\n")
    with pytest.raises(SettingsError, match=r"x\.db\.key holds 5 characters, expected 32 or more"):
        secret_keys(settings)


def test_a_key_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"x\.db\.key cannot be made or read .*DISPATCHER_SECRETS_KEY"):
        secret_keys(sqlite_settings(tmp_path / "file" / "x.db"))


def test_postgresql_needs_a_key_and_the_refusal_says_how_to_make_one() -> None:
    settings = load({"DISPATCHER_DATABASE_URL": "postgresql://u:hunter22@db/x"})
    with pytest.raises(SettingsError, match=r"DISPATCHER_SECRETS_KEY.*openssl rand -base64 48") as caught:
        secret_keys(settings)
    assert "hunter22" not in str(caught.value)


def test_the_process_environment_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("DISPATCHER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DISPATCHER_HTTP_PORT", "9002")
    assert load().http.port == 9002


def test_what_failed_is_not_kept_shorter_than_what_was_delivered() -> None:
    message = refusal({"DISPATCHER_RETENTION_DELIVERED": "100"})
    assert message == "retention.exhausted: 90 days, expected at least retention.delivered (100 days)"
    kept = load({"DISPATCHER_RETENTION_DELIVERED": "7", "DISPATCHER_RETENTION_EXHAUSTED": "7"}).retention.keep
    assert kept == Keep(delivered=7 * DAY, exhausted=7 * DAY)
    hours = load({"DISPATCHER_RETENTION_DELIVERED": "0.25"}).retention.keep
    assert hours == Keep(delivered=DAY / 4, exhausted=90 * DAY)
    message = refusal({"DISPATCHER_RETENTION_DELIVERED": "0.001"})
    assert "expected days, a number from 0.003 to 36500" in message


def test_a_lease_that_an_attempt_could_outlast_is_refused() -> None:
    message = refusal({"DISPATCHER_DELIVERY_LEASE": "20"})
    assert message.startswith("delivery.lease: 20 s, expected at least twice delivery.timeout (15 s)")
    assert load({"DISPATCHER_DELIVERY_LEASE": "30"}).delivery.lease == 30
