"""What `dispatcher doctor` looks at. No check changes anything, and none shows a secret."""

from __future__ import annotations

import sqlite3
import ssl
import stat
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, quote

from msgspec.structs import astuple

from dispatcher.config.loading import DEFAULT_PATH, load, old_names
from dispatcher.config.secret_keys import key_file, secret_keys, sqlite_file
from dispatcher.config.settings import Amqp, Settings
from dispatcher.config.types import Secret, Url
from dispatcher.domain.errors import SettingsError, StoreUnavailable

if TYPE_CHECKING:
    from aio_pika.abc import AbstractConnection

_TABLES = "select relname from pg_class where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p')"

TIMEOUT = 10.0
"""Seconds that a broker or a relay has to answer."""


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(NamedTuple):
    """What one check found, and what to do about it."""

    what: str
    state: State
    found: str
    advice: str = ""


def settings_file(environ: Mapping[str, str]) -> Finding:
    """Whether the file with the settings is there, and whether others can read secrets in it."""
    path = Path(environ.get("DISPATCHER_CONFIG") or DEFAULT_PATH)
    if not path.exists():
        return Finding("settings", State.OK, "defaults and the environment")
    if _readable_by_others(path) and _holds_secrets(load({}, path)):
        return Finding(
            "settings", State.WARN, f"{path} holds secrets that others can read", f"chmod 600 {path}"
        )
    return Finding("settings", State.OK, str(path))


def renamed_settings(environ: Mapping[str, str]) -> list[Finding]:
    """A warning for each setting that is given by its old name."""
    return [Finding("settings", State.WARN, one, "use the new name") for one in old_names(environ)]


def _holds_secrets(settings: Settings) -> bool:
    return any(_is_secret(value) for section in astuple(settings) for value in astuple(section))


def _is_secret(value: object) -> bool:
    """Whether a setting is a key, some keys, or a URL with a password."""
    if isinstance(value, tuple):
        return any(map(_is_secret, value))
    if isinstance(value, Url):
        return bool(value.parts.password) or "password" in parse_qs(value.parts.query)
    return isinstance(value, Secret)


def _readable_by_others(path: Path) -> bool:
    return bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))


def admin_key(settings: Settings) -> Finding:
    """Whether there is an admin key."""
    if settings.auth.admin_key is None:
        advice = "set DISPATCHER_AUTH_ADMIN_KEY, or keep the key that the first start shows"
        return Finding("admin key", State.WARN, "none in the settings", advice)
    return Finding("admin key", State.OK, "set")


def plugins(settings: Settings) -> list[Finding]:
    """What the plugins for other systems say of their settings."""
    from dispatcher import compat

    return [
        Finding(one.what, State.FAIL, one.found, "the service does not start with it")
        if one.problem
        else Finding(one.what, State.OK, one.found)
        for one in compat.diagnose(settings)
    ]


def secrets_key(settings: Settings) -> Finding:
    """Whether secrets in the database can be sealed and opened."""
    if count := len(settings.secrets.key):
        return Finding("secrets key", State.OK, "set" if count == 1 else f"set: the first of {count} seals")
    database = sqlite_file(settings.database.url)
    path = None if database is None else key_file(database)
    if path is not None and not path.exists():
        return Finding("secrets key", State.OK, f"none yet: the next start makes {path}")
    try:
        secret_keys(settings)
    except SettingsError as error:
        return Finding("secrets key", State.FAIL, str(error), "set DISPATCHER_SECRETS_KEY")
    if path is not None and _readable_by_others(path):
        return Finding("secrets key", State.WARN, f"others can read {path}", f"chmod 600 {path}")
    return Finding("secrets key", State.OK, f"in {path}: keep it apart from the database's backup")


async def database(settings: Settings) -> Finding:
    """Whether the database answers, and which version its schema has."""
    import asyncpg

    url = settings.database.url
    file = sqlite_file(url)
    try:
        revision, tables = await _postgres_schema(url.reveal()) if file is None else _sqlite_schema(file)
    except SettingsError as error:
        return Finding("database", State.FAIL, str(error), "the service does not start with it")
    except (
        *(OSError, TimeoutError, StoreUnavailable, sqlite3.Error),
        *(asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError),
    ) as error:
        advice = "start it, or correct DISPATCHER_DATABASE_URL"
        return Finding("database", State.FAIL, f"{url}: {_reason(error)}", advice)
    return _schema(str(url), revision, tables)


def _schema(url: str, revision: str | None, tables: Sequence[str]) -> Finding:
    from dispatcher.store.migrations import is_known, mismatch, newest_revision

    newest = newest_revision()
    if problem := mismatch(revision, tables):
        return Finding("database", State.FAIL, f"{url}: {problem}", "the service does not start with it")
    if revision is None:
        return Finding("database", State.OK, f"{url}: empty, the next start makes the schema {newest}")
    if not is_known(revision):
        found = f"{url}: schema {revision} is newer than this program knows"
        return Finding("database", State.FAIL, found, "start a newer program, or name another database")
    if revision != newest:
        found = f"{url}: schema {revision}, this program wants {newest}"
        return Finding("database", State.WARN, found, "dispatcher migrate, or the next start does it")
    return Finding("database", State.OK, f"{url}: schema {revision}")


def _sqlite_schema(file: Path) -> tuple[str | None, Sequence[str]]:
    """The revision, None when there is no schema yet, and all tables. Raises OSError and sqlite3.Error."""
    if not file.exists():
        directory = next(parent for parent in file.absolute().parents if parent.exists())
        if not directory.is_dir():
            raise NotADirectoryError(f"{directory} is no directory")
        # Not only whether this user may: the disk may be full, or be read only.
        with tempfile.NamedTemporaryFile(dir=directory, prefix=".dispatcher-doctor-") as probe:
            probe.write(b"x")
        return None, ()
    # Read-only, because the service has the file.
    with closing(
        sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=TIMEOUT)
    ) as connection:
        tables = [
            name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")
        ]
        if "alembic_version" not in tables:
            return None, tables
        row = connection.execute("select version_num from alembic_version").fetchone()
        return None if row is None else str(row[0]), tables


async def _postgres_schema(url: str) -> tuple[str | None, Sequence[str]]:
    from dispatcher.store.postgres.connection import connect_limited
    from dispatcher.store.postgres.hot_sql import SETTINGS
    from dispatcher.store.postgres.pooler import refuse_shared_sessions

    await refuse_shared_sessions(url)
    connection = await connect_limited(url, SETTINGS)
    try:
        tables = [name for (name,) in await connection.fetch(_TABLES)]
        if "alembic_version" not in tables:
            return None, tables
        return await connection.fetchval("select version_num from alembic_version"), tables
    finally:
        await connection.close()


async def broker(settings: Settings) -> Finding:
    """Whether the broker answers, has the queues as the service makes them, and what stands in them."""
    from dispatcher.intake.amqp.connection import LOST, connect

    url = settings.amqp.url
    if url is None:
        return Finding("broker", State.OK, "none: events come by HTTP")
    try:
        async with await connect(url.reveal(), "dispatcher doctor") as connection:
            return await _queues(connection, settings.amqp, str(url))
    except (*LOST, TimeoutError) as error:
        return Finding(
            "broker", State.FAIL, f"{url}: {_reason(error)}", "start it, or correct DISPATCHER_AMQP_URL"
        )
    except SettingsError as error:
        return Finding("broker", State.FAIL, f"{url}: {_reason(error)}", "see what was found")


async def _queues(connection: AbstractConnection, amqp: Amqp, url: str) -> Finding:
    from dispatcher.intake.amqp.topology import (
        dead_letter_name,
        declare_exchange,
        declare_queue,
        has_exchange,
        prepare,
    )
    from dispatcher.intake.sources.amqp import make_topology

    topology = make_topology(amqp)
    dead_letters = dead_letter_name(amqp.queue)
    waiting, dead = await _depth(connection, amqp.queue), await _depth(connection, dead_letters)
    if amqp.declare:
        # To declare once more what is there changes nothing, and is refused when it has other arguments.
        if await has_exchange(connection, amqp.exchange):
            await declare_exchange(connection, topology)
        if waiting is None:
            return Finding("broker", State.OK, f"{url}: no queue {amqp.queue} yet, the next start makes it")
        await declare_queue(await connection.channel(), amqp.queue, single_active=amqp.single_active_consumer)
        if dead is None:
            return Finding("broker", State.OK, f"{url}: no queue {dead_letters} yet, the next start makes it")
    exchange = await prepare(connection, topology)
    found = f"{url}: {waiting} messages in {amqp.queue}, {dead} in {dead_letters}"
    if exchange.difference is not None:
        found += f"; the exchange {amqp.exchange} is used as others declared it: {exchange.difference}"
    if dead:
        return Finding(
            "broker", State.WARN, found, "look why: the reason is in their header x-dispatcher-reason"
        )
    return Finding("broker", State.OK, found)


async def _depth(connection: AbstractConnection, queue: str) -> int | None:
    """How many messages a queue has, None when there is no such queue."""
    from aio_pika.exceptions import ChannelNotFoundEntity

    channel = await connection.channel()
    try:
        declared = await channel.declare_queue(queue, passive=True)
    except ChannelNotFoundEntity:
        return None
    await channel.close()
    return declared.declaration_result.message_count


async def mail_relay(settings: Settings) -> Finding:
    """Whether the relay answers, offers what the URL wants, and takes the user."""
    from dispatcher.targets.email.replies import Refused
    from dispatcher.targets.email.session import NotReached, open_session
    from dispatcher.targets.email.smtp import Timeouts, relay_at

    url, smtp = settings.smtp.url, settings.smtp
    if url is None:
        return Finding("mail relay", State.OK, "none: no e-mail is sent")
    relay = relay_at(url.reveal(), Timeouts(connect=TIMEOUT, command=TIMEOUT), 1, smtp.hello)
    try:
        tls = None if relay.tls == "none" else ssl.create_default_context()
        session = await open_session(relay, tls)
        await session.leave()
    except NotReached as error:
        return Finding("mail relay", State.FAIL, str(error), "start it, or correct DISPATCHER_SMTP_URL")
    except Refused as error:
        return Finding("mail relay", State.WARN, f"{url} answers: {error}", "look at its limits of sessions")
    if settings.smtp.sender == Settings().smtp.sender:
        found = f"{url} answers, but the sender is {settings.smtp.sender}"
        return Finding(
            "mail relay", State.WARN, found, "set DISPATCHER_SMTP_SENDER to an address of your domain"
        )
    return Finding("mail relay", State.OK, f"{url} answers")


def _reason(error: BaseException) -> str:
    return str(error).partition("\n")[0] or type(error).__name__
