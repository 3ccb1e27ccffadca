"""Connections to the mail relay: reused, recycled, dropped on error; one message to one recipient at a time."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from dispatcher.targets.email.replies import Refused
from dispatcher.targets.email.session import NotReached, Session, Stale, open_session
from dispatcher.targets.email.smtp import Relay

MESSAGES = 100
"""Messages after which a connection is replaced: some relays close it in the middle of a message otherwise."""

IDLE = 20.0
"""Seconds after which a connection that is not used is closed."""


class Pool:
    """The connections of one process. Belongs to one event loop."""

    def __init__(self, relay: Relay) -> None:
        self.relay = relay
        self._places = asyncio.Semaphore(relay.connections)
        self._idle: list[Session] = []
        self._tls: ssl.SSLContext | None = None
        self._sweep: asyncio.TimerHandle | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    async def send(self, sender: str, recipient: str, message: bytes, *, utf8: bool = False) -> str:
        """Hand one message over and return what the relay said to it. Raises Refused, NotReached and Unsure.

        `utf8`: an address or a header of it is not ASCII.
        """
        async with self._place():
            while True:
                session, reused = await self._take()
                try:
                    return await session.send(sender, recipient, message, utf8=utf8)
                except Stale:
                    if not reused:
                        raise NotReached(f"{self.relay.destination} closed the connection") from None
                except Refused as refused:
                    if refused.fewer:
                        self._close_all()
                    raise
                finally:
                    self._give_back(session)

    async def close(self) -> None:
        """Say goodbye on every connection."""
        if self._sweep is not None:
            self._sweep.cancel()
        self._close_all()
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=2)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self.relay.timeouts.connect):
                await self._places.acquire()
        except TimeoutError:
            raise NotReached(
                f"all {self.relay.connections} connections to {self.relay.destination} are in use", busy=True
            ) from None
        try:
            yield
        finally:
            self._places.release()

    async def _take(self) -> tuple[Session, bool]:
        """A connection, and whether it was used before."""
        while self._idle:
            session = self._idle.pop()
            if session.is_open:
                return session, True
        if self.relay.tls != "none" and self._tls is None:
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        return await open_session(self.relay, self._tls), False

    def _give_back(self, session: Session) -> None:
        if not session.is_open:
            return None
        if session.sent >= MESSAGES:
            return self._leave(session)
        loop = asyncio.get_running_loop()
        session.idle_since = loop.time()
        self._idle.append(session)
        if self._sweep is None:
            self._sweep = loop.call_later(IDLE, self._close_idle)

    def _close_all(self) -> None:
        idle, self._idle = self._idle, []
        for session in idle:
            self._leave(session)

    def _close_idle(self) -> None:
        loop = asyncio.get_running_loop()
        before = loop.time() - IDLE
        old = [session for session in self._idle if session.idle_since <= before]
        self._idle = [session for session in self._idle if session.idle_since > before]
        for session in old:
            self._leave(session)
        self._sweep = loop.call_later(IDLE, self._close_idle) if self._idle else None

    def _leave(self, session: Session) -> None:
        task = asyncio.get_running_loop().create_task(session.leave())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)
