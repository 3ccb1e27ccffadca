"""One connection to the mail relay: how it is made, and how a message is handed over on it."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from contextlib import suppress
from typing import cast

import aiosmtplib
from aiohappyeyeballs import start_connection
from aiosmtplib.protocol import normalize_message_line_endings

from dispatcher.targets.email.replies import Refused, one_line, refusal, wants_fewer
from dispatcher.targets.email.smtp import Relay

LOST = (aiosmtplib.SMTPException, OSError)
"""What rises when a connection broke off, or the relay answers what cannot be read."""

NEXT_ADDRESS = 0.25
"""Seconds until the next address is tried beside one that does not answer (RFC 8305, section 5)."""

# A relay may think for minutes, but its machine answers: so one that is gone is noticed within half a minute.
_ALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 30_000}

_GO_ON = 354
_FIRST_DOT = re.compile(rb"^\.", re.MULTILINE)


class NotReached(Exception):
    """The relay could not be spoken to; it says nothing about the recipient, and it has not got the message.

    `busy`: nothing was tried, because all connections are in use.
    """

    def __init__(self, problem: str, *, busy: bool = False) -> None:
        super().__init__(problem)
        self.busy = busy


class Unsure(Exception):
    """The relay has got the whole message, and did not say whether it takes it."""


class Stale(Exception):
    """The connection was gone before anything was asked on it."""


class Session:
    """A connection that is open; `sent` counts messages. What breaks off in the middle ends it."""

    def __init__(self, relay: Relay, client: aiosmtplib.SMTP) -> None:
        self._relay = relay
        self._client = client
        self.sent = 0
        self.idle_since = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the connection still stands, as far as this side knows."""
        return self._client.is_connected

    async def send(self, sender: str, recipient: str, message: bytes, *, utf8: bool) -> str:
        """Hand one message over and return what the relay said. Raises Refused, NotReached, Unsure and Stale."""
        try:
            await self._envelope(sender, recipient, len(message), utf8)
            said = await self._content(sender, recipient, message)
        except Refused as refused:
            await self._reset(refused)
            raise
        except BaseException:
            # It broke off in the middle: what the relay waits for is not known.
            self._client.close()
            raise
        self.sent += 1
        return said

    async def leave(self) -> None:
        """Say goodbye."""
        with suppress(*LOST):
            await self._client.quit(timeout=2)
        self._client.close()

    async def _envelope(self, sender: str, recipient: str, size: int, utf8: bool) -> None:
        client, encoding = self._client, "utf-8" if utf8 else "ascii"
        options = await self._options(size, utf8)
        try:
            await client.mail(sender, options=options, encoding=encoding)
        except aiosmtplib.SMTPServerDisconnected:
            raise Stale from None
        except aiosmtplib.SMTPSenderRefused as error:
            if not _is_yes(error.code):
                raise Refused("sender", error.code, error.message) from None
        except LOST as error:
            raise self._broken(error, "the sender") from None
        try:
            await client.rcpt(recipient, encoding=encoding)
        except aiosmtplib.SMTPRecipientRefused as error:
            if not _is_yes(error.code):
                raise refusal("recipient", error.code, error.message, sender, recipient) from None
        except LOST as error:
            raise self._broken(error, "the recipient") from None

    async def _options(self, size: int, utf8: bool) -> list[str]:
        """What is said with the sender. Raises Refused when the relay has said before that it will not take this."""
        client = self._client
        try:
            if client.is_ehlo_or_helo_needed:
                await client.ehlo()
        except aiosmtplib.SMTPServerDisconnected:
            raise Stale from None
        except LOST as error:
            _raise_if_busy(error)
            raise self._broken(error, "EHLO") from None
        options: list[str] = []
        if client.supports_extension("size"):
            limit = client.esmtp_extensions.get("size", "")
            if limit.isdigit() and 0 < int(limit) < size:
                text = f"the relay takes messages of at most {limit} bytes, this has {size}"
                raise Refused("message", 552, text, "delivery")
            options.append(f"SIZE={size}")
        if utf8:
            if not client.supports_extension("smtputf8"):
                text = "the relay offers no SMTPUTF8, which an address outside ASCII needs"
                raise Refused("message", 553, text, "delivery")
            options.append("SMTPUTF8")
        return options

    async def _content(self, sender: str, recipient: str, message: bytes) -> str:
        """Send the message itself, up to its final dot, and wait for what the relay says to that."""
        client = self._client
        whole = _FIRST_DOT.sub(b"..", normalize_message_line_endings(message)) + b".\r\n"
        try:
            ready = await client.execute_command(b"DATA", timeout=self._relay.timeouts.data)
        except LOST as error:
            raise self._broken(error, "the message") from None
        if ready.code != _GO_ON:
            raise Refused("message", ready.code, ready.message)
        protocol, transport = client.protocol, client.transport
        if protocol is None or transport is None:
            raise NotReached(f"{self._relay.destination} broke off at the message")
        # Not checked: uvloop's transports are none of asyncio's classes.
        writing = cast("asyncio.WriteTransport", transport)
        reading = asyncio.ensure_future(protocol.read_response())
        try:
            await asyncio.sleep(0)  # it reads before anything is written, so that no early answer is lost
            protocol.write(whole)
            await self._answered(reading, writing)
            reply = reading.result()
        except LOST as error:
            raise Unsure(f"{self._relay.destination} has the message and broke off: {_said(error)}") from None
        finally:
            reading.cancel()
        if not _is_yes(reply.code):
            raise refusal("message", reply.code, reply.message, sender, recipient)
        return f"{reply.code} {one_line(reply.message)}"

    async def _answered(
        self, reading: asyncio.Future[aiosmtplib.SMTPResponse], transport: asyncio.WriteTransport
    ) -> None:
        times, name = self._relay.timeouts, self._relay.destination
        try:
            done, _ = await asyncio.wait({reading}, timeout=times.block)
            if not done and transport.get_write_buffer_size():
                raise NotReached(f"{name} took only a part of the message in {times.block:g} s")
            if not done:
                done, _ = await asyncio.wait({reading}, timeout=times.answer)
        except asyncio.CancelledError:
            if transport.get_write_buffer_size():
                raise
            # The process stops: that it may have arrived is worth more than an attempt without an outcome.
            _uncancel()
            raise Unsure(f"stopped before {name} said whether it takes the message") from None
        finally:
            if not reading.done():
                transport.abort()  # what it has not got of the message must not follow
        if not done:
            raise Unsure(f"{name} has the message and did not answer within {times.block + times.answer:g} s")

    async def _reset(self, refused: Refused) -> None:
        """Make the connection ready for the next message; a relay that says 421 closes it."""
        if refused.code == 421:
            return await self.leave()
        try:
            await self._client.rset(timeout=self._relay.timeouts.connect)
        except LOST:
            self._client.close()

    def _broken(self, error: Exception, where: str) -> NotReached:
        return NotReached(f"{self._relay.destination} broke off at {where}: {_said(error)}")


async def open_session(relay: Relay, tls: ssl.SSLContext | None) -> Session:
    """Connect, say hello, and log in where that is asked for. Raises NotReached, or Refused by a busy relay."""
    try:
        connected = await _dial(relay)
    except (OSError, RuntimeError) as error:  # uvloop raises RuntimeError for some sockets
        raise NotReached(f"cannot connect to {relay.destination}: {_said(error)}") from None
    client = aiosmtplib.SMTP(
        hostname=relay.host,
        sock=connected,
        local_hostname=relay.hello,
        username=relay.user,
        password=relay.password,
        use_tls=relay.tls == "from the start",
        start_tls=relay.tls == "starttls",
        tls_context=tls,
        timeout=relay.timeouts.command,
    )
    try:
        await client.connect()
    except LOST as error:
        _raise_if_busy(error)
        if isinstance(error, aiosmtplib.SMTPAuthenticationError):
            problem = f"{relay.destination} refuses the user and password of smtp.url"
        else:
            problem = f"cannot connect to {relay.destination}"
        raise NotReached(f"{problem}: {_said(error)}") from None
    return Session(relay, client)


async def _dial(relay: Relay) -> socket.socket:
    """A connected socket: the relay's addresses are tried one beside the other."""
    loop = asyncio.get_running_loop()
    seconds = relay.timeouts.connect
    try:
        async with asyncio.timeout(seconds):
            found = await loop.getaddrinfo(relay.host, relay.port, type=socket.SOCK_STREAM)
            connected = await start_connection(found, happy_eyeballs_delay=NEXT_ADDRESS, interleave=1)
    except TimeoutError:
        raise TimeoutError(f"none of its addresses answers within {seconds:g} s") from None
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _ALIVE.items():
        if hasattr(socket, name):
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return connected


def _raise_if_busy(error: Exception) -> None:
    """Raise Refused when the relay says, before any message, that there are too many sessions."""
    if isinstance(error, aiosmtplib.SMTPResponseException) and wants_fewer(error.code, error.message):
        raise Refused("sender", error.code, error.message) from None


def _uncancel() -> None:
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()


def _is_yes(code: int) -> bool:
    return 200 <= code < 300


def _said(error: Exception) -> str:
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"{error.code} {one_line(error.message)}"
    return one_line(str(error)) or type(error).__name__
