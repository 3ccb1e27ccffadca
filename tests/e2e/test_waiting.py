"""Waiting for a job at real processes: over replicas, when the caller goes away, and at a clean stop."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp

from tests.e2e.service import ADMIN_KEY, Service

HEADERS = {"Authorization": f"Bearer {ADMIN_KEY}"}


async def waiting(service: Service, count: int) -> None:
    """Return when so many requests wait at a service."""
    async with asyncio.timeout(20):
        while f"\ndispatcher_waiters {count}.0\n" not in await service.text("/metrics"):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_who_goes_away_frees_the_place_at_once_and_who_stays_is_answered_at_a_stop(
    tmp_path: Path,
) -> None:
    async with Service(tmp_path, http_max_waiters=1) as service:
        async with aiohttp.ClientSession(service.url, headers=HEADERS) as gone:
            task = asyncio.create_task(gone.get("/v1/jobs/j/status?wait=60"))
            await waiting(service, 1)
            task.cancel()
        await waiting(service, 0)

        async with aiohttp.ClientSession(service.url, headers=HEADERS) as session:
            stays = asyncio.create_task(session.get("/v1/jobs/j/status?wait=60"))
            await waiting(service, 1)
            async with session.get("/v1/jobs/j/status?wait=60") as refused:
                assert refused.status == 503
            async with asyncio.timeout(20):  # of the 60 seconds
                stopping = asyncio.create_task(service.terminate())
                answer = await stays
            assert (answer.status, (await answer.json())["reached"]) == (200, False)
            assert await stopping == 0


async def test_an_event_that_one_process_stores_ends_the_waiting_at_another(
    postgres_url: str, tmp_path: Path
) -> None:
    async with (
        Service(tmp_path, database_url=postgres_url) as here,
        Service(tmp_path, database_url=postgres_url) as there,
    ):
        jobs = [f"job-{number}" for number in range(20)]
        paths = [f"/v1/jobs/{job}/status?wait=50" for job in jobs]
        tasks = [asyncio.create_task(here.call("GET", path)) for path in paths]
        await waiting(here, len(jobs))
        events = [{"event": event, "job_id": job} for event in ("RUNNING", "FINISHED") for job in jobs]
        accepted = await there.call("POST", "/v1/events", events)
        found = [await task for task in tasks]
    assert [(one["job_id"], one["reached"], one["status"]) for one in found] == [
        (job, True, "FINISHED") for job in jobs
    ]
    assert [one["event_id"] for one in found] == accepted["ids"][len(jobs) :]
