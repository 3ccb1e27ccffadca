"""The HTTP client against servers that do what they should not."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp import AsyncResolver, web
from aiohttp.abc import ResolveResult
from yarl import URL

from dispatcher import __version__
from dispatcher.http import MAX_READ, HttpClient
from tests.http.requests import ask, failure, on_port, post, resolve_to
from tests.http.servers import answering, hang, raw_server, reset
from tests.receiver import Arrived, Receiver

# What goes out


async def test_a_request_has_our_headers_and_no_others(client: HttpClient, receiver: Receiver) -> None:
    await ask(client, "POST", URL(receiver.url + "/a%2Fb?c=%26"), {"X-Own": "é"}, b"body")

    (arrived,) = receiver.arrived
    assert arrived.path == "/a%2Fb?c=%26"
    assert arrived.body == b"body"
    assert arrived.headers == {
        "host": receiver.url.removeprefix("http://"),
        "user-agent": f"Dispatcher/{__version__}",
        "accept": "*/*",
        "accept-encoding": "identity",
        "x-own": "é",
        "content-length": "4",
    }


async def test_a_redirect_is_not_followed(client: HttpClient, receiver: Receiver) -> None:
    async def redirect(_: Arrived) -> web.Response:
        return web.Response(status=302, headers={"Location": receiver.url + "/other"})

    receiver.answer = redirect
    reply = await post(client, receiver.url + "/first")

    assert reply.status == 302
    assert [arrived.path for arrived in receiver.arrived] == ["/first"]


async def test_cookies_are_not_kept(
    client: HttpClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def bake(_: Arrived) -> web.Response:
        return web.Response(headers={"Set-Cookie": "session=1; Path=/"})

    receiver.answer = bake
    resolve_to(monkeypatch, ["127.0.0.1"])  # a host that is an address has no cookies anyway
    await post(client, on_port(receiver, "cookie.example"))
    await post(client, on_port(receiver, "cookie.example"))

    assert ["cookie" in arrived.headers for arrived in receiver.arrived] == [False, False]


async def test_a_proxy_from_the_environment_is_not_used(
    client: HttpClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    assert (await post(client, receiver.url)).status == 204


async def test_connections_are_used_again(client: HttpClient) -> None:
    connections = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await reader.readuntil(b"\r\n\r\n{}")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with raw_server(handle) as url:
        for _ in range(3):
            assert (await post(client, url)).body == b"ok"

    assert connections == 1


# What comes back


async def test_a_short_body_is_read_whole(client: HttpClient, receiver: Receiver) -> None:
    async def say(_: Arrived) -> web.Response:
        return web.Response(text="x" * MAX_READ)

    receiver.answer = say
    reply = await post(client, receiver.url)

    assert (len(reply.body), reply.complete) == (MAX_READ, True)


async def test_an_endless_body_is_dropped_after_64_kib(client: HttpClient) -> None:
    written = 0
    broken = asyncio.Event()

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            while written < 1_000_000_000:
                writer.write(bytes(MAX_READ))
                written += MAX_READ
                await writer.drain()
        except ConnectionError:
            broken.set()

    async with raw_server(pour) as url:
        reply = await post(client, url)
        await asyncio.wait_for(broken.wait(), 10)

    assert (reply.status, len(reply.body), reply.complete) == (200, MAX_READ, False)
    assert written < 32 * 1024 * 1024  # what the sockets' own buffers take


async def test_a_body_of_one_byte_at_a_time_ends_with_the_time_limit(hasty: HttpClient) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with raw_server(answering(b"HTTP/1.1 200 OK\r\n\r\n", then=drip)) as url:
        reply = await post(hasty, url)

    assert (reply.status, reply.complete) == (200, False)
    assert set(reply.body) == set(b".")


@pytest.mark.parametrize(
    "rest", [b"Content-Length: 10\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"]
)
async def test_a_body_that_breaks_off_leaves_the_status(client: HttpClient, rest: bytes) -> None:
    async with raw_server(answering(b"HTTP/1.1 200 OK\r\n" + rest)) as url:
        reply = await post(client, url)

    assert (reply.status, reply.complete) == (200, False)


async def test_a_compressed_body_is_not_unpacked(client: HttpClient) -> None:
    bomb = b"\x1f\x8b" + bytes(20)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 22\r\n\r\n"
    async with raw_server(answering(head, bomb)) as url:
        assert (await post(client, url)).body == bomb


# No answer


async def test_a_server_that_never_answers_takes_no_longer_than_the_time_limit(hasty: HttpClient) -> None:
    async with raw_server(answering(then=hang)) as url:
        problem = await failure(hasty, url)

    assert (str(problem), problem.early) == ("no answer within 0.3 s", False)


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


async def test_a_handshake_that_hangs_ends_earlier_than_the_exchange(hasty: HttpClient) -> None:
    async with raw_server(answering(then=hang)) as url:
        place = url.removeprefix("http://")
        assert str(await failure(hasty, f"https://{place}")) == f"no connection to {place} within 0.2 s"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_refused_connection_says_so(client: HttpClient, method: str) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{unused.getsockname()[1]}"
        problem = await failure(client, f"http://{place}", method)

    assert (str(problem), problem.early) == (f"no connection to {place}: Connection refused", False)


async def test_a_name_without_an_address_says_so(client: HttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: object) -> list[ResolveResult]:
        raise OSError(None, "Domain name not found")

    monkeypatch.setattr(AsyncResolver, "resolve", resolve)

    assert str(await failure(client, "http://nowhere.example/")) == (
        "could not find the address of nowhere.example: Domain name not found"
    )


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (None, "the receiver closed the connection before it answered"),
        (reset, "the connection was lost before an answer came: Connection reset by peer"),
    ],
)
async def test_a_connection_that_ends_without_an_answer_is_tried_once_and_early_again(
    client: HttpClient, method: str, ending: None, expected: str
) -> None:
    connections = 0
    end = answering(then=ending)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await end(reader, writer)

    async with raw_server(handle) as url:
        problem = await failure(client, url, method)

    assert (str(problem), problem.early) == (expected, True)
    assert connections == 1


async def test_an_idle_connection_that_was_closed_meanwhile_is_worth_an_early_retry(
    client: HttpClient,
) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n{}")  # closes as the second request comes

    async with raw_server(handle) as url:
        assert (await post(client, url)).status == 204
        assert (await failure(client, url)).early
        assert (await post(client, url)).status == 204


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


async def test_the_url_is_not_in_an_error(client: HttpClient, hasty: HttpClient) -> None:
    async with raw_server(answering(then=reset)) as url:
        assert "hidden" not in str(await failure(client, url + "/?token=hidden"))
    async with raw_server(answering(b"SSH-2.0\r\n")) as url:
        assert "hidden" not in str(await failure(client, url + "/?token=hidden"))


async def test_a_closed_client_opens_anew(client: HttpClient, receiver: Receiver) -> None:
    await post(client, receiver.url)
    await client.close()
    await client.close()

    assert (await post(client, receiver.url)).status == 204


async def test_a_cancelled_request_drops_its_connection(client: HttpClient) -> None:
    arrived, dropped = asyncio.Event(), asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        arrived.set()
        assert await reader.read() == b""
        dropped.set()

    async with raw_server(handle) as url:
        request = asyncio.create_task(post(client, url))
        await arrived.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await asyncio.wait_for(dropped.wait(), 10)
