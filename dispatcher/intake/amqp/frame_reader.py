"""The frame reader: takes messages off the broker's connection as bytes, before the library makes objects of them.

The library gets every other frame, so that connecting, channels, declarations and acknowledgements are its own.
Sources: AMQP 0-9-1, sections 1.8.3.9 "basic.deliver", 2.3.5 "Frame Details" and 2.3.5.2 "Content Frames".
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from struct import Struct as Layout
from typing import Any, SupportsIndex

from aiormq import TransportFactory
from yarl import URL

from dispatcher.intake.amqp.dialing import dial
from dispatcher.intake.amqp.message import AmqpMessage, read_message

_FRAME = Layout(">BHI")
"""Its kind, channel and size; the payload and one last octet follow."""
_METHOD, _HEADER, _BODY = 1, 2, 3
_LAST = 0xCE
_DELIVER = b"\x00\x3c\x00\x3c"
_HEARTBEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"

_STILL_ALIVE = 1.0
"""Seconds after which the library is shown that the connection lives, when all that came were messages."""

Take = Callable[[list[AmqpMessage]], None]


class FrameReader(asyncio.StreamReader):
    """What the library reads from, without the frames of messages for one channel.

    The library ends a connection on which it sees no frame for some time, and the broker sends no heartbeats while
    it sends messages: so the library gets a heartbeat in their place.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._clock = loop.time
        self._shown_alive_at = loop.time()
        self._rest = b""
        self._readable = True
        self._channel = 0
        self._take: Take = lambda _: None
        self._envelope = b""
        self._header = b""
        self._parts: list[bytes] = []
        self._missing = 0
        self._messages: list[AmqpMessage] = []

    def intercept(self, channel: int, take: Take) -> None:
        """Hand over the messages of this channel, a list at a time, from now on."""
        self._channel, self._take = channel, take

    def fake_heartbeat(self) -> None:
        """Tell the library that the connection lives."""
        self._shown_alive_at = self._clock()
        super().feed_data(_HEARTBEAT)

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        """Take what came from the broker."""
        if not self._readable:
            super().feed_data(data)
            return
        stream = self._rest + bytes(data)
        at, whole = 0, len(stream)
        while whole - at > _FRAME.size:
            kind, channel, size = _FRAME.unpack_from(stream, at)
            end = at + size + 8
            if kind > 8 or (end <= whole and stream[end - 1] != _LAST):
                # Such as the header of another version of the protocol: the library says what is wrong.
                self._readable = False
                break
            if end > whole:
                break
            if channel != self._channel or not channel or not self._keep(kind, stream, at + 7, end - 1):
                super().feed_data(stream[at:end])
                self._shown_alive_at = self._clock()
            at = end
        self._rest = stream[at:]
        if not self._readable:
            super().feed_data(self._rest)
        if self._messages:
            self._hand_over()

    def _hand_over(self) -> None:
        messages, self._messages = self._messages, []
        if self._clock() - self._shown_alive_at > _STILL_ALIVE:
            self.fake_heartbeat()
        self._take(messages)

    def _keep(self, kind: int, data: bytes, at: int, end: int) -> bool:
        """Whether this payload is a part of a message; it is kept, and the message when it is complete."""
        if kind == _METHOD:
            # Whatever else comes in the midst of a message ends it: the channel is closed.
            self._envelope = data[at + 4 : end] if data.startswith(_DELIVER, at) else b""
            self._header = b""
            return bool(self._envelope)
        if not self._envelope:
            return False
        if kind == _HEADER:
            self._header = data[at:end]
            self._missing = int.from_bytes(data[at + 4 : at + 12])
            self._parts = []
        elif kind == _BODY:
            self._parts.append(data[at:end])
            self._missing -= end - at
        if self._missing <= 0:
            body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            self._messages.append(read_message(self._envelope, self._header, body))
            self._envelope, self._parts = b"", []
        return True


class BrokerTransport(TransportFactory):
    """Makes one connection whose messages can be diverted, and whose reading can be held."""

    def __init__(self) -> None:
        self._held: asyncio.TimerHandle | None = None

    async def create(self, url: URL, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """See TransportFactory. Raises what `dial` raises."""
        loop = asyncio.get_running_loop()
        self._frames = FrameReader(loop)
        protocol = asyncio.StreamReaderProtocol(self._frames, loop=loop)
        self._transport = await dial(url, protocol, **options)
        return self._frames, asyncio.StreamWriter(self._transport, protocol, self._frames, loop)

    def intercept(self, channel: int, take: Take) -> None:
        """Hand over the messages of this channel, a list at a time, from now on."""
        self._frames.intercept(channel, take)

    @property
    def paused(self) -> bool:
        """Whether nothing is read."""
        return self._held is not None

    def pause(self) -> None:
        """Read nothing more until `resume`: what comes waits at the broker, and on the wire."""
        if self._held is None:
            self._transport.pause_reading()
            self._fake_heartbeats()

    def resume(self) -> None:
        """Read again."""
        if self._held is not None:
            self._held.cancel()
            self._held = None
            self._transport.resume_reading()

    def _fake_heartbeats(self) -> None:
        # The library cannot see a heartbeat of the broker now, and must not take it for dead.
        self._frames.fake_heartbeat()
        self._held = asyncio.get_running_loop().call_later(_STILL_ALIVE, self._fake_heartbeats)
