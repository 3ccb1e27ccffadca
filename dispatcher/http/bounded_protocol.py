"""aiohttp's side of a connection, with the bounds that `Connection` has: on a head, and on a whole response.

aiohttp bounds each line and each field, so a receiver could send heads, chunk extensions or empty lines for ever: they
are parsed in one go, and no time limit ends that. And it takes a response that came unasked for the next one's.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from aiohttp import ClientConnectionError, ClientError, ClientPayloadError, ServerDisconnectedError
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage
from aiohttp.streams import StreamReader

from dispatcher.http.messages import MAX_HEAD

# The end of a line that is not empty, and an empty line.
_HEAD_END = re.compile(rb"[^\r\n]\r?\n\r?\n")
_LONGEST_END = 5
_SWITCHING = 101


class HeadTooLong(ClientError):
    """The head of a response, with all interim responses before it, is longer than MAX_HEAD."""


class HeadBrokenOff(ClientConnectionError):
    """The connection was lost within the head of a response, or between an interim response and the final one."""


class BoundedProtocol(ResponseHandler):
    """Ends the connection when a response is too long, and when there is something that no request asked for."""

    def __init__(self, loop: asyncio.AbstractEventLoop, max_read: int) -> None:
        super().__init__(loop)
        # Chunks of one byte take six on the wire. What is more than that is padding, or endless trailers.
        self._max_wire = MAX_HEAD + 8 * max_read
        self._received = 0
        self._last_bytes = b""
        self._answered = False
        self._stopped = False

    def set_response_params(self, **parameters: Any) -> None:
        """Expect the response to another request."""
        self._received, self._last_bytes, self._answered = 0, b"", False
        super().set_response_params(**parameters)

    def data_received(self, data: bytes) -> None:
        """Parse what came. A head goes in alone: what is wrong behind it cannot take its status away."""
        start = 0
        while not (self._answered or self._stopped) and (end := self._end_of_head(data, start)):
            self._take(data[start:end])
            start = end
        self._take(data[start:] if start else data)

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Take the head of a response from the parser."""
        if self._answered:
            self._stop(ServerDisconnectedError())
            return
        status = data[0].code
        self._answered = not 100 <= status < 200 or status == _SWITCHING
        super().feed_data(data, size)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End the response. aiohttp does not see whether any of it had come, nor that a reset is no end of a body."""
        if self._received and not self._answered and self._exception is None:
            self.set_exception(HeadBrokenOff())
        if exc is not None and self._payload is not None:
            _fail(self._payload)
        super().connection_lost(exc)

    @property
    def _expects_nothing(self) -> bool:
        if self._parser is None:
            return True
        return self._answered and (self._payload is None or self._payload.is_eof())

    def _end_of_head(self, data: bytes, start: int) -> int:
        """Where a head ends in the data; 0 if it does not. Its end may have begun in what came before."""
        before = b"" if start else self._last_bytes
        found = _HEAD_END.search(before + data[:_LONGEST_END]) if before else None
        if found is not None:
            return found.end() - len(before)
        found = _HEAD_END.search(data, start)
        if found is not None:
            return found.end()
        self._last_bytes = (before + data[max(start, len(data) - _LONGEST_END) :])[1 - _LONGEST_END :]
        return 0

    def _take(self, data: bytes) -> None:
        # Without data it goes on with what the parser kept while the reader was slow.
        if data and self._stopped:
            return
        if data and self._expects_nothing:
            self._stop(ServerDisconnectedError())
            return
        self._received += len(data)
        if self._received > (self._max_wire if self._answered else MAX_HEAD):
            self._stop(HeadTooLong())
            return
        before = self._exception
        super().data_received(data)
        if self._exception is not before:
            self._stopped = True
            self._end_payload()  # else it would wait for what the parser cannot give any more

    def _stop(self, error: ClientError) -> None:
        self._stopped = True
        self.set_exception(error)
        self._end_payload()
        if self.transport is not None:
            self.transport.abort()

    def _end_payload(self) -> None:
        """Give the reader of the body what came of it, then an error."""
        if self._payload is not None:
            self._loop.call_soon(_fail, self._payload)


def _fail(payload: StreamReader) -> None:
    if not payload.is_eof():
        payload.set_exception(ClientPayloadError())
