"""A mail relay for tests: a real SMTP server on a free port that answers as a test wants."""

from __future__ import annotations

import asyncio
import ssl
import warnings
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from msgspec import Struct


class Mail(Struct, frozen=True):
    """A message as it came in."""

    sender: str
    to: str
    raw: bytes
    peer: object

    @property
    def message(self) -> EmailMessage:
        """The message as the standard library reads it."""
        message = message_from_bytes(self.raw, policy=default)
        assert isinstance(message, EmailMessage)
        assert not message.defects
        return message

    @property
    def text(self) -> str:
        """The plain part."""
        return self._part("plain")

    @property
    def html(self) -> str:
        """The HTML part."""
        return self._part("html")

    def _part(self, subtype: str) -> str:
        part = self.message.get_body((subtype,))
        assert part is not None
        return str(part.get_content()).replace("\r\n", "\n")


Reply = Callable[[str], str | None]


class Relay:
    """What it got, and what it says: each of these gets an address and returns a reply, None to go on."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.connections = 0
        self.at_mail: Reply = lambda _: None
        self.at_rcpt: Reply = lambda _: None
        self.at_data: Reply = lambda _: None
        self.hang_up: Callable[[], bool] = lambda: False
        self.wait_for: asyncio.Event | None = None
        self.hold: Callable[[str], asyncio.Event | None] = lambda _: self.wait_for
        self.hold_rcpt: asyncio.Event | None = None
        self.reached_rcpt = asyncio.Event()
        self.reached_mail = asyncio.Event()
        self.transactions = 0
        self.servers: list[SMTP] = []
        self._data = asyncio.Event()
        self.url = ""
        self._changed = asyncio.Condition()

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.reached_mail.set()
        if reply := self.at_mail(address):
            return reply
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.reached_rcpt.set()
        if self.hold_rcpt is not None:
            await self.hold_rcpt.wait()
        if reply := self.at_rcpt(address):
            return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        to, content = envelope.rcpt_tos[0], envelope.content
        assert isinstance(content, bytes)
        self._data.set()
        self.transactions += 1
        if (held := self.hold(to)) is not None:
            await held.wait()
        if self.hang_up():
            _abort(server)
            return "250 never seen"
        if reply := self.at_data(to):
            return reply
        async with self._changed:
            self.mails.append(Mail(str(envelope.mail_from), to, content, session.peer))
            self._changed.notify_all()
        return f"250 2.0.0 OK queued as {len(self.mails)}"

    @property
    def hellos(self) -> list[str | None]:
        """The name that was given in EHLO on each connection."""
        return [one.session.host_name for one in self.servers if one.session is not None]

    async def received(self, count: int) -> list[Mail]:
        """The messages, once there are so many."""
        async with asyncio.timeout(20), self._changed:
            await self._changed.wait_for(lambda: len(self.mails) >= count)
        return self.mails

    async def received_data(self) -> None:
        """Return when a message has come in, whatever is answered."""
        async with asyncio.timeout(20):
            await self._data.wait()

    async def left(self, count: int) -> None:
        """Return when so many connections are gone."""
        async with asyncio.timeout(20):
            while sum(server.transport is None for server in self.servers) < count:  # noqa: ASYNC110 - it sends no notification
                await asyncio.sleep(0.01)

    def close_all(self) -> None:
        """Break off every connection."""
        for server in self.servers:
            _abort(server)

    def to(self, address: str) -> list[Mail]:
        """The messages that one address got."""
        return [mail for mail in self.mails if mail.to == address]


def _abort(server: SMTP) -> None:
    if isinstance(server.transport, asyncio.WriteTransport):
        server.transport.abort()


@asynccontextmanager
async def relay(
    *,
    users: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
    from_the_start: bool = False,
    size: int | None = None,
    utf8: bool = False,
    port: int = 0,
) -> AsyncIterator[Relay]:
    """A relay that runs while this is entered. With `users` it wants one of them, with `tls` it offers STARTTLS."""
    handler = Relay()
    known = users or {}

    def authenticate(
        server: SMTP, session: Session, envelope: Envelope, how: str, data: object
    ) -> AuthResult:
        good = isinstance(data, LoginPassword) and known.get(data.login.decode()) == data.password.decode()
        return AuthResult(success=good, handled=False)

    def make() -> SMTP:
        handler.connections += 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that passwords come in the clear
            server = made()
        handler.servers.append(server)
        return server

    def made() -> SMTP:
        return SMTP(
            handler,
            hostname="relay.example.org",
            loop=loop,
            data_size_limit=size,
            enable_SMTPUTF8=utf8,
            tls_context=None if from_the_start else tls,
            require_starttls=tls is not None and not from_the_start,
            auth_required=users is not None,
            auth_require_tls=False,
            authenticator=authenticate,
        )

    loop = asyncio.get_running_loop()
    listening = await loop.create_server(make, "127.0.0.1", port, ssl=tls if from_the_start else None)
    handler.url = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield handler
    finally:
        listening.close()
        handler.close_all()
        await asyncio.sleep(0)
