"""A request is over in time: however slowly its response comes, and however often it is sent."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from dispatcher.client import NO_RETRIES, Client, Retries, TransportError, Unavailable, WaitTimeout
from tests.client.conftest import Caller, Script
from tests.client.test_retries import silent_port
from tests.http.servers import Authority

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
STATUS = b'{"job_id": "job-1", "status": "RUNNING"}'
SLOW: dict[str, tuple[bytes, bytes]] = {
    "status line": (b"", b"HTTP/1.1 200 OK" + b" " * 1000),
    "headers": (HEAD, b"X: " + b"x" * 1000),
    "body": (HEAD + b"Content-Length: 1000\r\n\r\n", b" " * 1000),
    "body without a length": (HEAD + b"\r\n", b" " * 1000),
    "chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 200),
}
"""What a server sends at once, and what one byte after the other."""

PAUSE = 0.02


@contextmanager
def dripping(at_once: bytes, slowly: bytes, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server that sends one byte after the other."""

    def serve() -> None:
        with suppress(OSError):  # the client has gone, or never came
            accepted, _ = listening.accept()
            with accepted if tls is None else tls.wrap_socket(accepted, server_side=True) as connection:
                connection.recv(65536)
                connection.sendall(at_once)
                for byte in slowly:
                    if ended.wait(PAUSE):
                        return
                    connection.sendall(bytes([byte]))

    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            host = "http://127.0.0.1" if tls is None else "https://localhost"
            yield f"{host}:{listening.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()


@asynccontextmanager
async def serving(handler: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    async with TestServer(app) as server:
        yield str(server.make_url(""))


@pytest.mark.parametrize(("at_once", "slowly"), SLOW.values(), ids=SLOW)
async def test_a_response_that_drips_is_given_up_at_the_timeout(
    call: Caller, at_once: bytes, slowly: bytes
) -> None:
    with dripping(at_once, slowly) as url:
        began = time.monotonic()
        with pytest.raises(TransportError) as late:
            await call(url, lambda client: client.jobs.get("x"), timeout=0.3, retries=NO_RETRIES)
        assert time.monotonic() - began < 5
    assert late.value.sent


def test_a_response_that_drips_through_tls_is_given_up_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    with dripping(*SLOW["body"], tls=authority.context("localhost")) as url:
        began = time.monotonic()
        with (
            Client(url, timeout=0.5, retries=NO_RETRIES) as client,
            pytest.raises(TransportError, match="timed out") as late,
        ):
            client.jobs.get("x")
        assert 0.4 < time.monotonic() - began < 5
    assert late.value.sent


async def test_a_wait_ends_in_time_when_no_response_comes(call: Caller) -> None:
    with silent_port() as url:
        began = time.monotonic()
        with pytest.raises(
            WaitTimeout, match=r"job job-1 did not reach terminal in 1\.2 s: .* does not answer"
        ):
            await call(url, lambda client: client.jobs.wait("job-1", timeout=1.2))
        assert 1.1 < time.monotonic() - began < 5


async def test_a_wait_ends_in_time_when_the_server_keeps_asking_for_a_pause(call: Caller) -> None:
    async with Script([web.Response(status=503, headers={"Retry-After": "20"})]) as server:
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await call(server.url, lambda client: client.jobs.wait("job-1", timeout=2), retries=Retries())
        assert time.monotonic() - began < 5


async def test_a_server_is_asked_to_wait_for_less_than_the_caller_does(call: Caller) -> None:
    asked: list[float] = []

    async def waits(request: web.Request) -> web.Response:
        asked.append(float(request.query["wait"]))
        await asyncio.sleep(asked[-1])
        return web.json_response({"job_id": "job-1", "status": "RUNNING"})

    async with serving(waits) as url:
        with pytest.raises(WaitTimeout, match="it is RUNNING"):
            await call(url, lambda client: client.jobs.wait("job-1", timeout=1.0))
    assert asked[0] == pytest.approx(0.9, abs=0.01)
    assert sum(asked) <= 1.0


async def test_a_wait_without_time_is_answered_all_the_same(call: Caller) -> None:
    async with Script([web.json_response({"job_id": "job-1", "status": "RUNNING"})]) as server:
        with pytest.raises(WaitTimeout, match="it is RUNNING"):
            await call(server.url, lambda client: client.jobs.wait("job-1", timeout=0))
