"""One connection of the HTTP client: writes a request, reads the response within bounds, and says if it is reusable.

llhttp parses, and has no bounds. Anything that a receiver sends without being asked ends the connection,
so that it can never be taken for the response to a later request. A status line decides, whatever is wrong behind it.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable
from typing import cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from dispatcher.http.lenient import Head, is_unfinished, lenient_parser, read_head
from dispatcher.http.messages import MAX_HEAD, MAX_READ, Headers, Origin, Response, TransportError
from dispatcher.http.tls_alerts import words

_TOO_LONG = f"its head is longer than {MAX_HEAD // 1024} KiB"
_SWITCHING = 101


class Connection(asyncio.Protocol):
    """A connection with `origin`, for one request after the other.

    `on_idle(connection)` is called when it can take another request, `on_closed(connection)` when it will take no
    more.
    """

    # A protocol is made for each connection, and its fields are touched for each event.
    __slots__ = (
        "_chunks",
        "_complete",
        "_ended",
        "_fields",
        "_head",
        "_headers_done",
        "_interim",
        "_keep",
        "_left",
        "_malformed",
        "_max_read",
        "_on_closed",
        "_on_idle",
        "_parser",
        "_problem",
        "_received",
        "_status",
        "_to_head",
        "_transport",
        "_waiter",
        "idle_since",
        "origin",
    )

    def __init__(
        self,
        origin: Origin,
        on_idle: Callable[[Connection], None],
        on_closed: Callable[[Connection], None],
        max_read: int = MAX_READ,
    ) -> None:
        self.origin = origin
        self._max_read = max_read
        self.idle_since = 0.0
        self._on_idle = on_idle
        self._on_closed = on_closed
        self._waiter: asyncio.Future[Response] | None = None
        self._ended: TransportError | None = None

    @property
    def usable(self) -> bool:
        """Whether a request can be written, as far as is known."""
        return not self._transport.is_closing()

    def begin(self, request: bytes, waiter: asyncio.Future[Response]) -> None:
        """Write a whole request. `waiter` gets the Response, or TransportError."""
        if self._ended is not None:
            waiter.set_exception(self._ended)
            return
        self._waiter = waiter
        self._to_head = request.startswith(b"HEAD ")
        self._fields: list[tuple[bytes, bytes]] = []
        self._chunks: list[bytes] = []
        self._left = self._max_read
        self._received = 0
        self._status = 0
        self._head: list[bytes] = []
        self._headers_done = self._complete = self._keep = self._interim = self._malformed = False
        self._problem: str | None = None
        self._transport.write(request)

    def give_up(self, problem: str) -> Response:
        """End an exchange that took too long: what came of its response, else TransportError with the problem."""
        self.drop()
        if self._headers_done or self._status_counts():
            return self._response(complete=False)
        raise TransportError(problem)

    def drop(self) -> None:
        """Close the connection at once."""
        self._waiter = None
        self._on_closed(self)
        self._transport.abort()

    def end(self) -> None:
        """Close the connection at once; the waiter gets TransportError."""
        waiter = self._waiter
        self.drop()
        if waiter is not None and not waiter.done():
            waiter.set_exception(TransportError("the client was closed before an answer came"))

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:
            self.drop()
            return
        self._received += len(data)
        if not self._headers_done:
            self._head.append(data)
        if self._malformed and not self._headers_done:
            self._parse_leniently()
        else:
            self._feed(data)
        self._check_progress()

    def eof_received(self) -> None:
        self._on_closed(self)

    def connection_lost(self, error: Exception | None) -> None:
        del self._parser  # it refers to this connection, and this one to it
        self._on_closed(self)
        waiter, self._waiter = self._waiter, None
        if waiter is None:
            self._ended = _lost(error, begun=False)
        elif waiter.done():
            pass
        elif self._headers_done:
            waiter.set_result(self._response(complete=error is None and self._until_end()))
        elif self._status_counts():
            waiter.set_result(self._response(complete=False))
        else:
            waiter.set_exception(_lost(error, begun=self._received > 0))

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._complete, self._keep = True, False
        except HttpParserError as error:
            self._problem = str(error.__context__ or error)
            self._keep = False
            # With a context it is one of our bounds that was broken, and not the grammar.
            if not self._headers_done and not self._malformed and error.__context__ is None:
                self._malformed = True
                self._parse_leniently()

    def _parse_leniently(self) -> None:
        """Go on with a head that breaks the grammar as soon as it is whole."""
        received = b"".join(self._head)
        head = read_head(received)
        if head is None or head.rest is None:
            return
        self._problem = None
        self._parser = lenient_parser(self)
        self._interim = False
        self._feed(head.normalized() + received[head.rest :])
        self._use(head)

    def _status_counts(self) -> bool:
        """Whether a final status was read in a head that is not whole or not right: then it is this response's."""
        head = read_head(b"".join(self._head)[:MAX_HEAD])
        if head is not None:
            self._use(head)
        return head is not None

    def _use(self, head: Head) -> None:
        self._status, self._fields = head.status, head.fields

    # What the parser calls

    def on_message_begin(self) -> None:
        if self._complete:
            raise ValueError("a second answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        # Those of a chunked body's trailer are left out.
        if not self._headers_done:
            self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        if self._status < 200 and self._status != _SWITCHING:
            if self._status < 100:
                raise ValueError(f"its status is {self._status:03}")
            self._interim = True
            self._fields.clear()
            return
        if self._received > MAX_HEAD < sum(len(name) + len(value) for name, value in self._fields):
            raise ValueError(_TOO_LONG)
        self._headers_done = True
        if self._to_head:
            self._complete = True

    def on_body(self, body: bytes) -> None:
        if self._left > 0:
            self._chunks.append(body[: self._left])
        self._left -= len(body)

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
            return
        self._complete = True
        # After 101 the parser stops with an error.
        self._keep = self._parser.should_keep_alive() and not self._malformed

    # How an exchange ends

    def _until_end(self) -> bool:
        """Whether the end of the connection is the end of the body (RFC 9112, section 6.3)."""
        framing = (b"content-length", b"transfer-encoding")
        return not any(name.lower() in framing for name, _ in self._fields)

    @property
    def _max_wire(self) -> int:
        # Chunks of one byte take six on the wire. What is more than that is padding, or endless trailers.
        return MAX_HEAD + 8 * self._max_read

    def _check_progress(self) -> None:
        """Resolve the waiter when the response is complete, or cannot become so."""
        if self._complete and self._left >= 0:
            self._finish(complete=True)
        elif self._headers_done:
            if self._problem is not None or self._left < 0 or self._received > self._max_wire:
                self._finish(complete=False)
        elif self._received > MAX_HEAD:
            self._end_head(_TOO_LONG)
        elif self._problem is not None and not (self._malformed and is_unfinished(b"".join(self._head))):
            self._end_head(self._problem)

    def _end_head(self, problem: str) -> None:
        if self._status_counts():
            self._finish(complete=False)
        else:
            self._fail(problem)

    def _finish(self, complete: bool) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            self.drop()  # the waiter was cancelled, and is about to drop it as well
            return
        waiter.set_result(self._response(complete))
        # A receiver that answers before it has read everything is likely to stop reading.
        if complete and self._keep and not self._transport.get_write_buffer_size():
            self._on_idle(self)
        else:
            self.drop()

    def _fail(self, problem: str) -> None:
        waiter = self._waiter
        self.drop()
        if waiter is not None and not waiter.done():
            waiter.set_exception(TransportError(f"the answer is not HTTP: {problem[:200]}"))

    def _response(self, complete: bool) -> Response:
        return Response(self._status, Headers(self._fields), b"".join(self._chunks), complete)


def _lost(error: Exception | None, begun: bool) -> TransportError:
    if error is not None:
        lost = f"the connection was lost before an answer came: {_detail(error)}"
        return TransportError(lost, early=not begun)
    if begun:
        return TransportError("the receiver closed the connection in the middle of its answer's headers")
    return TransportError("the receiver closed the connection before it answered", early=True)


def _detail(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return words(error)
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number else type(error).__name__
