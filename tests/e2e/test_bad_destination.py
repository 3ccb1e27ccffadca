"""A destination in trouble, and one that may not be asked too fast, with two processes on real servers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web

from tests.e2e.service import Service
from tests.e2e.test_faults import all_delivered, publish
from tests.receiver import Arrived, Receiver

pytestmark = pytest.mark.timeout(120)

EVENTS = 100


async def breaker(service: Service, receiver: Receiver) -> dict[str, Any]:
    found: dict[str, Any] = await service.call("GET", f"/v1/destinations/{quote(receiver.url, safe='')}")
    return found


async def until_breaker(service: Service, receiver: Receiver, state: str) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while (found := await breaker(service, receiver))["breaker"] != state:  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.05)
    return found


async def test_all_processes_leave_a_failing_destination_alone_and_come_back_when_it_works(
    tmp_path: Path, amqp_url: str, postgres_url: str
) -> None:
    async def down(_: Arrived) -> web.Response:
        return web.Response(status=503)

    settings: dict[str, Any] = {"amqp_url": amqp_url, "database_url": postgres_url, "amqp_prefetch": 20}
    async with (
        Receiver(down) as failing,
        Receiver() as healthy,
        Service(tmp_path, **settings) as one,
        Service(tmp_path, **settings) as other,
    ):
        # Nothing is tried again by itself within this test: whatever arrives late waited behind the breaker.
        never = {"strategy": "delayed", "delay": 1, "jitter": 0, "limit": 100}
        await one.subscribe(f"{failing.url}/hook", retry=never)
        await one.subscribe(f"{healthy.url}/hook")
        await publish(amqp_url, 0, EVENTS)
        await healthy.count(EVENTS)
        for service in (one, other):
            found = await until_breaker(service, failing, "open")
            assert found["reason"] == "answered 503 Service Unavailable"
            assert (await breaker(service, healthy))["breaker"] == "closed"
        tried = len(failing.arrived)
        await publish(amqp_url, EVENTS, EVENTS)
        await healthy.count(2 * EVENTS)
        # While it is open there are probes only, and every process counts the same ones.
        assert len(failing.arrived) - tried <= 3
        failing.answer = healthy.answer
        await until_breaker(other, failing, "closed")
        await asyncio.wait_for(all_delivered(one, 4 * EVENTS), 60)


async def test_a_rate_limit_holds_over_all_processes(
    tmp_path: Path, amqp_url: str, postgres_url: str
) -> None:
    settings: dict[str, Any] = {"amqp_url": amqp_url, "database_url": postgres_url, "amqp_prefetch": 5}
    async with (
        Receiver() as limited,
        Receiver() as free,
        Service(tmp_path, **settings) as one,
        Service(tmp_path, **settings) as other,
    ):
        await one.subscribe(f"{limited.url}/hook", rate_limit={"per_second": 0.001, "burst": 7})
        await one.subscribe(f"{free.url}/hook")
        await publish(amqp_url, 0, EVENTS)
        await free.count(EVENTS)
        await limited.count(7)
        async with asyncio.timeout(60):
            while len(waiting := await pending(other)) < EVENTS - 7:  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.05)
        assert {delivery["attempts"] for delivery in waiting} == {0}
    assert len(limited.arrived) == 7


async def pending(service: Service) -> list[dict[str, Any]]:
    """What waits in the store, and is not looked at by a process this moment."""
    found = await service.call("GET", "/v1/deliveries?state=pending&limit=500")
    return list(found["items"])
