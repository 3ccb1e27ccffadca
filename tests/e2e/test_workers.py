"""`serve --workers`: several processes as one service."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.e2e.service import Service
from tests.e2e.test_faults import all_delivered, publish
from tests.environment import environment
from tests.receiver import Receiver

pytestmark = pytest.mark.timeout(120)

LEASE = 5


def children(pid: int) -> set[int]:
    """The processes that this one has started to do its work."""
    started = Path(f"/proc/{pid}/task/{pid}/children")
    pids = {int(child) for child in started.read_text().split()} if started.exists() else set()
    return {child for child in pids if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()}


async def counts(session: ClientSession, url: str) -> dict[str, float]:
    """How many events each worker took in."""
    async with session.get(f"{url}/metrics") as answer:
        page = await answer.text()
    taken = re.findall(
        r'^dispatcher_events_total\{worker="(\d)",.*result="accepted".*\} (\S+)$', page, re.MULTILINE
    )
    return {worker: float(value) for worker, value in taken}


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not happened():  # noqa: ASYNC110 - another process, without notifications
            await asyncio.sleep(0.05)


async def test_workers_share_events_port_and_metrics_and_one_that_dies_is_replaced(
    tmp_path: Path, amqp_url: str, postgres_url: str
) -> None:
    settings: dict[str, Any] = {
        "amqp_url": amqp_url,
        "database_url": postgres_url,
        "delivery_lease": LEASE,
        "delivery_timeout": LEASE / 2,
        "amqp_prefetch": 50,
    }
    async with (
        Receiver() as receiver,
        ClientSession() as session,
        Service(tmp_path, workers=2, **settings) as service,
    ):
        await until(lambda: sum(line["event"] == "consuming" for line in service.lines) == 2)
        await service.subscribe(f"{receiver.url}/hook")
        await publish(amqp_url, 0, 500)
        await receiver.count(500)
        taken = await counts(session, service.url)
        assert sorted(taken) == ["1", "2"]
        assert sum(taken.values()) == 500

        before = children(service.process.pid)
        victim = min(before)
        os.kill(victim, signal.SIGKILL)
        await publish(amqp_url, 500, 200)
        await receiver.count(700, seconds=60)
        await until(lambda: len(children(service.process.pid) - {victim}) == 2)
        await asyncio.wait_for(all_delivered(service, 700), 60)
        assert (await service.says("worker died"))["code"] == -signal.SIGKILL
        assert await service.terminate() == 0
        assert not children(service.process.pid)


@pytest.mark.long
async def test_workers_end_when_the_process_that_keeps_them_is_killed(
    tmp_path: Path, postgres_url: str
) -> None:
    async with Service(tmp_path, workers=2, database_url=postgres_url) as service:
        await until(lambda: sum(line["event"] == "serving" for line in service.lines) == 2)
        workers = children(service.process.pid)
        await service.kill()
        await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def test_sqlite_is_for_one_process(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "dispatcher", "serve", "--workers", "2"],
        cwd=tmp_path,
        env=environment({}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "--workers 2: SQLite is for one process" in ended.stderr
