"""Connecting to a server whose name has several addresses, of which the first does not answer."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from dispatcher.domain.errors import StoreUnavailable
from dispatcher.store.factory import open_store
from dispatcher.store.postgres import connector as postgres_connect
from dispatcher.store.postgres.connector import connect
from tests.http.servers import Authority
from tests.intake.amqp.test_dialing import SILENT, resolve_to, silent
from tests.store.conftest import SEALER
from tests.store.proxy import Proxy

NAME = "broker.example"


def named(url: str) -> str:
    return url.replace("127.0.0.1", NAME)


async def test_a_silent_address_does_not_keep_us_from_the_next_one(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, SILENT, "127.0.0.1")
    with silent(urlsplit(postgres_url).port or 0):
        connection = await connect(named(postgres_url), {"jit": "off"})
        assert await connection.fetchval("show jit") == "off"
        await connection.close()


async def test_a_silent_host_does_not_keep_us_from_the_next_one_that_the_address_names(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_connect, "_HOST_TIMEOUT", 0.1)
    parts = urlsplit(postgres_url)
    with silent(parts.port or 0):
        several = postgres_url.replace(
            f"@{parts.hostname}:{parts.port}", f"@{SILENT}:{parts.port},127.0.0.1:{parts.port}"
        )
        connection = await connect(several, {})
        assert await connection.fetchval("select 1") == 1
        await connection.close()


async def test_a_name_whose_addresses_all_refuse_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, "127.0.0.7", "127.0.0.8")
    with pytest.raises(ConnectionError, match="Connect call failed"):
        await connect(f"postgresql://postgres@{NAME}:1/", {})


async def test_a_name_that_has_no_address_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        await open_store("postgresql://postgres@nowhere.invalid/", SEALER).open()


async def test_a_password_file_that_cannot_be_read_holds_nothing_else_up(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    held, reached, stalled = threading.Event(), asyncio.Event(), list[str]()
    loop, usual = asyncio.get_running_loop(), Path.open

    def opened(path: Path, *args: Any, **named: Any) -> Any:
        loop.call_soon_threadsafe(reached.set)
        if not held.wait(5):
            stalled.append(path.name)
        return usual(path, *args, **named)

    passwords = tmp_path / "passwords"
    passwords.write_text("*:*:*:*:secret\n")
    passwords.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passwords))
    monkeypatch.setattr(Path, "open", opened)
    connecting = asyncio.create_task(connect(postgres_url, {}))
    await reached.wait()
    held.set()
    connection = await connecting
    await connection.close()
    assert stalled == []


def test_each_file_that_the_driver_reads_is_read_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    read: list[str] = []

    def opened(path: Path) -> bytes:
        read.append(path.name)
        return b""

    monkeypatch.setattr(Path, "read_bytes", opened)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PGSSLCERT", str(tmp_path / "by-environment"))
    (tmp_path / ".postgresql").mkdir()
    names = [".pgpass", ".postgresql/root.crl", ".postgresql/postgresql.key", "by-environment", "by-address"]
    for name in names:
        (tmp_path / name).touch()
    postgres_connect._read_files(f"postgresql://db/x?sslrootcert={tmp_path}/by-address")
    assert sorted(read) == sorted(Path(name).name for name in names)


async def test_with_tls_the_certificate_must_be_for_the_name_and_not_for_the_address(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    resolve_to(monkeypatch, SILENT, "127.0.0.1")
    authority = Authority(tmp_path)
    trusted = f"?sslmode=verify-full&sslrootcert={authority.path}"
    async with Proxy(postgres_url, authority.context(NAME)) as proxy:
        with silent(urlsplit(proxy.url).port or 0):
            connection = await connect(named(proxy.url) + trusted, {})
            assert await connection.fetchval("select 1") == 1
            await connection.close()
    async with Proxy(postgres_url, authority.context("other.example")) as proxy:
        with pytest.raises(OSError, match=rf"certificate is not valid for '{NAME}'"):
            await connect(named(proxy.url) + trusted, {})


async def test_a_statement_that_is_given_up_is_cancelled_on_the_server(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, "127.0.0.1")
    connection = await connect(named(postgres_url), {}, command_timeout=0.2)
    with pytest.raises(TimeoutError):
        await connection.execute("select pg_sleep(60)")
    assert await connection.fetchval("select 1") == 1
    await connection.close()


async def test_a_server_that_vanishes_is_noticed_by_the_kernel(postgres_url: str) -> None:
    connection = await connect(postgres_url, {})
    used = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]  # of asyncpg's own
    assert used.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert used.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000
    await asyncio.wait_for(connection.close(), 10)
