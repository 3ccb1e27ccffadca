"""Settings: config/dispatcher.toml, then DISPATCHER_<SECTION>_<KEY>; a wrong one stops the start."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from secrets import token_urlsafe
from tempfile import NamedTemporaryFile
from typing import Annotated, Any, Literal, get_args, get_type_hints

from msgspec import Struct
from msgspec.structs import fields

from dispatcher.config_values import (
    MIN_SECRET,
    Network,
    Secret,
    Url,
    amqp_name,
    choice,
    database_url,
    domains,
    folder,
    hello_name,
    integer,
    networks,
    number,
    one_secret,
    optional_file,
    optional_url,
    proxy_url,
    public_url,
    secret_list,
    sender_address,
    switch,
    text,
    words,
)
from dispatcher.domain.errors import SettingsError
from dispatcher.domain.quotas import Quotas
from dispatcher.domain.retention import DAY, Keep

DEFAULT_PATH = Path("config/dispatcher.toml")

# The command line's own, those of the tests, and what Kubernetes sets for a Service named `dispatcher`.
_NOT_SETTINGS = re.compile(r"DISPATCHER_(CONFIG|SERVER|KEY|TEST_.*|SERVICE_.*|PORT(_.*)?)")

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["console", "json"]
ExchangeType = Literal["topic", "fanout"]
OpenTo = Literal["nobody", "loopback"]


class Database(Struct, frozen=True, kw_only=True):
    """Where everything is stored."""

    url: Annotated[Url, database_url] = Url("sqlite:///var/dispatcher.db")


class Amqp(Struct, frozen=True, kw_only=True):
    """The broker; without a URL there is none."""

    url: Annotated[Url | None, optional_url("amqp", "amqps")] = None
    exchange: Annotated[str, amqp_name] = "dispatcher.events"
    exchange_type: Annotated[ExchangeType, choice(*get_args(ExchangeType))] = "topic"
    queue: Annotated[str, amqp_name] = "dispatcher.intake"
    prefetch: Annotated[int, integer(1, 65535)] = 1000
    single_active_consumer: Annotated[bool, switch] = False
    declare: Annotated[bool, switch] = True


class Http(Struct, frozen=True, kw_only=True):
    """Where the API listens; port 0 takes one that is free. `public_url` is where people reach it.

    `max_waiters` is how many requests of all owners may wait for a job in one process.
    """

    host: Annotated[str, text("a host name or an address to listen on")] = "127.0.0.1"
    port: Annotated[int, integer(0, 65535)] = 8080
    public_url: Annotated[str | None, public_url] = None
    max_waiters: Annotated[int, integer(1, 1_000_000)] = 10_000


class Smtp(Struct, frozen=True, kw_only=True):
    """The mail relay; without a URL no e-mail is sent. Times are seconds, caps are messages."""

    url: Annotated[Url | None, optional_url("smtp", "smtps", "smtp+starttls")] = None
    sender: Annotated[str, sender_address] = "dispatcher@localhost"
    hello: Annotated[str, hello_name] = ""
    trusted_domains: Annotated[tuple[str, ...], domains] = ()
    templates: Annotated[Path | None, folder] = None
    timeout: Annotated[float, number("seconds", 0.1, 300)] = 15.0
    connections: Annotated[int, integer(1, 1000)] = 8
    max_per_hour: Annotated[int, integer(1, 1_000_000)] = 60
    max_per_domain: Annotated[int, integer(1, 1_000_000)] = 600
    confirmations_per_key: Annotated[int, integer(1, 100_000)] = 20
    confirmations_per_address: Annotated[int, integer(1, 1000)] = 2


class Auth(Struct, frozen=True, kw_only=True):
    """The key that may do everything; without one only stored keys work."""

    admin_key: Annotated[Secret | None, one_secret] = None


class Tapis(Struct, frozen=True, kw_only=True):
    """Whose tokens are accepted as X-Tapis-Token; without keys only API keys are. Without issuers any will do."""

    keys: Annotated[Path | None, optional_file] = None
    issuers: Annotated[tuple[str, ...], words("issuers such as https://dev.tapis.io/v3/tokens")] = ()


class Tethys(Struct, frozen=True, kw_only=True):
    """Who may report a job's status as to a Tethys portal without a token; "loopback" is this machine."""

    open_to: Annotated[OpenTo, choice(*get_args(OpenTo))] = "nobody"


class Secrets(Struct, frozen=True, kw_only=True):
    """What seals secrets in the store: the first key seals, all open. Without one see `secret_keys`."""

    key: Annotated[tuple[Secret, ...], secret_list] = ()


class NetworkSettings(Struct, frozen=True, kw_only=True):
    """Addresses that deliveries may reach although they are not public, and the egress proxy of HTTP targets."""

    allow: Annotated[tuple[Network, ...], networks] = ()
    proxy: Annotated[Url | None, proxy_url] = None


class Log(Struct, frozen=True, kw_only=True):
    """What is logged, and in which form."""

    level: Annotated[LogLevel, choice(*get_args(LogLevel))] = "info"
    format: Annotated[LogFormat, choice(*get_args(LogFormat))] = "console"


class Delivery(Struct, frozen=True, kw_only=True):
    """Bounds of one process: `concurrency` and `queue` are deliveries per destination, times are seconds."""

    concurrency: Annotated[int, integer(1, 1000)] = 64
    queue: Annotated[int, integer(1, 100_000)] = 1000
    timeout: Annotated[float, number("seconds", 0.1, 300)] = 15.0
    lease: Annotated[float, number("seconds", 5, 3600)] = 60.0
    grace: Annotated[float, number("seconds", 0, 3600)] = 20.0
    max_in_memory: Annotated[int, integer(1, 1_000_000)] = 5000


class QuotaSettings(Struct, frozen=True, kw_only=True):
    """What one owner and one tenant may use; 0 is no limit; see `dispatcher.domain.quotas.Quotas`."""

    subscriptions: Annotated[int, integer(0, 1_000_000_000)] = 10_000
    destinations: Annotated[int, integer(0, 1_000_000_000)] = 1_000
    events_per_minute: Annotated[int, integer(0, 1_000_000_000)] = 600_000
    deliveries_per_minute: Annotated[int, integer(0, 1_000_000_000)] = 3_000_000
    stored_mib: Annotated[int, integer(0, 1_000_000_000)] = 50_000
    waiters: Annotated[int, integer(0, 1_000_000_000)] = 1_000
    tenant_subscriptions: Annotated[int, integer(0, 1_000_000_000)] = 1_000_000

    @property
    def of_owner(self) -> Quotas:
        """The defaults of an owner."""
        return Quotas(
            subscriptions=self.subscriptions,
            destinations=self.destinations,
            events_per_minute=self.events_per_minute,
            deliveries_per_minute=self.deliveries_per_minute,
            stored_mib=self.stored_mib,
            waiters=self.waiters,
        )


class RetentionSettings(Struct, frozen=True, kw_only=True):
    """For how many days, or parts of one, what has ended is kept; see `dispatcher.domain.retention.Keep`."""

    delivered: Annotated[float, number("days", 0.003, 36_500)] = 30
    exhausted: Annotated[float, number("days", 0.003, 36_500)] = 90

    @property
    def keep(self) -> Keep:
        """The same as times."""
        return Keep(delivered=self.delivered * DAY, exhausted=self.exhausted * DAY)


class Settings(Struct, frozen=True, kw_only=True):
    """All settings, checked."""

    database: Database = Database()
    amqp: Amqp = Amqp()
    http: Http = Http()
    smtp: Smtp = Smtp()
    auth: Auth = Auth()
    tapis: Tapis = Tapis()
    tethys: Tethys = Tethys()
    secrets: Secrets = Secrets()
    network: NetworkSettings = NetworkSettings()
    log: Log = Log()
    delivery: Delivery = Delivery()
    retention: RetentionSettings = RetentionSettings()
    quotas: QuotaSettings = QuotaSettings()


SECTIONS: Mapping[str, type[Struct]] = {f.name: f.type for f in fields(Settings)}
"""The sections of the file, and what is in each."""


def load(environ: Mapping[str, str] = os.environ, path: Path | None = None) -> Settings:
    """The settings of the file at `path`, with what the environment says instead.

    Without a path it is the one in DISPATCHER_CONFIG, or `config/dispatcher.toml` when that exists. Raises
    SettingsError that names the first setting that is unknown or malformed.
    """
    found: dict[str, dict[str, object]] = {section: {} for section in SECTIONS}
    for section, key, raw, source in _given(environ, path):
        try:
            found[section][key] = _PARSERS[section, key](raw)
        except ValueError as error:
            raise SettingsError(f"{section}.{key} ({source}): {error}") from None
    # Any, because each parser gives what its field is annotated with, which no type of a mapping can say.
    sections: dict[str, Any] = {name: SECTIONS[name](**values) for name, values in found.items()}
    settings = Settings(**sections)
    _check_lease(settings.delivery)
    _check_retention(settings.retention)
    return settings


def sources(environ: Mapping[str, str] = os.environ, path: Path | None = None) -> dict[str, str]:
    """Where each setting that is not a default was given, by its name `section.key`; for what `load` accepts."""
    return {f"{section}.{key}": source for section, key, _, source in _given(environ, path)}


def _check_lease(delivery: Delivery) -> None:
    # A heartbeat comes four times in a lease, and an attempt begins only when the lease outlasts it.
    if delivery.lease < 2 * delivery.timeout:
        raise SettingsError(
            f"delivery.lease: {delivery.lease:g} s, expected at least twice delivery.timeout ({delivery.timeout:g} s), "
            "so that an attempt ends before others may take it over"
        )


def _check_retention(retention: RetentionSettings) -> None:
    if retention.exhausted < retention.delivered:
        raise SettingsError(
            f"retention.exhausted: {retention.exhausted:g} days, expected at least retention.delivered "
            f"({retention.delivered:g} days)"
        )


_Setting = tuple[str, str, object, str]
"""Section, key, the value as it was written, and where."""


def _parsers() -> dict[tuple[str, str], Callable[[object], object]]:
    return {
        (section, key): hint.__metadata__[0]
        for section, struct in SECTIONS.items()
        for key, hint in get_type_hints(struct, include_extras=True).items()
    }


_PARSERS = _parsers()


def _path(environ: Mapping[str, str], path: Path | None) -> Path | None:
    if path is not None:
        return path
    if named := environ.get("DISPATCHER_CONFIG"):
        return Path(named)
    return DEFAULT_PATH if DEFAULT_PATH.exists() else None


def _given(environ: Mapping[str, str], path: Path | None) -> Iterator[_Setting]:
    """What was written, the file first: of two for one setting the later one counts."""
    yield from _from_file(_path(environ, path))
    yield from _from_environment(environ)


def _from_file(path: Path | None) -> Iterator[_Setting]:
    if path is None:
        return
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: expected TOML: {error}") from None
    for section, values in document.items():
        if section not in SECTIONS:
            raise SettingsError(f"{path} [{section}]: unknown section{_nearest(section, SECTIONS)}")
        if not isinstance(values, dict):
            raise SettingsError(f"{path} {section}: expected a section, [{section}] on a separate line")
        for key, raw in values.items():
            source = f"{path} [{section}] {key}"
            if (section, key) not in _PARSERS:
                names = [k for s, k in _PARSERS if s == section]
                raise SettingsError(f"{source}: unknown setting{_nearest(key, names)}")
            yield section, key, raw, source


def _from_environment(environ: Mapping[str, str]) -> Iterator[_Setting]:
    names = {f"DISPATCHER_{section}_{key}".upper(): (section, key) for section, key in _PARSERS}
    for name, raw in environ.items():
        if name in names:
            yield *names[name], raw, f"environment {name}"
        elif name.startswith("DISPATCHER_") and not _NOT_SETTINGS.fullmatch(name):
            raise SettingsError(f"environment {name}: unknown setting{_nearest_variable(name, names)}")


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known are {', '.join(names)}"


def _nearest_variable(name: str, known: Iterable[str]) -> str:
    # The prefix that all have in common would make any name look close to any other.
    ends = [variable.removeprefix("DISPATCHER_") for variable in known]
    close = difflib.get_close_matches(name.removeprefix("DISPATCHER_"), ends, n=1)
    return f"; did you mean DISPATCHER_{close[0]}?" if close else "; config/dispatcher.toml has them all"


def sqlite_file(url: Url) -> Path | None:
    """The file of an SQLite database; None for PostgreSQL."""
    return Path(url.parts.path.removeprefix("/")) if url.parts.scheme == "sqlite" else None


def secret_keys(settings: Settings) -> list[str]:
    """The keys that open the secrets in the store, the one that seals first.

    SQLite needs no setting: without one a key is made and kept beside the database, in `<database>.key`,
    which only its owner may read. Raises SettingsError with PostgreSQL, or when that file cannot be made or
    read.
    """
    if settings.secrets.key:
        return [key.reveal() for key in settings.secrets.key]
    database = sqlite_file(settings.database.url)
    if database is None:
        raise SettingsError(
            "secrets.key (environment DISPATCHER_SECRETS_KEY): expected a key, the same in every "
            "process, because with PostgreSQL none is made. Make one with: openssl rand -base64 48"
        )
    path = key_file(database)
    try:
        if not path.exists():
            _make_key_file(path)
        return [_kept_key(path)]
    except OSError as error:
        raise SettingsError(
            f"secrets.key: {path} cannot be made or read ({error.strerror}); expected a file that "
            "this user may write, or a key in DISPATCHER_SECRETS_KEY"
        ) from None


def key_file(database: Path) -> Path:
    """Where the key of an SQLite database is kept."""
    return database.with_name(f"{database.name}.key")


def _make_key_file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Written under another name and then linked: of two processes that start together one key wins, and
    # no process ever sees half of it. A temporary file is made for its owner only.
    with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.") as file, suppress(FileExistsError):
        file.write(token_urlsafe(48))
        file.flush()
        os.fsync(file.fileno())
        os.link(file.name, path)


def _kept_key(path: Path) -> str:
    key = path.read_text().strip()
    if len(key) < MIN_SECRET:
        raise SettingsError(f"secrets.key: {path} holds {len(key)} characters, expected {MIN_SECRET} or more")
    return key
