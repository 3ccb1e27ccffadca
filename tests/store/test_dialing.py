"""Connecting to a server whose name has several addresses, of which the first does not answer."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dispatcher.domain.errors import StoreUnavailable
from dispatcher.store.connect import open_store
from dispatcher.store.postgres_connect import connect
from tests.intake.test_dialing import SILENT, resolve_to, silent
from tests.store.conftest import SEALER
from tests.store.proxy import Proxy
from tests.targets.servers import Authority

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


async def test_a_name_whose_addresses_all_refuse_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, "127.0.0.7", "127.0.0.8")
    with pytest.raises(ConnectionError, match="Connect call failed"):
        await connect(f"postgresql://postgres@{NAME}:1/", {})


async def test_a_name_that_has_no_address_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        await open_store("postgresql://postgres@nowhere.invalid/", SEALER).open()


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
