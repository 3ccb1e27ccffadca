"""What the HTTP client writes, and what it makes of whatever bytes come back."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatcher.targets.http import MAX_READ, Headers, NoReply, Origin, Reply
from dispatcher.targets.http_connection import Connection
from dispatcher.targets.http_messages import UnsendableHeader, header_lines, opening

ORIGIN = Origin(False, "example.org", 80)
ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 404 Not Found\r\nX: y\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nZ: z\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 1\r\n\r\nx",
    b"HTTP/1.0 500 No\r\n\r\nsome words until the end",
    b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
]


@pytest.mark.parametrize(
    ("text", "origin", "place", "authority"),
    [
        ("https://example.org:443", Origin(True, "example.org", 443), "example.org:443", "example.org"),
        ("https://example.org:80", Origin(True, "example.org", 80), "example.org:80", "example.org:80"),
        ("http://example.org:80", Origin(False, "example.org", 80), "example.org:80", "example.org"),
        ("http://[::1]:8080", Origin(False, "::1", 8080), "[::1]:8080", "[::1]:8080"),
        ("https://[2001:db8::1]:443", Origin(True, "2001:db8::1", 443), "[2001:db8::1]:443", "[2001:db8::1]"),
    ],
)
def test_an_origin_is_shown_with_its_port_and_named_to_a_receiver_without_the_usual_one(
    text: str, origin: Origin, place: str, authority: str
) -> None:
    assert Origin.parse(text) == origin
    assert origin.place == place
    assert opening(origin, {}).startswith(f"Host: {authority}\r\n".encode())


@given(st.dictionaries(st.text(), st.text()))
def test_header_lines_hold_one_line_for_each_header_or_are_not_made(headers: dict[str, str]) -> None:
    try:
        lines = header_lines(headers)
    except UnsendableHeader:
        return
    assert lines.count(b"\n") == lines.count(b"\r") == lines.count(b"\r\n") == len(headers)
    assert b"\0" not in lines


def test_headers_are_found_in_any_case_and_the_first_one_counts() -> None:
    headers = Headers([(b"Retry-After", b"5"), (b"X", b"\xc3\xa9\xff"), (b"retry-after", b"7")])

    assert headers["RETRY-AFTER"] == "5"
    assert headers.get("x") == "é\ufffd"
    assert "y" not in headers
    assert list(headers) == ["retry-after", "x"]
    assert len(headers) == 2


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


def answered(pieces: list[bytes]) -> tuple[Reply | NoReply, bool]:
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
        assert isinstance(problem, NoReply)
        return problem, goes_on
    finally:
        loop.close()


def shown(reply: Reply | NoReply) -> object:
    if isinstance(reply, NoReply):
        return str(reply), reply.early
    return reply.status, dict(reply.headers), reply.body, reply.complete


@given(st.sampled_from(ANSWERS), st.data())
def test_an_answer_is_the_same_in_whatever_pieces_it_comes(answer: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(1, len(answer) - 1))))
    pieces = [answer[start:end] for start, end in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    whole, goes_on = answered([answer])
    cut, cut_goes_on = answered(pieces)

    assert isinstance(whole, Reply)
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

    if isinstance(reply, Reply):
        assert 100 <= reply.status <= 999
        assert len(reply.body) <= MAX_READ
    else:
        assert "\n" not in str(reply)
        assert len(str(reply)) < 300
