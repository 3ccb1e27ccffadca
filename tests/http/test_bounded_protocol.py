"""What aiohttp's side of a connection does where only the order of events decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientPayloadError, ServerDisconnectedError
from yarl import URL

from dispatcher.http import MAX_READ
from dispatcher.http.bounded_protocol import BoundedProtocol
from tests.http.servers import Handler, raw_server, reset


@asynccontextmanager
async def connected(handle: Handler) -> AsyncIterator[BoundedProtocol]:
    """Yield a connection with a server."""
    loop = asyncio.get_running_loop()
    async with raw_server(handle) as url:
        transport, protocol = await loop.create_connection(
            lambda: BoundedProtocol(loop, MAX_READ), "127.0.0.1", URL(url).port or 0
        )
        yield protocol
        transport.close()


async def test_what_comes_before_the_first_request_is_not_its_answer() -> None:
    ended = asyncio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert await reader.read() == b""
        ended.set()

    async with connected(speak) as protocol:
        await asyncio.wait_for(ended.wait(), 10)
        protocol.set_response_params()
        with pytest.raises(ServerDisconnectedError):
            await protocol.read()


async def test_a_reset_is_not_the_end_of_a_body() -> None:
    seen = asyncio.Event()

    async def break_off(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asked.wait()
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nabc")
        await seen.wait()
        await reset(writer)

    asked = asyncio.Event()
    async with connected(break_off) as protocol:
        protocol.set_response_params(read_until_eof=True)
        asked.set()
        _, body = await protocol.read()
        assert await body.readany() == b"abc"
        seen.set()
        with pytest.raises(ClientPayloadError):
            await body.read()
