"""Responses with a slip in their head: the status line decides, and the connection is not used again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.http import Response, TransportError
from tests.http.test_connection import Line

MALFORMED = {
    "lines end with LF alone": (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok", b"ok"),
    "a control byte in a value": (
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=\x01b; path=/\r\nContent-Length: 0\r\n\r\n",
        b"",
    ),
    "a length beside chunks": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"ok",
    ),
    "the length twice": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    "two lengths": (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", b"ok"),
    "a length that is no number": (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nok", b"ok"),
    "a blank before the colon": (b"HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length: 0\r\n\r\n", b""),
    "a folded line": (b"HTTP/1.1 200 OK\r\nX-A: 1\r\n  2\r\nContent-Length: 0\r\n\r\n", b""),
    "a field without a name": (b"HTTP/1.1 200 OK\r\n: x\r\nContent-Length: 0\r\n\r\n", b""),
    "a blank in a name": (b"HTTP/1.1 200 OK\r\nX Bad: 1\r\nContent-Length: 0\r\n\r\n", b""),
    "a line without a colon": (b"HTTP/1.1 200 OK\r\nnonsense\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    "a CR in a value": (b"HTTP/1.1 200 OK\r\nA: b\rc\r\nContent-Length: 0\r\n\r\n", b""),
    "a NUL in a value": (b"HTTP/1.1 200 OK\r\nA: b\0c\r\nContent-Length: 0\r\n\r\n", b""),
    "HTTP/2 in text": (b"HTTP/2 200\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    "a version that does not exist": (b"HTTP/1.5 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    "small letters": (b"http/1.1 200 ok\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    "two blanks before the status": (b"HTTP/1.1  200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
    "an interim response before it": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"ok",
    ),
}


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.loop.close()


def received(line: Line, *pieces: bytes) -> Response | None:
    """What came of a request whose response arrives in these pieces, and then the end of the connection."""
    waiter: asyncio.Future[Response] = line.ask()
    for piece in pieces:
        if line.wire.closed:
            break
        line.connection.data_received(piece)
    line.connection.connection_lost(None)
    return None if isinstance(waiter.exception(), TransportError) else waiter.result()


@pytest.mark.parametrize("name", MALFORMED)
def test_the_status_counts_and_the_connection_is_not_used_again(line: Line, name: str) -> None:
    response, body = MALFORMED[name]
    reply = received(line, response)

    assert reply is not None
    assert (reply.status, reply.body) == (200, body)
    assert line.rested == []


@pytest.mark.parametrize("name", MALFORMED)
def test_it_counts_in_whatever_pieces_it_comes(line: Line, name: str) -> None:
    response, body = MALFORMED[name]
    reply = received(line, *(response[index : index + 1] for index in range(len(response))))

    assert reply is not None
    assert (reply.status, reply.body) == (200, body)
    assert line.rested == []


def test_what_stands_in_the_good_lines_is_still_read(line: Line) -> None:
    reply = received(line, b"HTTP/1.1 503 Busy\r\nX Bad: 1\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n")

    assert reply is not None
    assert (reply.status, reply.headers["Retry-After"]) == (503, "7")


def test_a_malformed_head_that_has_no_end_counts_by_its_status(line: Line) -> None:
    reply = received(line, b"HTTP/1.1 200 OK\r\nX Bad: 1\r\nX-B: ")

    assert reply is not None
    assert (reply.status, reply.complete) == (200, False)


def test_a_malformed_head_that_stops_counts_when_its_time_is_over(line: Line) -> None:
    line.ask()
    line.connection.data_received(b"HTTP/1.1 200 OK\r\nX Bad: 1\r\n")

    assert line.connection.give_up("no answer within 15 s").status == 200


def test_a_malformed_head_is_read_within_the_bound_of_heads(line: Line) -> None:
    waiter = line.ask()
    line.connection.data_received(b"HTTP/1.1 200 OK\r\nX Bad: 1\r\n")
    for _ in range(100):
        if not line.wire.closed:
            line.connection.data_received(b"x" * 1000)

    assert waiter.result().status == 200
    assert line.wire.closed


@pytest.mark.parametrize(
    "rest",
    [
        b"",
        b"Content-Le",
        b"Content-Length: 2\r\n",
        b"Set-Cookie: " + b"a" * 100_000 + b"\r\nContent-Length: 2\r\n\r\nok",
        b"X: a\r\n" * 20_000,
    ],
)
def test_a_good_head_that_breaks_off_or_is_too_long_counts_by_its_status(line: Line, rest: bytes) -> None:
    response = b"HTTP/1.1 200 OK\r\n" + rest
    reply = received(line, *(response[start : start + 1000] for start in range(0, len(response), 1000)))

    assert reply is not None
    assert (reply.status, reply.complete) == (200, False)
    assert line.rested == []


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 2\n\n",
        b"\0" * 50,
    ],
)
def test_what_has_no_status_line_is_no_response(line: Line, response: bytes) -> None:
    assert received(line, response) is None


@given(
    st.lists(
        st.sampled_from([b"\r", b"\n", b"\r\n", b" ", b":", b"a", b"\0", b"\xff", b"Content-Length: 1"]),
        max_size=20,
    )
)
def test_whatever_follows_a_status_line_it_decides_when_the_head_is_whole(noise: list[bytes]) -> None:
    line = Line()
    reply = received(line, b"HTTP/1.1 200 OK\r\n" + b"".join(noise) + b"\r\n\r\n")
    line.loop.close()

    assert reply is not None
    assert reply.status == 200
