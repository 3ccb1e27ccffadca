"""Readiness of the running service: whatever keeps events from being stored is named, and it ends by itself."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from tests.e2e.service import Service

pytestmark = pytest.mark.long

HOT = ["events", "deliveries", "jobs", "identities", "attempts", "processes"]


async def health(service: Service, wanted: int) -> str:
    """What readiness says once it has this status. The process lives all the time."""
    async with asyncio.timeout(40), aiohttp.ClientSession(service.url) as session:
        while True:
            async with session.get("/health/live") as live:
                assert live.status == 200
            async with session.get("/health/ready") as ready:
                if ready.status == wanted:
                    return await ready.text()
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("table", HOT)
async def test_a_locked_table_is_seen_without_any_event(
    tmp_path: Path, postgres_url: str, table: str
) -> None:
    async with Service(tmp_path, database_url=postgres_url) as service:
        await health(service, 200)
        admin = await asyncpg.connect(postgres_url)
        async with admin.transaction():
            await admin.execute(f"lock table {table} in access exclusive mode")
            assert "database" in await health(service, 503)
        await health(service, 200)
        await admin.close()
        assert await service.terminate() == 0


async def test_a_job_that_somebody_else_locks_is_seen_by_the_batch_that_waits_for_it(
    tmp_path: Path, postgres_url: str
) -> None:
    async with Service(tmp_path, database_url=postgres_url) as service:
        await service.call("POST", "/v1/events", {"event": "RUNNING", "job_id": "a"})
        admin = await asyncpg.connect(postgres_url)
        async with admin.transaction():
            await admin.execute("select * from jobs for update")
            late = asyncio.create_task(publish(service, "a"))
            assert "intake" in await health(service, 503)
        assert await late in {202, 503}
        await health(service, 200)
        await admin.close()


async def publish(service: Service, job: str) -> int:
    key = {"Authorization": "Bearer an-admin-key-for-the-tests-of-32-characters"}
    event: dict[str, Any] = {"event": "RUNNING", "job_id": job}
    async with (
        aiohttp.ClientSession(service.url, headers=key) as session,
        session.post("/v1/events", json=event) as answer,
    ):
        return answer.status


@asynccontextmanager
async def held(path: Path, service: Service) -> AsyncIterator[None]:
    """A tool that holds the file, as one that makes a backup may."""
    tool = sqlite3.connect(path, isolation_level=None)
    tool.execute("begin exclusive")
    try:
        yield
    finally:
        tool.execute("rollback")
        tool.close()


@asynccontextmanager
async def full(path: Path, service: Service) -> AsyncIterator[None]:
    """A disk that takes no byte more: the kernel refuses what the process writes to any file."""
    before = resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(service.process.pid, resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("fault", [held, full])
async def test_a_file_that_cannot_be_written_is_seen(
    tmp_path: Path, fault: Callable[[Path, Service], Any]
) -> None:
    path = tmp_path / "store.db"
    async with Service(tmp_path, database_url=f"sqlite:///{path}") as service:
        await health(service, 200)
        async with fault(path, service):
            assert "database" in await health(service, 503)
            assert await publish(service, "a") == 503
        await health(service, 200)
        assert await publish(service, "a") == 202
        assert await service.terminate() == 0
