"""Over a quota of deliveries nothing is lost or refused: the rest of one owner comes later, and others' at once."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e.service import Service
from tests.receiver import Receiver

QUOTA, OVER = 30, 3


async def key_of(service: Service, owner: str) -> dict[str, str]:
    scopes = ["publish", "subscribe"]
    made = await service.call("POST", "/v1/keys", {"name": owner, "owner": owner, "scopes": scopes})
    return {"Authorization": f"Bearer {made['key']}"}


async def post(service: Service, key: dict[str, str], path: str, document: object) -> Any:
    async with (
        aiohttp.ClientSession(service.url, headers=key) as session,
        session.post(path, json=document) as answer,
    ):
        assert answer.ok, await answer.text()
        return await answer.json()


def events(owner: str, first: int, count: int) -> list[dict[str, str]]:
    return [{"event": "RUNNING", "job_id": f"{owner}-{n}"} for n in range(first, first + count)]


@pytest.fixture(params=["one on sqlite", pytest.param("two on postgresql", marks=pytest.mark.long)])
def processes(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """Return the settings of each process."""
    if request.param == "one on sqlite":
        return [{}]
    return [{"database_url": request.getfixturevalue("postgres_url")}] * 2


async def test_an_owners_deliveries_beyond_a_quota_come_later_and_others_at_once(
    processes: list[dict[str, Any]], tmp_path: Path
) -> None:
    async with Receiver() as receiver, AsyncExitStack() as stack:
        services = [
            await stack.enter_async_context(Service(tmp_path, quotas_deliveries_per_minute=QUOTA, **settings))
            for settings in processes
        ]
        alice, bob = [await key_of(services[0], owner) for owner in ("alice", "bob")]
        for owner, key in (("alice", alice), ("bob", bob)):
            target = {"kind": "webhook", "url": f"{receiver.url}/{owner}"}
            await post(services[0], key, "/v1/subscriptions", {"events": ["*"], "target": target})
        half = QUOTA // 2
        await post(services[0], alice, "/v1/events", events("alice", 0, half))
        accepted = await post(services[-1], alice, "/v1/events", events("alice", half, half + OVER))
        await post(services[-1], bob, "/v1/events", events("bob", 0, 10))

        late = (await services[0].call("GET", "/v1/deliveries?state=pending"))["items"]
        assert 1 <= len(late) <= OVER
        one = await services[0].call("GET", f"/v1/deliveries/{late[0]['id']}")
        assert one["job_id"].startswith("alice-")
        assert one["event_id"] in accepted["ids"]
        assert one["reason"].startswith(f"over the quota of {QUOTA} deliveries a minute: due at ")
        assert one["due_at"][:19] in one["reason"]

        arrived = await receiver.count(QUOTA + OVER + 10, seconds=60)
        assert [f"/{owner}" for owner in ("alice", "bob")] == sorted({one.path for one in arrived})
        assert "\ndispatcher_deliveries_over_quota_total 0" not in await services[-1].text("/metrics")
