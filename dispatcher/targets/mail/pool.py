"""Connections to the mail relay: reused, recycled, dropped on error; one message to one recipient at a time."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiosmtplib
from msgspec import Struct

from dispatcher.targets.mail.relay import Relay
from dispatcher.targets.mail.replies import Refused, one_line

MESSAGES = 100
"""Messages after which a connection is replaced: some relays close it in the middle of a message otherwise."""

IDLE = 20.0
"""Seconds after which a connection that nobody uses is closed."""

DATA_PATIENCE = 4
"""How many times `timeout` the relay may take to answer for a message: it looks into it, and whoever gives up then may
send it twice."""

_LOST = (aiosmtplib.SMTPException, OSError)


class NotReached(Exception):
    """The relay could not be spoken to; it says nothing about the recipient.

    `busy`: nothing was tried, because all connections are in use.
    """

    def __init__(self, problem: str, *, busy: bool = False) -> None:
        super().__init__(problem)
        self.busy = busy


class _Connection(Struct):
    client: aiosmtplib.SMTP
    sent: int = 0
    idle_since: float = 0.0


class Pool:
    """The connections of one process. Belongs to one event loop."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self._places = asyncio.Semaphore(relay.connections)
        self._idle: list[_Connection] = []
        self._tls: ssl.SSLContext | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    async def send(self, sender: str, recipient: str, message: bytes, *, utf8: bool = False) -> str:
        """Hand one message over and return what the relay said to it. Raises Refused and NotReached.

        `utf8`: an address or a header of it is not ASCII.
        """
        async with self._place():
            while True:
                connection, reused = await self._take()
                try:
                    return await self._transact(connection, sender, recipient, message, utf8)
                except _Stale:
                    if not reused:
                        raise NotReached(f"{self.relay.destination} closed the connection") from None

    async def close(self) -> None:
        """Say goodbye on every connection."""
        if self._sweep is not None:
            self._sweep.cancel()
        idle, self._idle = self._idle, []
        for connection in idle:
            self._let_go(connection)
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=2)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.relay.timeout):
                await self._places.acquire()
        except TimeoutError:
            raise NotReached(
                f"all {self.relay.connections} connections to {self.relay.destination} are in use", busy=True
            ) from None
        try:
            yield
        finally:
            self._places.release()

    async def _take(self) -> tuple[_Connection, bool]:
        """A connection, and whether it was used before."""
        while self._idle:
            connection = self._idle.pop()
            if connection.client.is_connected:
                return connection, True
        return _Connection(await self._connect()), False

    async def _connect(self) -> aiosmtplib.SMTP:
        relay = self.relay
        if relay.tls != "none" and self._tls is None:
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        client = aiosmtplib.SMTP(
            hostname=relay.host,
            local_hostname=relay.hello,
            port=relay.port,
            username=relay.user,
            password=relay.password,
            use_tls=relay.tls == "from the start",
            start_tls=relay.tls == "starttls",
            tls_context=self._tls,
            timeout=relay.timeout,
        )
        try:
            await client.connect()
        except aiosmtplib.SMTPAuthenticationError as error:
            raise NotReached(
                f"{relay.destination} refuses the user and password of smtp.url: {error.code} {one_line(error.message)}"
            ) from None
        except _LOST as error:
            raise NotReached(f"cannot connect to {relay.destination}: {_said(error)}") from None
        return client

    async def _transact(
        self, connection: _Connection, sender: str, recipient: str, message: bytes, utf8: bool
    ) -> str:
        client = connection.client
        try:
            said = await self._steps(client, sender, recipient, message, utf8)
        except Refused as refused:
            await self._reset(connection, refused)
            raise
        except BaseException:
            # Whatever broke off in the middle: nobody knows what the relay waits for.
            client.close()
            raise
        connection.sent += 1
        self._give_back(connection)
        return said

    async def _steps(
        self, client: aiosmtplib.SMTP, sender: str, recipient: str, message: bytes, utf8: bool
    ) -> str:
        options = await self._options(client, message, utf8)
        encoding = "utf-8" if utf8 else "ascii"
        try:
            await client.mail(sender, options=options, encoding=encoding)
        except aiosmtplib.SMTPServerDisconnected:
            raise _Stale from None
        except aiosmtplib.SMTPSenderRefused as error:
            raise Refused("sender", error.code, error.message) from None
        except _LOST as error:
            raise self._broken(error, "the sender") from None
        try:
            await client.rcpt(recipient, encoding=encoding)
        except aiosmtplib.SMTPRecipientRefused as error:
            raise Refused("recipient", error.code, error.message) from None
        except _LOST as error:
            raise self._broken(error, "the recipient") from None
        try:
            reply = await client.data(message, timeout=DATA_PATIENCE * self.relay.timeout)
        except aiosmtplib.SMTPDataError as error:
            raise Refused("message", error.code, error.message) from None
        except _LOST as error:
            raise self._broken(error, "the message") from None
        return f"{reply.code} {one_line(reply.message)}"

    async def _options(self, client: aiosmtplib.SMTP, message: bytes, utf8: bool) -> list[str]:
        """What is said with the sender. Raises Refused when the relay has said before that it will not take this."""
        try:
            if client.is_ehlo_or_helo_needed:
                await client.ehlo()
        except aiosmtplib.SMTPServerDisconnected:
            raise _Stale from None
        except _LOST as error:
            raise self._broken(error, "EHLO") from None
        options: list[str] = []
        if client.supports_extension("size"):
            limit = client.esmtp_extensions.get("size", "")
            if limit.isdigit() and 0 < int(limit) < len(message):
                raise Refused(
                    "message",
                    552,
                    f"the relay takes messages of at most {limit} bytes, this has {len(message)}",
                    "delivery",
                )
            options.append(f"SIZE={len(message)}")
        if utf8:
            if not client.supports_extension("smtputf8"):
                told = "the relay offers no SMTPUTF8, which an address outside ASCII needs"
                raise Refused("message", 553, told, "delivery")
            options.append("SMTPUTF8")
        return options

    async def _reset(self, connection: _Connection, refused: Refused) -> None:
        """Make the connection ready for the next message; a relay that says 421 closes it."""
        if refused.code == 421:
            return self._let_go(connection)
        try:
            await connection.client.rset()
        except _LOST:
            connection.client.close()
        else:
            self._give_back(connection)

    def _give_back(self, connection: _Connection) -> None:
        if connection.sent >= MESSAGES or not connection.client.is_connected:
            return self._let_go(connection)
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = loop.call_later(IDLE, self._close_idle)

    def _close_idle(self) -> None:
        loop = asyncio.get_running_loop()
        before = loop.time() - IDLE
        old = [connection for connection in self._idle if connection.idle_since <= before]
        self._idle = [connection for connection in self._idle if connection.idle_since > before]
        for connection in old:
            self._let_go(connection)
        self._sweep = loop.call_later(IDLE, self._close_idle) if self._idle else None

    def _let_go(self, connection: _Connection) -> None:
        task = asyncio.get_running_loop().create_task(_leave(connection.client))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def _broken(self, error: Exception, where: str) -> NotReached:
        return NotReached(f"{self.relay.destination} broke off at {where}: {_said(error)}")


class _Stale(Exception):
    """The connection was gone before anything was asked on it."""


async def _leave(client: aiosmtplib.SMTP) -> None:
    with suppress(*_LOST):
        await client.quit(timeout=2)
    client.close()


def _said(error: Exception) -> str:
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"{error.code} {one_line(error.message)}"
    return one_line(str(error)) or type(error).__name__
