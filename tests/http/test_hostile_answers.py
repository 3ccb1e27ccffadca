"""What every transport makes of answers that are endless, broken or not asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from dispatcher.http import Exchange, TransportError
from tests.http.requests import failure, post
from tests.http.servers import answering, endless, hang, raw_server
from tests.http.transports import TRANSPORTS, by_the_receiver, transport

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SECRET = "s3cr3t"


@pytest.fixture(params=TRANSPORTS)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Exchange]:
    """Yield each transport."""
    async with transport(request.param) as client:
        yield client


async def outcome(client: Exchange, url: str) -> str:
    """The status of the response, or the text of the error."""
    try:
        return str((await post(client, url)).status)
    except TransportError as problem:
        return str(problem)


# Answers without end


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 60_000 + b"\r\n\r\n"),
        (b"", b"\r\n" * 30_000),
        (b"HTTP/1.1 200 ", b"x" * 1000),
    ],
)
async def test_a_head_without_end_is_dropped(client: Exchange, head: bytes, piece: bytes) -> None:
    pour, broken = endless(head, piece)
    async with raw_server(pour) as url:
        problem = await failure(client, url)
        await asyncio.wait_for(broken.wait(), 10)

    assert str(problem) == "the answer is not HTTP: its head is longer than 64 KiB"
    assert not problem.early


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (CHUNKED + b"1;", b"x" * 60_000),
        (CHUNKED + b"1\r\nx\r\n0\r\nTrailer: ", b"x" * 1000),
        (CHUNKED + b"1\r\nx\r\n0\r\n", b"Trailer: x\r\n" * 100),
    ],
)
async def test_an_answer_without_end_is_dropped_and_its_status_counts(
    client: Exchange, head: bytes, piece: bytes
) -> None:
    pour, broken = endless(head, piece)
    async with raw_server(pour) as url:
        reply = await post(client, url)
        await asyncio.wait_for(broken.wait(), 10)

    assert (reply.status, reply.complete) == (200, False)


# Broken answers


@pytest.mark.parametrize(
    ("answer", "body", "complete"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\nstray", b"", True),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nstray", b"", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokay", b"ok", True),
        (CHUNKED + b"2\r\nok\r\nzz\r\n", b"ok", False),
        (CHUNKED + b"zz\r\n", b"", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + CHUNKED + b"zz\r\n", b"", False),
        (b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\nzz\n", b"", False),
    ],
)
async def test_a_status_counts_at_once_whatever_comes_with_it(
    client: Exchange, answer: bytes, body: bytes, complete: bool
) -> None:
    async with raw_server(answering(answer, then=hang)) as url, asyncio.timeout(5):
        reply = await post(client, url)

    assert reply.status == int(answer.rpartition(b"HTTP/1.1 ")[2][:3])
    assert (reply.body, reply.complete) == (body, complete)


@pytest.mark.parametrize("cut", range(1, 6))
async def test_a_status_counts_wherever_its_head_is_cut(client: Exchange, cut: int) -> None:
    head, stray = b"HTTP/1.1 204 No Content\r\n\r\n", b"stray"

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(head[:-cut])
        await writer.drain()
        await asyncio.sleep(0.02)  # so that the rest is a segment by itself
        writer.write(head[-cut:] + stray)
        await hang(writer)

    async with raw_server(handle) as url, asyncio.timeout(5):
        assert (await post(client, url)).status == 204


@pytest.mark.parametrize("begun", [b"HTTP/1.1 20", b"HTTP/1.1 100 Continue\r\n\r\n"])
async def test_an_answer_that_has_begun_is_not_worth_an_early_retry(client: Exchange, begun: bytes) -> None:
    async with raw_server(answering(begun)) as url:
        problem = await failure(client, url)

    closed = "the receiver closed the connection in the middle of its answer's headers"
    assert (by_the_receiver(problem), problem.early) == (closed, False)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\n", b"\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: ", b"\r\n\r\n"),
        (b"HTTP/1.1 ", b"\r\n\r\n"),
        (CHUNKED, b"\r\n"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 65_400, b"\r\n\r\n"),
    ],
)
async def test_what_a_receiver_repeats_of_its_request_is_in_no_error(
    client: Exchange, before: bytes, after: bytes
) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        writer.write(before + request.partition(b"\r\n")[0] + after)
        await writer.drain()

    async with raw_server(echo) as url:
        assert SECRET not in await outcome(client, f"{url}/hook?token={SECRET}")


# Answers that no request asked for


FORGED = OK.replace(b"ok", b"no")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (OK + FORGED, b""),
        (OK, FORGED),
        (OK[:-2], OK[-2:] + FORGED),
        (OK[:-2], OK[-2:] + b"HTTP/1.1 100 Continue\r\n\r\n"),
        (OK, FORGED[:10]),
    ],
)
async def test_an_answer_that_came_unasked_is_not_taken_for_the_next_one(
    client: Exchange, first: bytes, second: bytes
) -> None:
    connections = 0
    ended = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n{}")
        if connections > 1:
            writer.write(OK)
            return
        writer.write(first)
        await asyncio.sleep(0.02)  # so that the rest is a segment by itself
        writer.write(second)
        assert await reader.read() == b""
        ended.set()

    async with raw_server(handle) as url:
        assert (await post(client, url)).body == b"ok"
        await asyncio.wait_for(ended.wait(), 10)
        assert (await post(client, url)).body == b"ok"

    assert connections == 2
