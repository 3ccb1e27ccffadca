"""Where an answer ends, and that nothing after its end is taken for the answer to another request."""

from __future__ import annotations

import asyncio

import pytest
from yarl import URL

from dispatcher.http import MAX_READ, HttpClient, Response, TransportError
from tests.http.requests import ask, failure, post
from tests.http.servers import answering, endless, hang, raw_server
from tests.receiver import Receiver

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Answers:
    """Answers the requests of all connections with these bytes in turn, the last for ever."""

    def __init__(self, *answers: bytes, close: bool = False) -> None:
        self._left = list(answers)
        self._close = close
        self.requests: list[bytes] = []
        self.connections = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while head := await self._request(reader):
            self.requests.append(head)
            writer.write(self._left.pop(0) if len(self._left) > 1 else self._left[0])
            await writer.drain()
            if self._close:
                return

    async def _request(self, reader: asyncio.StreamReader) -> bytes:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith((b"GET", b"HEAD")):
                await reader.readexactly(2)
        except asyncio.IncompleteReadError:
            return b""
        return head


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (OK, 200, b"ok"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\no\r\n1\r\nk\r\n0\r\nX: y\r\n\r\n",
            200,
            b"ok",
        ),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", 304, b""),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, 200, b"ok"),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
    ],
)
async def test_after_a_whole_answer_the_connection_is_used_again(
    client: HttpClient, answer: bytes, status: int, body: bytes
) -> None:
    server = Answers(answer)
    async with raw_server(server) as url:
        replies = [await post(client, url) for _ in range(3)]

    assert {(reply.status, reply.body, reply.complete) for reply in replies} == {(status, body, True)}
    assert server.connections == 1


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 200 OK\r\n\r\nok", b"ok"),
        (b"HTTP/1.0 200 OK\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", b""),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b""),
    ],
)
async def test_a_connection_that_the_receiver_ends_is_not_used_again(
    client: HttpClient, answer: bytes, body: bytes
) -> None:
    server = Answers(answer, close=True)
    async with raw_server(server) as url:
        replies = [await post(client, url) for _ in range(2)]

    assert {(reply.body, reply.complete) for reply in replies} == {(body, True)}
    assert server.connections == 2


@pytest.mark.parametrize(
    "extra",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged",
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n",
        b"nonsense",
    ],
)
@pytest.mark.parametrize("answer", [OK, OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n")])
async def test_what_comes_after_an_answer_is_never_the_next_one(
    client: HttpClient, answer: bytes, extra: bytes
) -> None:
    server = Answers(answer + extra, OK)
    async with raw_server(server) as url:
        replies = [await post(client, url), await post(client, url)]

    assert [(reply.status, reply.body, reply.complete) for reply in replies] == [(200, b"ok", True)] * 2
    assert server.connections == 2


async def test_what_comes_unasked_ends_a_resting_connection(client: HttpClient) -> None:
    connections = 0
    ended = asyncio.Event()
    speak = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(OK)
        if connections == 1:
            await speak.wait()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
            assert await reader.read() == b""
            ended.set()

    async with raw_server(handle) as url:
        assert (await post(client, url)).body == b"ok"
        speak.set()
        await asyncio.wait_for(ended.wait(), 10)
        assert (await post(client, url)).body == b"ok"

    assert connections == 2


async def test_an_answer_to_head_has_no_body_and_ends_the_connection(client: HttpClient) -> None:
    server = Answers(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    async with raw_server(server) as url:
        replies = [await ask(client, "HEAD", URL(url), {}, None) for _ in range(2)]

    assert [(reply.status, reply.body, reply.complete) for reply in replies] == [(200, b"", True)] * 2
    assert server.connections == 2


async def test_bodies_are_put_together_from_pieces_of_any_size(client: HttpClient) -> None:
    answer = b"HTTP/1.1 200 OK\r\nX-Name: value\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        for byte in answer:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        await hang(writer)

    async with raw_server(handle) as url:
        reply = await post(client, url)

    assert (reply.status, reply.body, reply.complete) == (200, b"ok", True)
    assert (reply.headers["x-NAME"], reply.headers.get("other")) == ("value", None)
    assert dict(reply.headers) == {"x-name": "value", "transfer-encoding": "chunked"}


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "piece", "kept"),
    [
        (CHUNKED, b"10000\r\n" + bytes(0x10000) + b"\r\n", MAX_READ),
        (CHUNKED + b"1\r\nx\r\n0\r\nTrailer: ", b"x" * 1000, 1),
        (CHUNKED + b"1\r\nx\r\n0\r\n", b"Trailer: x\r\n" * 100, 1),
        (CHUNKED + b"1;", b"x" * 1000, 0),
    ],
)
async def test_an_answer_without_end_is_dropped(
    client: HttpClient, head: bytes, piece: bytes, kept: int
) -> None:
    pour, broken = endless(head, piece)
    async with raw_server(pour) as url:
        reply = await post(client, url)
        await asyncio.wait_for(broken.wait(), 10)

    assert (reply.status, len(reply.body), reply.complete) == (200, kept, False)


async def test_a_head_without_end_is_dropped_and_its_status_counts(client: HttpClient) -> None:
    pour, broken = endless(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 1000)
    async with raw_server(pour) as url:
        reply = await post(client, url)
        await asyncio.wait_for(broken.wait(), 10)

    assert (reply.status, reply.body, reply.complete) == (200, b"", False)


async def test_a_status_line_without_end_is_dropped(client: HttpClient) -> None:
    pour, broken = endless(b"HTTP/1.1 200 ", b"x" * 1000)
    async with raw_server(pour) as url:
        problem = await failure(client, url)
        await asyncio.wait_for(broken.wait(), 10)

    assert str(problem) == "the answer is not HTTP: its head is longer than 64 KiB"


async def test_a_connection_whose_request_was_not_read_whole_is_not_used_again(client: HttpClient) -> None:
    connections = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await hang(writer)

    async with raw_server(handle) as url:
        for _ in range(2):
            assert (await post(client, url, bytes(32 * 1024 * 1024))).status == 200

    assert connections == 2


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", {"X": "a\r\nY: b"}),
        ("POST", {"X": "a\nY: b"}),
        ("POST", {"X": "a\0"}),
        ("POST", {"X\r\nY": "a"}),
        ("POST", {"X Y": "a"}),
        ("POST", {"": "a"}),
        ("GET / HTTP/1.1\r\nX:", {}),
    ],
)
async def test_a_request_that_would_break_out_of_its_lines_is_not_sent(
    client: HttpClient, method: str, headers: dict[str, str]
) -> None:
    server = Answers(OK)
    async with raw_server(server) as url:
        with pytest.raises(TransportError, match="the request could not be made"):
            await ask(client, method, URL(url), headers, b"{}")

    assert server.connections == 0


async def test_a_path_that_is_not_visible_ascii_is_not_sent(client: HttpClient) -> None:
    server = Answers(OK)
    async with raw_server(server) as url:
        with pytest.raises(TransportError, match="visible ASCII"):
            await ask(client, "GET", URL(url + "/a b\r\nX: y", encoded=True), {}, None)

    assert server.connections == 0


@pytest.mark.parametrize(
    ("method", "body", "framing"),
    [
        ("POST", b"{}", b"Content-Length: 2\r\n"),
        ("POST", b"", b"Content-Length: 0\r\n"),
        ("GET", b"", b""),
        ("DELETE", b"", b""),
    ],
)
async def test_a_request_says_how_long_its_body_is(
    client: HttpClient, method: str, body: bytes, framing: bytes
) -> None:
    heads: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)

    async with raw_server(handle) as url:
        await ask(client, method, URL(url), {}, body)

    assert heads[0].endswith(b"identity\r\n" + framing + b"\r\n")
    assert heads[0].lower().count(b"content-length") == bool(framing)
    assert b"transfer-encoding" not in heads[0].lower()


async def test_many_requests_at_once_get_their_own_answers(client: HttpClient) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(int(head.lower().partition(b"content-length:")[2].split()[0]))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))

    async def one(number: int) -> Response:
        return await post(client, url, str(number).encode())

    async with raw_server(echo) as url:
        for _ in range(5):
            replies = await asyncio.gather(*(one(number) for number in range(50)))
            assert [int(reply.body) for reply in replies] == list(range(50))


async def test_headers_that_come_one_byte_at_a_time_end_with_the_time_limit(hasty: HttpClient) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"X")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with raw_server(answering(b"HTTP/1.1 200 O", then=drip)) as url:
        assert str(await failure(hasty, url)) == "no answer within 0.3 s"
    async with raw_server(answering(b"HTTP/1.1 200 OK\r\n", then=drip)) as url:
        reply = await post(hasty, url)
    assert (reply.status, reply.complete) == (200, False)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the answer is not HTTP: Expected HTTP/"),
        (b"HTTP/1.1 042 Low\r\n\r\n", "the answer is not HTTP: its status is 042"),
        (
            b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
            "the answer is not HTTP: its head is longer than 64 KiB",
        ),
        (b"HTTP/1.1 200 O", "the receiver closed the connection in the middle of its answer's headers"),
    ],
)
async def test_what_is_not_http_is_no_answer(client: HttpClient, answer: bytes, expected: str) -> None:
    async with raw_server(answering(answer)) as url:
        problem = await failure(client, url)

    assert str(problem).startswith(expected)
    assert len(str(problem)) < 300
    assert "\n" not in str(problem)
    assert not problem.early


async def test_a_proxy_from_the_environment_is_not_used(
    client: HttpClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    assert (await post(client, receiver.url)).status == 204
