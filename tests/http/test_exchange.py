"""What every transport keeps to, against servers that do what they should not."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from yarl import URL

from dispatcher import __version__
from dispatcher.http import MAX_READ, Exchange
from tests.http.requests import ask, failure, on_port, post, resolve_to
from tests.http.servers import Authority, answering, hang, raw_server, reset
from tests.http.transports import TRANSPORTS, by_the_receiver, transport
from tests.receiver import Arrived, Receiver

CLOSED = "the receiver closed the connection before it answered"


@pytest.fixture(params=TRANSPORTS)
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Exchange]:
    """Yield each transport."""
    async with transport(request.param) as client:
        yield client


@pytest.fixture(params=TRANSPORTS)
async def hasty(request: pytest.FixtureRequest) -> AsyncIterator[Exchange]:
    """Yield each transport, which gives up after 0.3 s."""
    async with transport(request.param, 0.3) as client:
        yield client


# What goes out


async def test_a_request_has_our_headers_and_no_others(client: Exchange, receiver: Receiver) -> None:
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


async def test_a_redirect_is_not_followed(client: Exchange, receiver: Receiver) -> None:
    async def redirect(_: Arrived) -> web.Response:
        return web.Response(status=302, headers={"Location": receiver.url + "/other"})

    receiver.answer = redirect
    reply = await post(client, receiver.url + "/first")

    assert reply.status == 302
    assert [arrived.path for arrived in receiver.arrived] == ["/first"]


async def test_cookies_are_not_kept(
    client: Exchange, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def bake(_: Arrived) -> web.Response:
        return web.Response(headers={"Set-Cookie": "session=1; Path=/"})

    receiver.answer = bake
    resolve_to(monkeypatch, ["127.0.0.1"])  # a host that is an address has no cookies anyway
    await post(client, on_port(receiver, "cookie.example"))
    await post(client, on_port(receiver, "cookie.example"))

    assert ["cookie" in arrived.headers for arrived in receiver.arrived] == [False, False]


async def test_connections_are_used_again(client: Exchange) -> None:
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


async def test_a_short_body_is_read_whole(client: Exchange, receiver: Receiver) -> None:
    async def say(_: Arrived) -> web.Response:
        return web.Response(text="x" * MAX_READ)

    receiver.answer = say
    reply = await post(client, receiver.url)

    assert (len(reply.body), reply.complete) == (MAX_READ, True)


async def test_an_endless_body_is_dropped_after_64_kib(client: Exchange) -> None:
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


async def test_a_body_of_one_byte_at_a_time_ends_with_the_time_limit(hasty: Exchange) -> None:
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
async def test_a_body_that_breaks_off_leaves_the_status(client: Exchange, rest: bytes) -> None:
    async with raw_server(answering(b"HTTP/1.1 200 OK\r\n" + rest)) as url:
        reply = await post(client, url)

    assert (reply.status, reply.complete) == (200, False)


async def test_a_compressed_body_is_not_unpacked(client: Exchange) -> None:
    bomb = b"\x1f\x8b" + bytes(20)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 22\r\n\r\n"
    async with raw_server(answering(head, bomb)) as url:
        assert (await post(client, url)).body == bomb


# No answer


async def test_a_server_that_never_answers_takes_no_longer_than_the_time_limit(hasty: Exchange) -> None:
    async with raw_server(answering(then=hang)) as url:
        problem = await failure(hasty, url)

    assert (str(problem), problem.early) == ("no answer within 0.3 s", False)


async def test_a_handshake_that_hangs_ends_earlier_than_the_exchange(hasty: Exchange) -> None:
    async with raw_server(answering(then=hang)) as url:
        place = url.removeprefix("http://")
        assert str(await failure(hasty, f"https://{place}")) == f"no connection to {place} within 0.2 s"


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (None, (CLOSED,)),
        # A proxy may close its own connection where the receiver resets one.
        (reset, (CLOSED, "the connection was lost before an answer came: Connection reset by peer")),
    ],
)
async def test_a_connection_that_ends_without_an_answer_is_tried_once_and_early_again(
    client: Exchange, method: str, ending: None, expected: tuple[str, ...]
) -> None:
    connections = 0
    end = answering(then=ending)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await end(reader, writer)

    async with raw_server(handle) as url:
        problem = await failure(client, url, method)

    assert by_the_receiver(problem) in expected
    assert problem.early
    assert connections == 1


@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "DELETE"])
async def test_an_idle_connection_that_was_closed_meanwhile_is_worth_an_early_retry(
    client: Exchange, method: str
) -> None:
    requests = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        for answer in (b"HTTP/1.1 204 No Content\r\n\r\n", b""):  # closes as the second request comes
            await reader.readuntil(b"\r\n\r\n")
            requests += 1
            writer.write(answer)

    async with raw_server(handle) as url:
        assert (await ask(client, method, URL(url), {})).status == 204
        assert (await failure(client, url, method)).early
        assert requests == 2
        assert (await ask(client, method, URL(url), {})).status == 204


async def test_what_is_not_http_is_no_answer(client: Exchange) -> None:
    async with raw_server(answering(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")) as url:
        problem = await failure(client, url)

    assert str(problem).startswith("the answer is not HTTP")
    assert len(str(problem)) < 300
    assert "\n" not in str(problem)
    assert not problem.early


async def test_the_url_is_not_in_an_error(client: Exchange, hasty: Exchange) -> None:
    async with raw_server(answering(then=reset)) as url:
        assert "hidden" not in str(await failure(client, url + "/?token=hidden"))
    async with raw_server(answering(b"SSH-2.0\r\n")) as url:
        assert "hidden" not in str(await failure(client, url + "/?token=hidden"))


async def test_a_closed_client_opens_again(client: Exchange, receiver: Receiver) -> None:
    await post(client, receiver.url)
    await client.close()
    await client.close()

    assert (await post(client, receiver.url)).status == 204


async def test_a_cancelled_request_drops_its_connection(client: Exchange) -> None:
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


@pytest.mark.parametrize(
    ("method", "body", "length"),
    [("POST", b"", "0"), ("PUT", b"ab", "2"), ("GET", b"", "0"), ("DELETE", b"", "0")],
)
async def test_a_request_says_how_long_its_body_is(
    client: Exchange, receiver: Receiver, method: str, body: bytes, length: str
) -> None:
    await ask(client, method, URL(receiver.url), {}, body)

    (arrived,) = receiver.arrived
    assert (arrived.method, arrived.body, arrived.headers.get("content-length", "0")) == (
        method,
        body,
        length,
    )
    assert "transfer-encoding" not in arrived.headers
    assert "content-type" not in arrived.headers


async def test_many_requests_at_once_get_their_own_answers(client: Exchange, receiver: Receiver) -> None:
    async def echo(arrived: Arrived) -> web.Response:
        return web.Response(body=arrived.body)

    receiver.answer = echo
    bodies = [str(number).encode() for number in range(100)]
    replies = await asyncio.gather(*(post(client, receiver.url, body) for body in bodies))

    assert [reply.body for reply in replies] == bodies


# Whom it talks to


@pytest.mark.parametrize("name", TRANSPORTS)
async def test_a_good_certificate_is_accepted_and_no_other(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, ["127.0.0.1"])
    authority = Authority(tmp_path)
    trust = ssl.create_default_context(cafile=authority.path)
    ok = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    async with transport(name, tls=trust) as client, raw_server(ok, authority.context("good.example")) as url:
        place = url.removeprefix("https://127.0.0.1")
        assert (await post(client, f"https://good.example{place}")).status == 200
        problem = str(await failure(client, f"https://cookie.example{place}"))

    assert problem.startswith(f"the certificate of cookie.example{place} is not accepted: ")
    assert "Hostname mismatch, certificate is not valid for 'cookie.example'" in problem


@pytest.mark.parametrize("host", ["10.0.0.1", "169.254.169.254", "[::ffff:10.0.0.1]", "[fe80::1]"])
async def test_an_address_that_is_not_public_is_blocked(client: Exchange, host: str) -> None:
    problem = await failure(client, f"http://{host}/")

    assert str(problem).startswith("blocked: ")
    assert "network.allow does not name it" in str(problem)
