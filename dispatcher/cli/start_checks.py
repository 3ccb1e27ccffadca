"""What `dispatcher doctor` looks at because a start fails with it: the address, the secrets, the rights of the user."""

from __future__ import annotations

import resource
import socket

from dispatcher.cli.checks import Finding, State
from dispatcher.cli.database_reader import TIMEOUT, read_rows
from dispatcher.config.secret_keys import secret_keys, sqlite_file
from dispatcher.config.settings import Settings
from dispatcher.domain.errors import SettingsError

_SEALED = """
select sealed from (select sealed from subscriptions where removed_at is null order by id limit 1) as first
union all
select sealed from (select sealed from subscriptions where removed_at is null order by id desc limit 1) as last
"""

_RIGHTS = """
select pg_is_in_recovery() or current_setting('transaction_read_only') = 'on' as read_only,
    coalesce(has_schema_privilege(current_schema(), 'create'), false) as may_create,
    to_regclass('alembic_version') is not null as has_tables
"""


def open_files() -> Finding:
    """Whether a process may open enough files and connections."""
    from dispatcher.process import allow_connections

    try:
        allow_connections()
    except SettingsError as error:
        return Finding("open files", State.FAIL, str(error), "the service does not start with it")
    return Finding("open files", State.OK, f"up to {resource.getrlimit(resource.RLIMIT_NOFILE)[0]}")


def listening(settings: Settings) -> Finding:
    """Whether the API can listen where the settings say, or does so already."""
    http = settings.http
    where = f"{http.host}:{http.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            http.host, http.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if _serves(http.host, http.port):
            return Finding("address", State.OK, f"{where}: a Dispatcher listens there already")
        found = f"cannot listen on {where} ({error.strerror or error})"
        return Finding("address", State.FAIL, found, "set DISPATCHER_HTTP_HOST and DISPATCHER_HTTP_PORT")
    return Finding("address", State.OK, where)


def _serves(host: str, port: int) -> bool:
    """Whether a Dispatcher answers there."""
    try:
        with socket.create_connection((host, port), timeout=2) as connection:
            connection.sendall(b"GET /health/live HTTP/1.0\r\n\r\n")
            return b"\r\nServer: Dispatcher\r\n" in connection.recv(4096)
    except OSError:
        return False


async def secrets_open(settings: Settings) -> Finding | None:
    """Whether the keys open what is sealed in the database; None when nothing is."""
    from dispatcher.store.encryption import Sealer

    try:
        sealed = await read_rows(settings, _SEALED)
    except Exception:  # noqa: BLE001 - the check of the database says what is wrong with it
        return None
    try:
        sealer = Sealer(secret_keys(settings))
        for (secret,) in sealed:
            sealer.open(secret)
    except SettingsError as error:
        return Finding("secrets", State.FAIL, str(error), "the service does not start with it")
    return Finding("secrets", State.OK, "the keys open those in the database") if sealed else None


async def rights(settings: Settings) -> Finding | None:
    """Whether the user may write and make tables; None for SQLite, and when the database does not answer."""
    from dispatcher.store.postgres.connection import check_server, connect_limited
    from dispatcher.store.postgres.hot_sql import COLD_SETTINGS

    if sqlite_file(settings.database.url) is not None:
        return None
    try:
        connection = await connect_limited(settings.database.url.reveal(), COLD_SETTINGS)
    except Exception:  # noqa: BLE001 - the check of the database says what is wrong with it
        return None
    try:
        await check_server(connection)
        [(read_only, may_create, has_tables)] = await connection.fetch(_RIGHTS, timeout=TIMEOUT)
    except SettingsError as error:
        return Finding("rights", State.FAIL, str(error), "the service does not start with it")
    finally:
        await connection.close()
    if read_only:
        return Finding("rights", State.FAIL, "the database is read-only, as a standby is", "name the primary")
    if not may_create:
        advice = "grant create on the schema to this user, who also has to own the tables"
        found = "this user may not make tables in the schema"
        return Finding("rights", State.WARN if has_tables else State.FAIL, found, advice)
    return Finding("rights", State.OK, "this user may write and make tables")
