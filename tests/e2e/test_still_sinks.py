"""What the service writes to or asks may stand still: the event loop goes on, and everybody else is served."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.service import ADMIN_KEY, Service
from tests.receiver import Receiver

pytestmark = pytest.mark.timeout(240)

HOW_LONG = pytest.mark.parametrize("seconds", [2.0, pytest.param(60.0, marks=pytest.mark.long)])

ANSWERS_WITHIN = aiohttp.ClientTimeout(total=5)
"""Seconds. A loop that stands still for as long as what it waits for does not answer in them."""

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
    yield protocol
    transport.close()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can listen as a name server")
@HOW_LONG
async def test_names_that_nobody_looks_up_hold_nothing_else_up(tmp_path: Path, seconds: float) -> None:
    resolver = tmp_path / "resolv.conf"
    resolver.write_text(f"nameserver {NAMESERVER}\noptions timeout:30 attempts:5\n")
    mounted = f'mount --bind {resolver} /etc/resolv.conf && exec "$@"'
    async with (
        silent_nameserver() as nameserver,
        Receiver() as receiver,
        Service(
            tmp_path,
            consumes=False,
            within=("unshare", "--mount", "sh", "-c", mounted, "sh"),
            amqp_url="amqp://guest:guest@broker.example.net/",
            smtp_url="smtp://relay.example.net:25",
            smtp_trusted_domains="example.org",
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
        await service.kill()  # a stop still waits for look-ups that have begun: not what is tried here
