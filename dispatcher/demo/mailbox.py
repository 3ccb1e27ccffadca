"""The demo's mailbox: a small mail server on loopback that keeps what it gets."""

from __future__ import annotations

import asyncio
import socket
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default

from dispatcher.demo.plans import Plan
from dispatcher.demo.receivers import Inbox

_parse = BytesParser(policy=default).parsebytes


class Mailbox(Inbox):
    """It takes every message: just enough SMTP for a client that makes no mistakes."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.newest: EmailMessage | None = None
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """What `smtp.url` is set to."""
        return f"smtp://127.0.0.1:{self._socket.getsockname()[1]}"

    @property
    def is_open(self) -> bool:
        return self._server is not None

    async def open(self) -> None:
        """Take messages from now on."""
        self._server = await asyncio.start_server(self._serve, sock=self._socket)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._socket.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the service went away
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mailbox of the demo\r\n")
        while line := await reader.readline():
            command = line[:4].upper().rstrip()
            if command == b"DATA":
                writer.write(b"354 go on\r\n")
                self._keep(await reader.readuntil(b"\r\n.\r\n"))
            writer.write(b"221 bye\r\n" if command == b"QUIT" else b"250 OK\r\n")
            await writer.drain()
            if command == b"QUIT":
                return

    def _keep(self, raw: bytes) -> None:
        message = _parse(raw[:-3].replace(b"\r\n..", b"\r\n."))
        # The service makes the Message-ID from the delivery's id.
        delivery_id = str(message["Message-ID"]).strip("<>").partition(".")[0]
        self.repeats += delivery_id in self.received
        self.received.add(delivery_id)
        self.newest = message
        self.last = f"{message['To']}: {message['Subject']}"
