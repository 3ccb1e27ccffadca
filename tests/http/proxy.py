"""An egress proxy for tests: CONNECT and absolute URLs, with a password and a list of what it refuses."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from tests.http.servers import raw_server


class Proxy:
    """What it was asked for, such as `CONNECT good.example:443`; `names` are the addresses that it knows."""

    def __init__(self, names: Mapping[str, str], refused: Collection[str], password: str | None) -> None:
        self.url = ""
        self.asked: list[str] = []
        self._names = names
        self._refused = refused
        self._credentials = None if password is None else b64encode(f"user:{password}".encode())

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection: one tunnel, or one request after the other to the same server."""
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        self.asked.append(f"{method} {target}")
        parts = urlsplit(target if "//" in target else f"//{target}")
        host, port = parts.hostname or "", parts.port or 80
        if self._credentials is not None and b"Proxy-Authorization: Basic " + self._credentials not in head:
            return await _refuse(writer, b"407 Proxy Authentication Required")
        if host in self._refused:
            return await _refuse(writer, b"403 Forbidden")
        up_reader, up_writer = await asyncio.open_connection(self._names.get(host, host), port)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            up_writer.write(_to_origin(head))
        try:
            await _pump_both(reader, writer, up_reader, up_writer)
        finally:
            up_writer.close()
        return None


@asynccontextmanager
async def proxy(
    names: Mapping[str, str] | None = None, refused: Collection[str] = (), password: str | None = None
) -> AsyncIterator[Proxy]:
    """Yield a proxy that listens."""
    running = Proxy(names or {}, refused, password)
    async with raw_server(running.handle) as url:
        running.url = url if password is None else url.replace("//", f"//user:{password}@")
        yield running


async def _refuse(writer: asyncio.StreamWriter, status: bytes) -> None:
    writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    await writer.drain()


async def _pump_both(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    up_reader: asyncio.StreamReader,
    up_writer: asyncio.StreamWriter,
) -> None:
    async def up() -> None:
        async for piece in _pieces(reader):
            up_writer.write(_to_origin(piece))
            await up_writer.drain()

    async def down() -> None:
        async for piece in _pieces(up_reader):
            writer.write(piece)
            await writer.drain()

    tasks = [asyncio.create_task(up()), asyncio.create_task(down())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    if any(isinstance(result, ConnectionError) for result in results):
        writer.transport.abort()  # passes a reset on


async def _pieces(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while piece := await reader.read(65536):
        yield piece


def _to_origin(piece: bytes) -> bytes:
    """A request as its server gets it: with the path alone. Anything else is left as it is."""
    line, end, rest = piece.partition(b"\r\n")
    words = line.split(b" ")
    if len(words) != 3 or not words[1].startswith(b"http://"):
        return piece
    path = b"/" + words[1].removeprefix(b"http://").partition(b"/")[2]
    return b" ".join((words[0], path, words[2])) + end + rest
