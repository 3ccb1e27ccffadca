"""The transport through an egress proxy: what goes to the proxy, and what its refusals become."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from dispatcher.http import HttpClient
from dispatcher.http.aiohttp_transport import AiohttpTransport
from dispatcher.targets.ssrf_guard import Guard
from tests.http.proxy import Proxy, proxy
from tests.http.requests import LOOPBACK, failure, on_port, post, resolve_to
from tests.http.servers import Authority, answering, endless, hang, raw_server, reset
from tests.receiver import Receiver

Ending = Callable[[asyncio.StreamWriter], Awaitable[None]] | None


@pytest.fixture
async def running() -> AsyncIterator[Proxy]:
    """Yield a proxy with a password, which refuses one host."""
    names = {"hook.example": "127.0.0.1"}
    async with proxy(names, refused=["internal.example"], password="secret") as running:
        yield running


@pytest.fixture
async def client(running: Proxy) -> AsyncIterator[AiohttpTransport]:
    """Yield the transport through that proxy, which may not reach this host by itself."""
    client = AiohttpTransport(Guard(), proxy=running.url)
    yield client
    await client.close()


async def test_the_proxy_finds_the_host_and_gets_the_password(
    client: AiohttpTransport, running: Proxy, receiver: Receiver
) -> None:
    url = on_port(receiver, "hook.example")
    assert (await post(client, url)).status == 204

    (arrived,) = receiver.arrived
    assert running.asked == [f"POST {url}"]
    assert arrived.headers["host"] == url.removeprefix("http://").rstrip("/")


async def test_a_server_with_tls_is_reached_by_a_tunnel_that_hides_the_request(
    running: Proxy, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    trust = ssl.create_default_context(cafile=authority.path)
    client = AiohttpTransport(Guard(), tls=trust, proxy=running.url)
    ok = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    async with raw_server(ok, authority.context("hook.example")) as url:
        place = url.removeprefix("https://127.0.0.1")
        assert (await post(client, f"https://hook.example{place}/path?token=hidden")).status == 200
    await client.close()

    assert running.asked == [f"CONNECT hook.example{place}"]


async def test_what_the_proxy_refuses_fails_for_the_destination(client: AiohttpTransport) -> None:
    problem = await failure(client, "https://internal.example/")

    assert str(problem) == "the proxy refused internal.example:443: 403 Forbidden"
    assert problem.down


async def test_a_wrong_password_says_so(running: Proxy) -> None:
    client = AiohttpTransport(Guard(), proxy=running.url.replace("secret", "wrong"))
    problem = await failure(client, "https://hook.example/")
    await client.close()

    assert "407 Proxy Authentication Required" in str(problem)
    assert "wrong" not in str(problem)


async def test_a_proxy_that_is_away_is_named_without_its_password() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{unused.getsockname()[1]}"
        client = AiohttpTransport(Guard(), proxy=f"http://user:secret@{place}")
        problem = await failure(client, "https://hook.example/")
        await client.close()

    assert str(problem) == f"no connection to the proxy {place}: Connection refused"
    assert problem.down


async def test_a_literal_address_that_is_blocked_does_not_reach_the_proxy(
    client: AiohttpTransport, running: Proxy
) -> None:
    for host in ("127.0.0.1", "[::1]", "localhost", "2130706433"):
        assert str(await failure(client, f"http://{host}/")).startswith("blocked: ")

    assert running.asked == []


async def test_a_proxy_that_never_answers_takes_no_longer_than_connecting_may() -> None:
    async with raw_server(answering(then=hang)) as url:
        client = AiohttpTransport(Guard(), timeout=0.3, proxy=url)
        problem = await failure(client, "https://hook.example/")
        await client.close()

    assert str(problem) == "no connection to hook.example:443 within 0.2 s"


async def test_a_proxy_without_an_address_is_named_without_its_password() -> None:
    client = AiohttpTransport(Guard(), proxy="http://user:secret@nowhere.invalid:3128")
    problem = await failure(client, "https://hook.example/")
    await client.close()

    assert str(problem).startswith("could not find the address of the proxy nowhere.invalid:3128: ")
    assert problem.down


async def test_a_silent_proxy_is_not_taken_for_the_server() -> None:
    # No connection is accepted while the queue of the socket is full, so connecting hangs.
    with socket.socket() as full, contextlib.ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        place = f"127.0.0.1:{full.getsockname()[1]}"
        for _ in range(3):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        client = AiohttpTransport(Guard(), timeout=0.3, proxy=f"http://{place}")
        problem = await failure(client, "http://hook.example/")
        await client.close()

    assert (str(problem), problem.down) == (f"no connection to the proxy {place} within 0.2 s", True)


@pytest.mark.parametrize("then", [None, reset])
async def test_a_tunnel_that_ends_may_be_the_proxys_fault(then: Ending) -> None:
    tunnel = answering(b"HTTP/1.1 200 Connection established\r\n\r\n", then=then)
    async with raw_server(tunnel) as url:
        client = AiohttpTransport(Guard(), proxy=url)
        problem = await failure(client, "https://hook.example/")
        await client.close()

    # A reset may overtake the proxy's answer.
    assert "the proxy or the receiver" in str(problem)
    assert not problem.down


async def test_a_proxy_that_speaks_no_http_is_the_one_that_is_down() -> None:
    async with raw_server(answering(b"SSH-2.0-OpenSSH_9.2\r\n")) as url:
        client = AiohttpTransport(Guard(), proxy=url)
        problem = await failure(client, "https://hook.example/")
        await client.close()

    assert (str(problem), problem.down) == ("the answer of the proxy is not HTTP", True)


async def test_a_reason_that_the_proxy_makes_up_is_not_repeated() -> None:
    async with raw_server(answering(b"HTTP/1.1 403 user:secret\r\nContent-Length: 0\r\n\r\n")) as url:
        client = AiohttpTransport(Guard(), proxy=url)
        problem = await failure(client, "https://hook.example/")
        await client.close()

    assert str(problem) == "the proxy refused hook.example:443: 403 Forbidden"


async def test_a_password_that_cannot_be_sent_is_not_in_the_error() -> None:
    client = AiohttpTransport(Guard(), proxy="http://user:p%E2%82%ACss@127.0.0.1:9")
    problem = await failure(client, "https://hook.example/")
    await client.close()

    assert str(problem) == "the request could not be made: UnicodeEncodeError"


async def test_an_answer_without_end_is_dropped_in_a_tunnel_too(running: Proxy, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    trust = ssl.create_default_context(cafile=authority.path)
    client = AiohttpTransport(Guard(), tls=trust, proxy=running.url)
    pour, broken = endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2000)
    async with raw_server(pour, authority.context("hook.example")) as url:
        problem = await failure(client, url.replace("127.0.0.1", "hook.example"))
        await asyncio.wait_for(broken.wait(), 10)
    await client.close()

    assert str(problem) == "the answer is not HTTP: its head is longer than 64 KiB"


async def test_connecting_is_not_given_up_to_a_second_later(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, deadlines = asyncio.get_running_loop(), []
    call_at = loop.call_at

    def remember(when: float, *arguments: Any, **options: Any) -> asyncio.TimerHandle:
        deadlines.append(when)
        return call_at(when, *arguments, **options)

    monkeypatch.setattr(loop, "call_at", remember)
    start = loop.time()
    async with raw_server(answering(b"HTTP/1.1 204 No Content\r\n\r\n")) as url:
        client = AiohttpTransport(Guard(LOOPBACK), timeout=9)
        await post(client, url)
        await client.close()

    connecting = [when for when in deadlines if start + 6 <= when < start + 7]
    assert connecting
    assert not any(when.is_integer() for when in connecting)


# Without a proxy


async def test_a_long_head_is_not_kept() -> None:
    field = b"X: " + b"x" * 60_000 + b"\r\n"
    pour, broken = endless(b"HTTP/1.1 200 OK\r\n", field)
    client = AiohttpTransport(Guard(LOOPBACK))
    async with raw_server(pour) as url:
        problem = await failure(client, url)
        await asyncio.wait_for(broken.wait(), 10)
    await client.close()

    assert str(problem) == "the answer is not HTTP: its head is longer than 64 KiB"


@pytest.mark.parametrize("then", [None, reset])
async def test_a_server_that_ends_a_handshake_is_not_down(then: Ending) -> None:
    async def end(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if then is not None:
            await then(writer)

    client = AiohttpTransport(Guard(LOOPBACK))
    async with raw_server(end) as url:
        problem = await failure(client, url.replace("http:", "https:"))
    await client.close()

    assert not problem.down


async def test_without_a_proxy_every_socket_is_guarded(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = AiohttpTransport(Guard())
    resolve_to(monkeypatch, ["127.0.0.1"])
    problem = await failure(client, on_port(receiver, "private.example"))
    await client.close()

    assert str(problem).startswith("blocked: private.example resolves to 127.0.0.1, a loopback address")
    assert receiver.arrived == []


@pytest.mark.parametrize("kind", [HttpClient, AiohttpTransport])
async def test_both_transports_say_the_same_of_a_refused_connection(
    kind: type[HttpClient] | type[AiohttpTransport],
) -> None:
    client = kind(Guard(LOOPBACK))
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{unused.getsockname()[1]}"
        problem = await failure(client, f"http://{place}")
    await client.close()

    assert (str(problem), problem.early, problem.down) == (
        f"no connection to {place}: Connection refused",
        False,
        True,
    )


async def test_a_proxy_is_asked_by_many_requests_at_once(
    client: AiohttpTransport, running: Proxy, receiver: Receiver
) -> None:
    url = on_port(receiver, "hook.example")
    replies = await asyncio.gather(*(post(client, url) for _ in range(50)))

    assert {reply.status for reply in replies} == {204}
    assert len(receiver.arrived) == 50
