"""The HTTP client's connections at rest, its time limits, and how it finds the one to connect to."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp import AsyncResolver
from aiohttp.abc import ResolveResult

from dispatcher.http import HttpClient, TransportError
from dispatcher.http import pool as pools
from dispatcher.http.connection import Connection
from tests.http.requests import failure, found, on_port, post, resolve_to
from tests.http.servers import answering, hang, raw_server
from tests.http.test_connection import ORIGIN, Wire
from tests.receiver import Receiver


class Server:
    """Answers each request, and knows its open connections by the order in which they came."""

    def __init__(self) -> None:
        self.came = 0
        self.answered: list[int] = []
        self.open: set[int] = set()
        self.left = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = self.came
        self.came += 1
        self.open.add(number)
        try:
            while True:
                await reader.readuntil(b"\r\n\r\n{}")
                self.answered.append(number)
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        except asyncio.IncompleteReadError:
            self.open.discard(number)
            self.left.set()


async def test_the_connection_that_was_used_last_is_used_next(client: HttpClient) -> None:
    server = Server()
    async with raw_server(server) as url:
        await asyncio.gather(post(client, url), post(client, url), post(client, url))
        server.answered.clear()
        for _ in range(3):
            await post(client, url)

    assert server.came == 3
    assert len(set(server.answered)) == 1


async def test_a_connection_that_rested_too_long_is_closed(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "KEEP_ALIVE", 0.02)
    server = Server()
    async with raw_server(server) as url:
        await post(client, url)
        await asyncio.wait_for(server.left.wait(), 10)

    assert server.open == set()


async def test_no_more_connections_rest_than_the_bound(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "MAX_IDLE", 2)
    server = Server()
    async with raw_server(server) as url:
        await asyncio.gather(*(post(client, url) for _ in range(3)))
        await asyncio.wait_for(server.left.wait(), 10)
        assert len(server.open) == 2


def idle(pool: pools.Pool) -> tuple[Connection, Wire]:
    """A connection that rests in this pool, and its other side."""
    wire = Wire()
    connection = pool.new_connection(ORIGIN)
    connection.connection_made(wire)
    connection._on_idle(connection)
    return connection, wire


async def test_connections_that_left_or_were_taken_do_not_count_as_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pools, "MAX_IDLE", 1)
    pool = pools.Pool()
    idle(pool)[0].eof_received()
    connection, wire = idle(pool)
    assert pool.acquire(ORIGIN) is connection
    _, other = idle(pool)
    _, one_too_many = idle(pool)
    pool.close()

    assert (wire.closed, other.closed, one_too_many.closed) == (False, False, True)


async def test_a_idle_connection_that_is_closing_is_not_taken() -> None:
    pool = pools.Pool()
    idle(pool)[1].closed = True

    assert pool.acquire(ORIGIN) is None
    pool.close()


async def test_a_connection_that_the_receiver_closed_at_rest_is_not_used(client: HttpClient) -> None:
    async with raw_server(answering(b"HTTP/1.1 204 No Content\r\n\r\n")) as url:
        for _ in range(3):
            assert (await post(client, url)).status == 204
            # The end of the connection has come when a look at the loop's sockets has.
            await asyncio.to_thread(lambda: None)
            await asyncio.sleep(0.01)


async def test_origins_do_not_share_connections(client: HttpClient) -> None:
    one, other = Server(), Server()
    async with raw_server(one) as url, raw_server(other) as other_url:
        for _ in range(2):
            await post(client, url)
            await post(client, other_url)

    assert (one.came, other.came) == (1, 1)


async def test_each_of_many_exchanges_has_its_own_time_limit(hasty: HttpClient) -> None:
    async with raw_server(answering(then=hang)) as url:
        loop = asyncio.get_running_loop()
        ended: list[float] = []

        async def one(delay: float) -> None:
            await asyncio.sleep(delay)
            began = loop.time()
            assert str(await failure(hasty, url)) == "no answer within 0.3 s"
            ended.append(loop.time() - began)

        await asyncio.gather(*(one(number / 20) for number in range(6)))

    # Loops count in milliseconds.
    assert min(ended) >= 0.298


async def test_a_closed_client_tells_who_waits(client: HttpClient) -> None:
    async with raw_server(answering(then=hang)) as url:
        waiting = asyncio.create_task(post(client, url))
        server = Server()
        async with raw_server(server) as other:
            await post(client, other)
        await client.close()
        with pytest.raises(TransportError, match="the client was closed"):
            await waiting


async def test_an_address_that_refuses_leaves_it_to_the_next(
    client: HttpClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, ["127.0.0.9", "::1", "127.0.0.1"])

    assert (await post(client, on_port(receiver, "three.example"))).status == 204


async def test_a_host_is_looked_up_once_for_all_who_ask_at_the_same_time(
    client: HttpClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def resolve(_: object, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        asked.append(host)
        await asyncio.sleep(0.01)
        return [found(host, "127.0.0.1", port)]

    monkeypatch.setattr(AsyncResolver, "resolve", resolve)
    await asyncio.gather(*(post(client, on_port(receiver, "busy.example")) for _ in range(10)))

    assert asked == ["busy.example"]


async def test_a_caller_who_stops_waiting_for_a_look_up_stops_no_other(
    client: HttpClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def resolve(_: object, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        asked.set()
        await go_on.wait()
        return [found(host, "127.0.0.1", port)]

    monkeypatch.setattr(AsyncResolver, "resolve", resolve)
    impatient = asyncio.create_task(post(client, on_port(receiver, "busy.example")))
    await asked.wait()
    patient = asyncio.create_task(post(client, on_port(receiver, "busy.example")))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.wait({impatient})
    go_on.set()

    assert (await patient).status == 204


async def test_a_failed_look_up_is_forgotten(
    client: HttpClient, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(*_: object) -> list[ResolveResult]:
        raise OSError(None, "Domain name not found")

    with monkeypatch.context() as patch:
        patch.setattr(AsyncResolver, "resolve", lambda *_, **__: resolve())
        await failure(client, on_port(receiver, "later.example"))
    resolve_to(monkeypatch, ["127.0.0.1"])

    assert (await post(client, on_port(receiver, "later.example"))).status == 204


async def test_a_look_up_that_hangs_ends_with_the_time_to_connect(
    hasty: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(*_: object, **__: object) -> list[ResolveResult]:
        await asyncio.get_running_loop().create_future()
        return []

    monkeypatch.setattr(AsyncResolver, "resolve", resolve)

    assert (
        str(await failure(hasty, "http://slow.example/")) == "no connection to slow.example:80 within 0.2 s"
    )


async def test_a_literal_ipv6_address_is_connected_to(client: HttpClient) -> None:
    answer = answering(b"HTTP/1.1 204 No Content\r\n\r\n")

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answer(reader, writer)
        writer.close()

    server = await asyncio.start_server(handle, "::1", 0, family=socket.AF_INET6)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert (await post(client, f"http://[::1]:{port}/")).status == 204
