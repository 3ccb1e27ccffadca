"""Connecting to a broker whose name has several addresses, of which the first does not answer."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from dispatcher.intake.amqp.connection import connect
from dispatcher.intake.amqp.frame_reader import BrokerTransport
from tests.http.servers import Authority
from tests.intake.wire import Wire

NAME = "broker.example"
SILENT = "127.0.0.9"


@contextmanager
def silent(port: int) -> Iterator[None]:
    """Let SILENT answer no request for a connection to this port: its backlog is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((SILENT, port))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex((SILENT, port))
        yield


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let the loop find these addresses for NAME."""
    loop = asyncio.get_running_loop()
    real = loop.getaddrinfo

    async def found(host: str, port: int, **options: Any) -> list[tuple[Any, ...]]:
        if host != NAME:
            return await real(host, port, **options)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(loop, "getaddrinfo", found)


def named(url: str) -> str:
    return url.replace("127.0.0.1", NAME)


@pytest.mark.parametrize("consuming", [True, False])
async def test_a_silent_address_does_not_keep_us_from_the_next_one(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch, consuming: bool
) -> None:
    resolve_to(monkeypatch, SILENT, "127.0.0.1")
    async with Wire(amqp_url) as wire:
        with silent(urlsplit(wire.url).port or 0):
            connection = await connect(named(wire.url), "test", BrokerTransport() if consuming else None)
            async with connection:
                await (await connection.channel()).declare_queue("q", exclusive=True)


async def test_a_name_whose_addresses_all_refuse_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, "127.0.0.7", "127.0.0.8")
    with pytest.raises(ConnectionError, match="Connect call failed"):
        await connect(f"amqp://guest:guest@{NAME}:1/", "test")


async def test_with_tls_the_certificate_must_be_for_the_name_and_not_for_the_address(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    resolve_to(monkeypatch, SILENT, "127.0.0.1")
    authority = Authority(tmp_path)
    trusted = f"?cafile={authority.path}"
    async with Wire(amqp_url, authority.context(NAME)) as wire:
        url = named(wire.url).replace("amqp:", "amqps:") + trusted
        with silent(urlsplit(url).port or 0):
            async with await connect(url, "test"):
                pass
    async with Wire(amqp_url, authority.context("other.example")) as wire:
        url = named(wire.url).replace("amqp:", "amqps:") + trusted
        with pytest.raises(ConnectionError, match=r"certificate is not valid for 'broker\.example'"):
            await connect(url, "test")
