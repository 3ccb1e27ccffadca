"""What the service writes to or asks may stand still: the event loop goes on, and everybody else is served."""

from __future__ import annotations

import asyncio
import fcntl
import os
import select
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.e2e.service import ADMIN_KEY, Service
from tests.receiver import Arrived, Receiver
from tests.servers import free_port

pytestmark = pytest.mark.timeout(240)

AS_ROOT = pytest.mark.skipif(os.getuid() != 0, reason="only root can listen as a name server")

HOW_LONG = pytest.mark.parametrize("seconds", [2.0, pytest.param(60.0, marks=pytest.mark.long)])

ANSWERS_WITHIN = aiohttp.ClientTimeout(total=5)
"""Seconds. A loop that stands still for as long as what it waits for does not answer in them."""

ENDS_WITHIN = 15
"""Seconds; the look-ups that have begun take 150."""

NAMESERVER = "127.0.0.53"
NAMED = 8
"""More names than look-ups run at once anywhere."""


async def served(service: Service, receiver: Receiver, seconds: float) -> None:
    """For so long it answers, takes events in, and delivers them to an address that needs no look-up."""
    key = {"Authorization": f"Bearer {ADMIN_KEY}"}
    until, count = time.monotonic() + seconds, len(receiver.arrived)
    async with aiohttp.ClientSession(service.url, timeout=ANSWERS_WITHIN, headers=key) as session:
        while time.monotonic() < until:
            async with session.get("/health/live") as live:
                assert live.status == 200
            event = {"event": "RUNNING", "job_id": f"job-{count}"}
            async with session.post("/v1/events", json=event) as accepted:
                assert accepted.status == 202, await accepted.text()
            count += 1
            await receiver.count(count, seconds=20)


async def stalls(service: Service) -> int:
    """How often the event loop stood still for longer than two seconds."""
    page, name = await service.text("/metrics"), "dispatcher_loop_lag_seconds"
    lines = dict(line.rsplit(" ", 1) for line in page.splitlines() if line.startswith(name))
    return int(float(lines[f"{name}_count"]) - float(lines[f'{name}_bucket{{le="2.0"}}']))


@HOW_LONG
async def test_a_fifo_of_the_log_without_a_reader_holds_no_delivery_up(
    tmp_path: Path, seconds: float
) -> None:
    fifo, port = tmp_path / "log", free_port()
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDWR)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    into = ("sh", "-c", f'exec "$@" 2<>{fifo}', "sh")
    service = Service(tmp_path, within=into, http_port=port, log_level="debug")
    async with Receiver() as receiver:
        await service.start()
        try:
            await service.answers(f"http://127.0.0.1:{port}")
            await service.subscribe(receiver.url)
            await served(service, receiver, seconds)
            assert not select.select([], [reader], [], 0)[1], "the FIFO is not full"
            assert await stalls(service) == 0
            assert await asyncio.wait_for(service.terminate(), ENDS_WITHIN) == 0
        finally:
            os.close(reader)  # who writes to it goes on
            if service.process.returncode is None:
                await service.kill()


@HOW_LONG
async def test_a_file_that_another_process_holds_stops_no_request_and_loses_nothing(
    tmp_path: Path, seconds: float
) -> None:
    path, go_on = tmp_path / "store.db", asyncio.Event()

    async def slowly(_: Arrived) -> web.Response:
        await go_on.wait()
        return web.Response(status=204)

    async with Receiver(slowly) as receiver, Service(tmp_path, database_url=f"sqlite:///{path}") as service:
        await service.subscribe(receiver.url)
        events = [{"event": "RUNNING", "job_id": f"job-{n}"} for n in range(20)]
        await service.call("POST", "/v1/events", events)
        await receiver.count(1)
        with closing(sqlite3.connect(path, isolation_level=None)) as tool:
            tool.execute("begin exclusive")
            go_on.set()
            until = time.monotonic() + seconds
            async with aiohttp.ClientSession(service.url, timeout=ANSWERS_WITHIN) as session:
                while time.monotonic() < until:
                    async with session.get("/health/live") as live:
                        assert live.status == 200
                    await asyncio.sleep(0.1)
            assert await stalls(service) == 0
            tool.execute("rollback")
        await receiver.count(20, seconds=60)
        await service.call("POST", "/v1/events", {"event": "RUNNING", "job_id": "job-20"})
        await receiver.count(21)
        assert receiver.repeats == set()
        assert await asyncio.wait_for(service.terminate(), ENDS_WITHIN) == 0


class Silent(asyncio.DatagramProtocol):
    """A name server that answers nothing. `asked` is set with the first question."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.asked.set()


@asynccontextmanager
async def silent_nameserver() -> AsyncIterator[Silent]:
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
        Silent, local_addr=(NAMESERVER, 53)
    )
    try:
        yield protocol
    finally:
        transport.close()


def asking_silent_nameserver(directory: Path) -> tuple[str, ...]:
    """The command that runs another one with this name server only."""
    resolver = directory / "resolv.conf"
    resolver.write_text(f"nameserver {NAMESERVER}\noptions timeout:30 attempts:5\n")
    mounted = f'mount --bind {resolver} /etc/resolv.conf && exec "$@"'
    return ("unshare", "--mount", "sh", "-c", mounted, "sh")


@AS_ROOT
@HOW_LONG
async def test_names_that_are_not_looked_up_hold_nothing_else_up(tmp_path: Path, seconds: float) -> None:
    async with (
        silent_nameserver() as nameserver,
        Receiver() as receiver,
        Service(
            tmp_path,
            consumes=False,
            within=asking_silent_nameserver(tmp_path),
            amqp_url="amqp://guest:guest@broker.example.net/",
            smtp_url="smtp://relay.example.net:25",
            smtp_trusted_domains="example.org",
            delivery_grace=1,
        ) as service,
    ):
        await service.subscribe(receiver.url)
        for number in range(NAMED):
            await service.subscribe(f"https://host{number}.example.net/hook")
        mail = {"kind": "email", "to": ["ann@example.org"]}
        await service.call("POST", "/v1/subscriptions", {"events": ["*"], "target": mail})
        await service.call("POST", "/v1/events", {"event": "RUNNING", "job_id": "first"})
        await asyncio.wait_for(nameserver.asked.wait(), 30)
        await served(service, receiver, seconds)
        assert await asyncio.wait_for(service.terminate(), ENDS_WITHIN) == 0


@AS_ROOT
async def test_a_start_that_waits_for_a_name_ends_on_sigterm(tmp_path: Path) -> None:
    database = "postgresql://u:p@database.example.net/x"
    service = Service(tmp_path, within=asking_silent_nameserver(tmp_path), database_url=database)
    async with silent_nameserver() as nameserver:
        await service.start()
        await asyncio.wait_for(nameserver.asked.wait(), 30)
        service.process.terminate()
        assert await asyncio.wait_for(service.process.wait(), ENDS_WITHIN) == 0
        await service.says("shut down during startup")


@AS_ROOT
@pytest.mark.long
async def test_workers_that_wait_for_a_name_end_on_sigterm(tmp_path: Path, postgres_url: str) -> None:
    broker = "amqp://guest:guest@broker.example.net/"
    within = asking_silent_nameserver(tmp_path)
    async with silent_nameserver() as nameserver:
        service = Service(
            tmp_path, workers=2, consumes=False, within=within, database_url=postgres_url, amqp_url=broker
        )
        async with service:
            await asyncio.wait_for(nameserver.asked.wait(), 30)
            assert await asyncio.wait_for(service.terminate(), ENDS_WITHIN) == 0
