"""Callers that take their time: they get a limited one, so that no caller can take all connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from dispatcher.api import routing
from dispatcher.api.server import runner
from tests.api.conftest import ADMIN_KEY, Api

REQUEST = "GET /health/live HTTP/1.1\r\n"


@asynccontextmanager
async def connected(url: str, sent: str) -> AsyncIterator[asyncio.StreamReader]:
    """What comes back on a connection on which this, and nothing more, is sent."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(sent.encode())
        async with asyncio.timeout(10):
            yield reader
    finally:
        writer.close()


@asynccontextmanager
async def listening(runner: web.AppRunner) -> AsyncIterator[str]:
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("sent", ["", f"{REQUEST}Host: a\r\n"])
async def test_a_connection_on_which_no_request_comes_is_closed(api: Api, sent: str) -> None:
    async with listening(runner(api.services, idle=0.1)) as url, connected(url, sent) as answer:
        assert await answer.read() == b""


async def test_a_connection_is_closed_when_no_other_request_comes(api: Api) -> None:
    async with (
        listening(runner(api.services, idle=0.1)) as url,
        connected(url, f"{REQUEST}Host: a\r\n\r\n") as answer,
    ):
        assert (await answer.read()).startswith(b"HTTP/1.1 200")


async def test_a_body_that_does_not_come_is_not_waited_for(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routing, "BODY_SECONDS", 0.1)
    headers = f"Host: a\r\nAuthorization: Bearer {ADMIN_KEY}\r\nContent-Length: 100\r\n"
    async with connected(api.url, f"POST /v1/events HTTP/1.1\r\n{headers}\r\n{{") as answer:
        assert (await answer.readline()).startswith(b"HTTP/1.1 408")


async def test_a_stop_waits_for_a_slow_caller_no_longer_than_its_grace(api: Api) -> None:
    headers = f"Host: a\r\nAuthorization: Bearer {ADMIN_KEY}\r\nContent-Length: 100\r\n"
    stopping = runner(api.services, grace=0.1)
    sent = f"POST /v1/events HTTP/1.1\r\n{headers}Expect: 100-continue\r\n\r\n"
    async with listening(stopping) as url, connected(url, sent) as answer:
        assert (await answer.readline()).startswith(b"HTTP/1.1 100")  # it waits for the body now
        async with asyncio.timeout(routing.BODY_SECONDS / 2):
            await stopping.cleanup()
