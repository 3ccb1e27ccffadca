"""Destinations that do harm: each costs an attempt with a clear error within its time, and no memory."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.service import Service
from tests.http.servers import Authority, answering, hang, raw_server, reset
from tests.receiver import Receiver

pytestmark = pytest.mark.timeout(120)

TIMEOUT = 1
"""Seconds for a whole exchange."""

GIGABYTE = 1_000_000_000
PIECE = bytes(1 << 20)
EVENTS = 60
MOST = 48 * 1024
"""KiB that the service may grow by: far less than what one of the answers has."""

NEVER = {"strategy": "none"}
OK = b"HTTP/1.1 200 OK\r\n"


async def drip(writer: asyncio.StreamWriter) -> None:
    """Write a byte of the status line now and then."""
    while True:
        writer.write(b"X")
        await writer.drain()
        await asyncio.sleep(TIMEOUT / 5)


class Flood:
    """A server's way to answer with a gigabyte, and how much of it was taken from it."""

    def __init__(self) -> None:
        self.written = 0

    async def pour(self, writer: asyncio.StreamWriter) -> None:
        written = 0
        while written < GIGABYTE:
            writer.write(PIECE)
            await writer.drain()
            written += len(PIECE)
            self.written += len(PIECE)


def peak(service: Service) -> int:
    """KiB that the process had in memory at most since the last `forget_peak`."""
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s*(\d+) kB", status)
    assert found is not None
    return int(found[1])


def forget_peak(service: Service) -> None:
    Path(f"/proc/{service.process.pid}/clear_refs").write_text("5")


async def ended(service: Service, count: int) -> list[dict[str, Any]]:
    """The deliveries, once so many have ended."""
    async with asyncio.timeout(60):
        while True:
            items: list[dict[str, Any]] = (await service.call("GET", "/v1/deliveries?limit=500"))["items"]
            if sum(item["ended_at"] is not None for item in items) >= count:
                return items
            await asyncio.sleep(0.05)


async def publish(service: Service, count: int = 1) -> None:
    events = [{"event": "FINISHED", "job_id": f"job-{number}"} for number in range(count)]
    await service.call("POST", "/v1/events", events)


@pytest.fixture
async def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[dict[str, str]]:
    """Yield the addresses of destinations that do harm, by what they do."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    expired = authority.context("localhost", expired=True)
    handlers = {
        "never answers": answering(then=hang),
        # A whole status line would decide, whatever becomes of what follows it.
        "answers a byte at a time": answering(b"HTTP/1.1 200 O", then=drip),
        "resets": answering(then=reset),
    }
    async with AsyncExitStack() as stack:
        urls = {name: await stack.enter_async_context(raw_server(each)) for name, each in handlers.items()}
        old = await stack.enter_async_context(raw_server(answering(OK), expired))
        yield urls | {
            "has an expired certificate": old.replace("127.0.0.1", "localhost"),
            "resolves to nothing": "http://nothing.invalid",
        }


async def test_each_hostile_destination_costs_an_attempt_that_says_what_was_wrong(
    tmp_path: Path, hostile: dict[str, str]
) -> None:
    async with Service(tmp_path, delivery_timeout=TIMEOUT) as service:
        names = {}
        for name, url in hostile.items():
            made = await service.subscribe(f"{url}/hook", retry=NEVER)
            names[made["id"]] = name
        await publish(service)
        tried: dict[str, dict[str, Any]] = {}
        for item in await ended(service, len(hostile)):
            detail = await service.call("GET", f"/v1/deliveries/{item['id']}")
            [attempt] = detail["latest_attempts"]
            assert item["state"] == "exhausted"
            tried[names[item["subscription_id"]]] = attempt
    errors = {name: attempt["error"] for name, attempt in tried.items()}
    nowhere = errors.pop("resolves to nothing")
    place = hostile["has an expired certificate"].removeprefix("https://")
    assert errors == {
        "never answers": "no answer within 1 s",
        "answers a byte at a time": "no answer within 1 s",
        "resets": "the connection was lost before an answer came: Connection reset by peer",
        "has an expired certificate": f"the certificate of {place} is not accepted: certificate has expired",
    }
    assert "nothing.invalid" in nowhere
    assert all(attempt["status"] is None for attempt in tried.values())


@pytest.mark.long
async def test_answers_of_a_gigabyte_are_cut_off_and_memory_stays_flat(tmp_path: Path) -> None:
    flood = Flood()
    head = OK + b"Content-Length: %d\r\n\r\n" % GIGABYTE
    async with (
        raw_server(answering(head, then=flood.pour)) as url,
        Receiver() as receiver,
        Service(tmp_path, delivery_timeout=TIMEOUT) as service,
    ):
        await service.subscribe(f"{receiver.url}/hook")
        await publish(service, EVENTS)
        await ended(service, EVENTS)
        forget_peak(service)
        before = peak(service)
        await service.subscribe(f"{url}/hook", retry=NEVER)
        await publish(service, EVENTS)
        items = await ended(service, 3 * EVENTS)
        grown = peak(service) - before
    assert {item["state"] for item in items} == {"delivered"}
    assert flood.written < EVENTS * GIGABYTE / 10
    assert grown < MOST


@pytest.mark.long
async def test_destinations_that_never_answer_take_no_memory_and_hold_up_no_one_else(tmp_path: Path) -> None:
    async with (
        raw_server(answering(then=hang)) as url,
        Receiver() as receiver,
        Service(tmp_path, delivery_timeout=TIMEOUT) as service,
    ):
        await service.subscribe(f"{receiver.url}/hook")
        await publish(service, EVENTS)
        await ended(service, EVENTS)
        forget_peak(service)
        before = peak(service)
        made = await service.subscribe(f"{url}/hook", retry=NEVER)
        await publish(service, 5 * EVENTS)
        await receiver.count(6 * EVENTS)
        mine = f"/v1/deliveries?subscription_id={made['id']}&limit=500"
        states = {item["state"] for item in (await service.call("GET", mine))["items"]}
        grown = peak(service) - before
    assert "delivering" in states or "pending" in states
    assert "delivered" not in states
    assert grown < MOST
