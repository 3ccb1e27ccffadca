"""Whatever a broker does, publishing to it ends with NotPublished, and in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
import pytest

from dispatcher.client import NotPublished, Publisher, amqp
from tests.cli.conftest import Run, run
from tests.client.test_publisher import EVENT, EXCHANGE, QUEUE, declared
from tests.intake.wire import Wire

__all__ = ["run"]

WAIT = 0.5
"""Seconds in which these brokers should have answered."""


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amqp, "TIMEOUT", WAIT)


@asynccontextmanager
async def answering(answer: bytes, *, hang_up: bool) -> AsyncIterator[str]:
    """A server that answers whatever comes first with this, and nothing more."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(answer)
        if not hang_up:
            await ended.wait()
        writer.close()

    ended = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1")
    try:
        yield f"amqp://guest:hunter22@127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        ended.set()
        server.close()


class CutAt(Wire):
    """A wire that is cut when the client sends these bytes, or goes silent instead."""

    def __init__(self, target: str, seen: bytes, *, silent: bool = False) -> None:
        super().__init__(target)
        self._seen = seen
        self._silent = silent

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self._seen in data:
                if self._silent:
                    continue
                self.cut()
            writer.write(data)
        writer.transport.abort()


@pytest.mark.parametrize("hang_up", [True, False])
@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"AMQP\x00\x00\x09\x01",
        b"\x01\x00\x00\x00\x00\x00\x05hello\xce",
        b"\0" * 40,
    ],
)
async def test_what_is_no_broker_is_an_error(short: None, answer: bytes, hang_up: bool) -> None:
    async with answering(answer, hang_up=hang_up) as url, asyncio.timeout(10 * WAIT):
        with pytest.raises(NotPublished, match="the broker cannot be reached: ") as refused:
            async with Publisher.amqp(url):
                pass
    assert "hunter22" not in str(refused.value)


@pytest.mark.parametrize("seen", [b"PLAIN", EXCHANGE.encode()])
@pytest.mark.parametrize("silent", [False, True])
async def test_a_connection_that_is_lost_while_it_is_opened_is_an_error(
    amqp_url: str, short: None, seen: bytes, silent: bool
) -> None:
    await declared(amqp_url)
    async with CutAt(amqp_url, seen, silent=silent) as wire:
        with pytest.raises(NotPublished, match="the broker cannot be reached: "):
            async with Publisher.amqp(wire.url):
                pass


async def test_an_event_that_is_not_confirmed_in_time_is_an_error(amqp_url: str, short: None) -> None:
    await declared(amqp_url)
    async with CutAt(amqp_url, b"job-1", silent=True) as wire, Publisher.amqp(wire.url) as publisher:
        with pytest.raises(NotPublished, match="the broker did not confirm: "):
            await publisher.publish(EVENT)


async def test_an_exchange_that_may_not_be_used_is_an_error(amqp_url: str) -> None:
    with pytest.raises(NotPublished, match="the broker refuses the exchange"):
        async with Publisher.amqp(amqp_url, exchange=""):
            pass


async def test_a_wrong_password_is_an_error(amqp_url: str) -> None:
    url = aio_pika.connection.make_url(amqp_url).with_password("hunter22")
    with pytest.raises(NotPublished, match="the broker cannot be reached: ") as refused:
        async with Publisher.amqp(str(url)):
            pass
    assert "hunter22" not in str(refused.value)


async def test_an_event_that_a_full_queue_rejects_is_an_error(amqp_url: str) -> None:
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        exchange = await channel.declare_exchange(EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
        full: dict[str, Any] = {"x-max-length": 1, "x-overflow": "reject-publish"}
        await (await channel.declare_queue(QUEUE, durable=True, arguments=full)).bind(exchange, "#")
    async with Publisher.amqp(amqp_url) as publisher:
        await publisher.publish(EVENT)
        with pytest.raises(NotPublished, match="the broker refused the event: a queue is full"):
            await publisher.publish_many([EVENT] * 5)


@pytest.mark.parametrize("lost", [False, True])
async def test_the_end_of_a_connection_takes_nothing_back(amqp_url: str, lost: bool) -> None:
    await declared(amqp_url)
    async with Wire(amqp_url) as wire, Publisher.amqp(wire.url) as publisher:
        await publisher.publish(EVENT)
        if lost:
            wire.cut()


async def test_who_is_cancelled_while_connecting_is_cancelled(short: None) -> None:
    async with answering(b"", hang_up=False) as url:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(WAIT / 5), Publisher.amqp(url):
                pass


@pytest.mark.parametrize(
    "url", ["", "http://example.org/", "amqp://", "amqp://ann:hunter22@example.org:port/"]
)
async def test_what_is_no_url_of_a_broker_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="expected the URL of a broker") as refused:
        async with Publisher.amqp(url):
            pass
    assert "hunter22" not in str(refused.value)


async def test_the_command_line_says_that_the_connection_was_lost(amqp_url: str, run: Run) -> None:
    await declared(amqp_url)
    async with CutAt(amqp_url, EXCHANGE.encode()) as wire:
        options = ["--event", "FINISHED", "--job-id", "job-1"]
        result = await asyncio.to_thread(run, "publish", *options, DISPATCHER_AMQP_URL=wire.url)
    assert (result.code, result.out) == (1, "")
    assert "the broker cannot be reached: " in result.err
    assert "Traceback" not in result.err
