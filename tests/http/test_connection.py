"""One connection of the HTTP client, byte by byte and without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.http import MAX_READ, Origin, Response, TransportError
from dispatcher.http.connection import Connection

ORIGIN = Origin(False, "example.org", 80)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ANSWERS = [
    OK,
    b"HTTP/1.1 404 Not Found\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nZ: z\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx",
    b"HTTP/1.0 500 No\r\n\r\nsome words until the end",
    b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
]


class Wire(asyncio.Transport):
    """The other side of a connection: what was written, and whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def abort(self) -> None:
        self.closed = True


class Line:
    """A connection with its other side, and what it reported to its owner."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.wire = Wire()
        self.rested: list[Connection] = []
        self.gone: list[Connection] = []
        self.connection = Connection(ORIGIN, self.rested.append, self.gone.append)
        self.connection.connection_made(self.wire)

    def ask(self, request: bytes = b"POST / HTTP/1.1\r\n\r\n") -> asyncio.Future[Response]:
        waiter = self.loop.create_future()
        self.connection.begin(request, waiter)
        return waiter


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.loop.close()


def problem(waiter: asyncio.Future[Response]) -> TransportError:
    found = waiter.exception()
    assert isinstance(found, TransportError)
    return found


@pytest.mark.parametrize(
    ("answer", "goes_on"),
    [
        (OK, True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", False),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", False),
        (b"HTTP/1.1 101 Switching Protocols\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nother", False),
        (OK + b"HTTP/1.1 200 OK\r\n", False),
        (OK + b"x", False),
    ],
)
def test_a_connection_goes_on_only_after_an_answer_that_lets_it(
    line: Line, answer: bytes, goes_on: bool
) -> None:
    waiter = line.ask()
    line.connection.data_received(answer)

    assert waiter.result().complete
    assert (line.rested == [line.connection]) is goes_on
    assert line.wire.closed is not goes_on


def test_an_answer_to_head_is_whole_without_its_body(line: Line) -> None:
    waiter = line.ask(b"HEAD / HTTP/1.1\r\n\r\n")
    line.connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")

    assert (waiter.result().body, waiter.result().complete) == (b"", True)
    assert line.wire.closed


def test_headers_of_interim_answers_and_of_trailers_are_not_the_answers(line: Line) -> None:
    waiter = line.ask()
    line.connection.data_received(
        b"HTTP/1.1 103 Early Hints\r\nA: 1\r\n\r\nHTTP/1.1 200 OK\r\nB: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"0\r\nC: 3\r\n\r\n"
    )

    assert list(waiter.result().headers) == ["b", "transfer-encoding"]


def test_who_has_left_leaves_no_answer_for_the_next_request(line: Line) -> None:
    line.ask().cancel()
    line.connection.data_received(OK)

    assert line.rested == []
    assert line.wire.closed


def test_what_comes_before_any_request_ends_the_connection(line: Line) -> None:
    line.connection.data_received(OK)

    assert line.wire.closed
    assert line.gone == [line.connection]


def test_a_request_on_a_connection_that_ended_is_worth_an_early_retry(line: Line) -> None:
    line.connection.connection_lost(ConnectionResetError(104, "reset"))

    assert problem(line.ask()).early


def test_a_connection_that_the_receiver_ends_is_gone_at_once(line: Line) -> None:
    line.connection.eof_received()

    assert line.gone == [line.connection]


@pytest.mark.parametrize(("received", "early"), [(b"", True), (b"HTTP/1.1 2", False)])
def test_only_a_connection_that_is_lost_before_the_first_byte_is_worth_an_early_retry(
    line: Line, received: bytes, early: bool
) -> None:
    waiter = line.ask()
    if received:
        line.connection.data_received(received)
    line.connection.connection_lost(ConnectionResetError(104, "reset"))

    assert problem(waiter).early is early
    assert str(problem(waiter)) == "the connection was lost before an answer came: Connection reset by peer"


@pytest.mark.parametrize("endless", [b"1;" + b"x" * 1000, b"0\r\nX: " + b"x" * 1000])
def test_padding_around_a_body_has_a_bound(line: Line, endless: bytes) -> None:
    waiter = line.ask()
    line.connection.data_received(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + endless)
    came = 0
    while not line.wire.closed and came < 2 * 1024 * 1024:
        line.connection.data_received(b"x" * 4096)
        came += 4096

    assert not waiter.result().complete
    assert came < 1024 * 1024


def answered(pieces: list[bytes]) -> tuple[Response | TransportError, bool]:
    """What a request gets when these pieces come and the connection ends, and if it could have gone on before that."""
    loop = asyncio.new_event_loop()
    try:
        rested: list[Connection] = []
        wire, waiter = Wire(), loop.create_future()
        connection = Connection(ORIGIN, rested.append, lambda _: None)
        connection.connection_made(wire)
        connection.begin(b"POST / HTTP/1.1\r\n\r\n", waiter)
        for piece in pieces:
            if not wire.closed:
                connection.data_received(piece)
        goes_on = bool(rested) and not wire.closed
        connection.connection_lost(None)
        assert waiter.done()
        problem = waiter.exception()
        if problem is None:
            return waiter.result(), goes_on
        assert isinstance(problem, TransportError)
        return problem, goes_on
    finally:
        loop.close()


def shown(reply: Response | TransportError) -> object:
    if isinstance(reply, TransportError):
        return str(reply), reply.early
    return reply.status, dict(reply.headers), reply.body, reply.complete


@given(st.sampled_from(ANSWERS), st.data())
def test_an_answer_is_the_same_in_whatever_pieces_it_comes(answer: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(answer) - 1))))
    pieces = [answer[start:end] for start, end in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    whole, goes_on = answered([answer])
    cut, cut_goes_on = answered(pieces)

    assert isinstance(whole, Response)
    assert shown(cut) == shown(whole)
    assert cut_goes_on == goes_on


@given(
    st.lists(
        st.one_of(
            st.binary(),
            st.sampled_from(
                [*ANSWERS, b"HTTP/1.1 200 OK\r\n", b"\r\n", b"Content-Length: 9\r\n", b"0\r\n\r\n"]
            ),
        ),
        max_size=8,
    )
)
def test_whatever_comes_is_an_answer_or_none_and_within_the_bounds(pieces: list[bytes]) -> None:
    reply, _ = answered(pieces)

    if isinstance(reply, Response):
        assert 100 <= reply.status <= 999
        assert len(reply.body) <= MAX_READ
    else:
        assert "\n" not in str(reply)
        assert len(str(reply)) < 300
