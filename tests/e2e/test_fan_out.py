"""A request that causes more than is stored at once: killed in between, it loses nothing and doubles nothing."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e.service import Service
from tests.receiver import Receiver

pytestmark = [pytest.mark.timeout(400), pytest.mark.long]

SUBSCRIPTIONS, JOBS, EVENTS = 60, 4, 60


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the setting of an empty database, of each kind in turn."""
    return {} if request.param == "sqlite" else {"database_url": request.getfixturevalue("postgres_url")}


async def remaining(service: Service, ids: list[str]) -> int:
    """How many deliveries of these events are still to be made."""
    events = [await service.call("GET", f"/v1/events/{key}") for key in ids]
    return sum(event["expanding"]["remaining"] for event in events if event["expanding"])


async def fewer(service: Service, ids: list[str], than: int) -> int:
    """Wait until fewer deliveries are to be made; how many."""
    async with asyncio.timeout(90):
        while (left := await remaining(service, ids)) >= than:  # noqa: ASYNC110 - the service does not tell
            await asyncio.sleep(0.2)
    return left


async def test_orders_are_carried_out_once_and_in_order_though_the_service_is_killed_again_and_again(
    database: dict[str, Any], tmp_path: Path
) -> None:
    settings = database | {"delivery_lease": 5, "delivery_timeout": 2}
    async with Receiver() as receiver:
        async with Service(tmp_path, **settings) as service:
            for number in range(SUBSCRIPTIONS):
                await service.subscribe(f"{receiver.url}/{number}", ordered=True)
            events = [
                {"event": f"E{number:03}", "job_id": f"job-{number % JOBS}"} for number in range(EVENTS)
            ]
            accepted = await service.call("POST", "/v1/events", events)
            ids = accepted["ids"]
            # The last one: orders are carried out in the order of acceptance.
            assert await remaining(service, ids[-1:]) == SUBSCRIPTIONS
            await service.kill()
        left = SUBSCRIPTIONS * EVENTS
        for _ in range(2):
            async with Service(tmp_path, **settings) as service:
                # What comes now waits behind the orders.
                later = await service.call("POST", "/v1/events", {"event": "LATER", "job_id": "job-0"})
                ids = [*ids, *later["ids"]]
                left = await fewer(service, ids, max(left, 1))
                await service.kill()
        async with Service(tmp_path, **settings) as service:
            assert await fewer(service, ids, 1) == 0
            wanted = SUBSCRIPTIONS * len(ids)
            await receiver.until(lambda arrived: len({one.id for one in arrived}) >= wanted, 120)
            counts = (await service.call("GET", "/v1/events?limit=500"))["items"]
        assert {event["deliveries"] for event in counts} == {SUBSCRIPTIONS}
    assert len({one.id for one in receiver.arrived}) == wanted
    order: defaultdict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for one in receiver.arrived:
        order[one.path, str(one.event["subject"])].setdefault(str(one.event["id"]))
    names = [str(event["source_id"]) for event in reversed(counts)]
    for (_, job), got in order.items():
        jobs = {str(event["source_id"]): event["job_id"] for event in counts}
        assert list(got) == [name for name in names if jobs[name] == job]


async def test_a_storm_of_one_owner_keeps_no_other_out(database: dict[str, Any], tmp_path: Path) -> None:
    async with Service(tmp_path, **database) as service, Receiver() as receiver:
        made = [
            await service.call(
                "POST", "/v1/keys", {"name": owner, "owner": owner, "scopes": ["publish", "subscribe"]}
            )
            for owner in ("mallory", "alice")
        ]
        mallory, alice = [{"Authorization": f"Bearer {key['key']}"} for key in made]
        target = {"kind": "webhook", "url": "http://127.0.0.1:9/x"}
        async with aiohttp.ClientSession(service.url) as session:

            async def post(caller: dict[str, str], path: str, document: object) -> int:
                async with session.post(path, json=document, headers=caller) as answer:
                    await answer.read()
                    return answer.status

            for _ in range(300):
                await post(
                    mallory, "/v1/subscriptions", {"events": ["FAN"], "ordered": True, "target": target}
                )
            hook = {"kind": "webhook", "url": receiver.url}
            await post(alice, "/v1/subscriptions", {"events": ["*"], "target": hook})
            storm = [{"event": "FAN", "job_id": f"m{number}"} for number in range(1000)]
            storms = [asyncio.create_task(post(mallory, "/v1/events", storm)) for _ in range(3)]
            beside = [await post(alice, "/v1/events", {"event": "RUNNING", "job_id": "a"}) for _ in range(20)]
            assert beside == [202] * 20
            # Three requests at once are more than one owner may let wait.
            assert sorted(await asyncio.gather(*storms)) == [202, 202, 503]
            await receiver.count(20, seconds=60)
