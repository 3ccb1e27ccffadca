"""The reader of the log may stop reading: the service goes on."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.environment import environment
from tests.servers import free_port

pytestmark = pytest.mark.timeout(180)

PIPE_BYTES = 4096
"""Of the pipe without a reader: a few lines fill it."""


@asynccontextmanager
async def unread(directory: Path, workers: int = 1, **settings: str) -> AsyncIterator[tuple[str, int, int]]:
    """A service whose stdout and stderr are a pipe that is not read: its URL, the pipe's end, its process id."""
    port = free_port()
    out, into = os.pipe()
    fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "dispatcher", "serve", "--workers", str(workers)),
        cwd=directory,
        env=environment(
            {
                "DISPATCHER_HTTP_PORT": str(port),
                "DISPATCHER_LOG_FORMAT": "json",
                "DISPATCHER_LOG_LEVEL": "debug",
                "DISPATCHER_SECRETS_KEY": "a-secrets-key-for-the-tests-of-32-characters",
            }
            | settings
        ),
        stdout=into,
        stderr=into,
    )
    os.close(into)
    try:
        yield f"http://127.0.0.1:{port}", out, process.pid
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 60) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(out)


async def alive(session: aiohttp.ClientSession, url: str) -> None:
    """Return when the service answers."""
    while True:
        try:
            async with session.get(f"{url}/health/live") as answer:
                assert answer.status == 200
                return
        except aiohttp.ClientConnectionError:
            await asyncio.sleep(0.05)


async def request_for(session: aiohttp.ClientSession, url: str, lines: int, seconds: float) -> None:
    """Requests that are logged: so many, and for so long. Each has to be answered."""
    until = time.monotonic() + seconds
    done = 0
    while done < lines or time.monotonic() < until:
        async with session.get(f"{url}/{'x' * 7000}") as refused:
            assert refused.status == 404
        async with session.get(f"{url}/health/live") as live:
            assert live.status == 200
        done += 1


async def metric(session: aiohttp.ClientSession, url: str, name: str) -> float:
    async with session.get(f"{url}/metrics") as answer:
        page = await answer.text()
    return sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith(name))


@pytest.mark.parametrize("seconds", [0.0, pytest.param(60.0, marks=pytest.mark.long)])
async def test_a_log_that_is_not_read_holds_no_request_up_and_no_stop(tmp_path: Path, seconds: float) -> None:
    timeout = aiohttp.ClientTimeout(total=20)
    async with (
        unread(tmp_path, DISPATCHER_DELIVERY_LEASE="5", DISPATCHER_DELIVERY_TIMEOUT="2") as (url, _, _pid),
        aiohttp.ClientSession(timeout=timeout) as session,
    ):
        await alive(session, url)
        await request_for(session, url, lines=40, seconds=seconds)
        assert await metric(session, url, "dispatcher_leases_lost_total") == 0
        while not await metric(session, url, "dispatcher_loop_lag_seconds_count"):  # noqa: ASYNC110 - four times a second
            await asyncio.sleep(0.05)


@pytest.mark.long
async def test_logging_goes_on_with_its_reader_and_says_what_was_dropped(tmp_path: Path) -> None:
    async with unread(tmp_path) as (url, out, _pid), aiohttp.ClientSession() as session:
        await alive(session, url)
        for _ in range(40):
            if await metric(session, url, "dispatcher_log_lines_dropped_total"):
                break
            await asyncio.gather(*(request_for(session, url, lines=50, seconds=0) for _ in range(8)))
        assert await metric(session, url, "dispatcher_log_lines_dropped_total") > 0
        with os.fdopen(os.dup(out), "rb") as pipe:
            await asyncio.to_thread(read_until, pipe.fileno(), b"log lines were dropped")


def read_until(descriptor: int, text: bytes) -> None:
    """Return when this text was in what the pipe gave."""
    seen = b""
    while text not in seen:
        seen = seen[-len(text) :] + os.read(descriptor, 1 << 16)


@pytest.mark.long
async def test_workers_and_what_keeps_them_go_on_without_a_reader(tmp_path: Path, postgres_url: str) -> None:
    timeout = aiohttp.ClientTimeout(total=20)
    async with (
        unread(tmp_path, 2, DISPATCHER_DATABASE_URL=postgres_url) as (url, _, parent),
        aiohttp.ClientSession(timeout=timeout) as session,
    ):
        await alive(session, url)
        await request_for(session, url, lines=100, seconds=0)
        before = set(children(parent))
        os.kill(max(before), signal.SIGKILL)  # the process that keeps them logs that, and starts another one
        while len(new := set(children(parent))) < len(before) or new == before:  # noqa: ASYNC110 - /proc tells nothing by itself
            await asyncio.sleep(0.1)
        await request_for(session, url, lines=20, seconds=0)


def children(parent: int) -> list[int]:
    """The processes that this one started."""
    return [int(n) for n in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
