"""A proxy before PostgreSQL that knows where one message of the protocol ends and the next one begins."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit

_SSL_REQUEST = 80_877_103


class Proxy:
    """Passes on every message between its clients and the server at `target`; `url` is that address through it.

    `cut_after` is how many messages it still passes on, in both directions together, before it drops the connection
    of the last one; None for all of them. `abrupt` says whether a connection is reset or closed in good order. With
    `tls` it speaks TLS with clients that ask for it.
    """

    def __init__(self, target: str, tls: ssl.SSLContext | None = None) -> None:
        self.target = target
        self.cut_after: int | None = None
        self.abrupt = False
        self.passed = 0
        self._tls = tls
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", limit=1 << 26)
        port = self._server.sockets[0].getsockname()[1]
        parts = urlsplit(self.target)
        self.url = parts._replace(netloc=f"{parts.username}@127.0.0.1:{port}").geturl()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Drop every connection."""
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._open.add(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            await self._connect(reader, writer)
        writer.close()
        writer.transport.abort()
        self._open.discard(writer)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await _untyped(reader)
        if int.from_bytes(first[4:8]) == _SSL_REQUEST:
            writer.write(b"N" if self._tls is None else b"S")
            if self._tls is not None:
                await _start_tls(writer, self._tls)
            first = await _untyped(reader)
        server = urlsplit(self.target)
        far_reader, far_writer = await asyncio.open_connection(server.hostname, server.port, limit=1 << 26)
        self._open.add(far_writer)
        both = (writer, far_writer)
        try:
            if await self._pass(first, far_writer, both):
                await asyncio.gather(
                    self._pump(reader, far_writer, both), self._pump(far_reader, writer, both)
                )
        finally:
            far_writer.transport.abort()
            self._open.discard(far_writer)

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        both: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    ) -> None:
        try:
            while await self._pass(await _typed(reader), writer, both):
                pass
        finally:
            for one in both:
                one.close()

    async def _pass(
        self,
        message: bytes,
        writer: asyncio.StreamWriter,
        both: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    ) -> bool:
        """Pass one message on; False when the connection is dropped after it."""
        if any(one.is_closing() for one in both):
            return False
        writer.write(message)
        await writer.drain()
        self.passed += 1
        if self.cut_after is None:
            return True
        self.cut_after -= 1
        if self.cut_after > 0:
            return True
        self.cut_after = None
        for one in both:
            if self.abrupt:
                one.transport.abort()
            else:
                one.close()
        return False


async def _start_tls(writer: asyncio.StreamWriter, context: ssl.SSLContext) -> None:
    """Speak TLS from now on. ConnectionError when the client does not like the certificate."""
    plain = writer.transport
    try:
        await writer.start_tls(context)
    except AttributeError:  # Python's way to say that the client hung up meanwhile
        writer._transport = plain  # type: ignore[attr-defined]  # it has none now, and nothing else closes it
        raise ConnectionError from None


async def _untyped(reader: asyncio.StreamReader) -> bytes:
    """The first packet of a client, which has no type."""
    length = await reader.readexactly(4)
    return length + await reader.readexactly(int.from_bytes(length) - 4)


async def _typed(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(5)
    return head + await reader.readexactly(int.from_bytes(head[1:]) - 4)
