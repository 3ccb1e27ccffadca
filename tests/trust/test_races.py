"""Two processes over one database: a trusted publisher and a first comer at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.api.conftest import Api, Caller, opened, serving

ROUNDS = 15


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[tuple[Api, Api]]:
    """Yield two processes' APIs over one PostgreSQL database."""
    async with opened(postgres_url) as one, opened(postgres_url) as two, serving(one) as a, serving(two) as b:
        yield a, b


async def test_the_trusted_publisher_wins_in_any_order(both: tuple[Api, Api]) -> None:
    mallory = await both[0].caller("mallory", "publish", "subscribe")
    alice = await both[0].caller("alice", "publish", "subscribe")
    trusted = both[1].admin

    async def say(job_id: str) -> None:
        forged = [
            {"event": name, "job_id": job_id, "time": "2100-01-01T00:00:00Z", "data": {"username": "mallory"}}
            for name in ("FAILED", "PERMISSION_GRANT")
        ]
        real = [
            {"event": "RUNNING", "job_id": job_id, "owner": "alice"},
            {"event": "UPDATED", "job_id": job_id},
        ]
        replies = await asyncio.gather(
            mallory.ask("POST", "/v1/events", forged),
            trusted.ask("POST", "/v1/events", real),
            alice.ask(
                "POST", "/v1/events", {"event": "QUEUED", "job_id": job_id, "time": "2020-01-01T00:00:00Z"}
            ),
        )
        assert (replies[0].status in (202, 403), replies[1].status, replies[2].status) == (True, 202, 202)

    jobs = [f"job-{number}" for number in range(ROUNDS)]
    for job_id in jobs:
        await say(job_id)

    for job_id in jobs:
        await _check(job_id, alice, mallory)


async def _check(job_id: str, alice: Caller, mallory: Caller) -> None:
    job = await alice.get(f"/v1/jobs/{job_id}")
    assert (job["owner"], job["status"]) == ("alice", "RUNNING")
    assert (await mallory.ask("GET", f"/v1/jobs/{job_id}")).status == 404
    assert (await mallory.ask("POST", "/v1/events", {"event": "FAILED", "job_id": job_id})).status == 403
    seen = (await mallory.get(f"/v1/events?job_id={job_id}"))["items"]
    assert {one["owner"] for one in seen} <= {"mallory"}
    hers = (await alice.get(f"/v1/events?job_id={job_id}"))["items"]
    assert {one["owner"] for one in hers} == {"alice", None}
