"""Tests of subscriptions and requests to confirm keep to the limits of the destination, through the whole service."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp import web

from tests.e2e.service import Service
from tests.receiver import Arrived, Receiver
from tests.servers import free_port
from tests.targets.email.relay import Relay, relay

EVENT = {"event": "FINISHED", "job_id": "job-1", "owner": "alice"}
BASE = "https://jobs.example.org"


async def try_out(service: Service, subscription: str) -> tuple[int, str]:
    return await service.refused("POST", f"/v1/subscriptions/{subscription}/test")


async def test_a_test_is_refused_while_its_destination_is_paused_held_or_has_no_rate_left(
    tmp_path: Path,
) -> None:
    async def asks_to_wait(_: Arrived) -> web.Response:
        return web.Response(status=503, headers={"Retry-After": "3600"})

    async with Receiver() as receiver, Service(tmp_path) as service:
        limit = {"per_second": 0.001}
        limited = (await service.subscribe(f"{receiver.url}/limited", rate_limit=limit))["id"]
        assert (await service.call("POST", f"/v1/subscriptions/{limited}/test"))["delivered"] is True
        status, reason = await try_out(service, limited)
        assert (status, "has nothing left; try again in" in reason) == (409, True)

        usual, receiver.answer = receiver.answer, asks_to_wait
        held = (await service.subscribe(f"{receiver.url}/held", events=["FAILED"]))["id"]
        # It is an attempt like others: what the receiver asks for holds for what comes after it.
        assert (await service.call("POST", f"/v1/subscriptions/{held}/test"))["status"] == 503
        status, reason = await try_out(service, held)
        assert status == 409
        assert (
            reason
            == f"nothing is sent to {receiver.url} now: it kept failing (answered 503 Service Unavailable)"
        )

        receiver.answer = usual
        free = (await service.subscribe(f"{receiver.url}/free", events=["FAILED"]))["id"]
        key = quote(receiver.url, safe="")
        await service.call("POST", f"/v1/destinations/{key}/pause", {"reason": "maintenance"})
        status, reason = await try_out(service, free)
        assert (status, "paused: maintenance" in reason) == (409, True)
        await service.call("POST", f"/v1/destinations/{key}/resume")
    assert [arrived.path for arrived in receiver.arrived] == ["/limited", "/held"]


async def is_held(service: Service, server: Relay, guest: str) -> bool:
    """Subscribe somebody who has to confirm: whether the request waits. It goes at once, or a log line says so."""
    target = {"kind": "email", "to": [guest]}
    made = await service.call("POST", "/v1/subscriptions", {"events": ["FAILED"], "target": target})
    async with asyncio.timeout(20):
        while True:
            if any(mail.to == guest for mail in server.mails):
                return False
            later = [line for line in service.lines if line["event"] == "confirmation requests postponed"]
            if any(line["subscription"] == made["id"] for line in later):
                assert "paused: maintenance" in later[0]["reason"]
                return True
            await asyncio.sleep(0.02)


async def test_a_request_to_confirm_waits_while_the_relay_is_paused_and_goes_when_it_is_resumed(
    tmp_path: Path,
) -> None:
    async with relay() as server:
        url = f"smtp://{server.url}"
        async with Service(
            tmp_path, smtp_url=url, http_public_url=BASE, smtp_confirmations_per_key=1000
        ) as service:
            guests = (f"guest-{number}@elsewhere.org" for number in range(1000))
            guest = next(guests)
            assert not await is_held(service, server, guest)
            key = quote(url, safe="")
            await service.call("POST", f"/v1/destinations/{key}/pause", {"reason": "maintenance"})
            # The process learns of the pause within a second.
            while not await is_held(service, server, guest):
                guest = next(guests)
            before = len(server.mails)
            await service.call("POST", f"/v1/destinations/{key}/resume")
            mails = await server.received(before + 1)
    assert guest not in [mail.to for mail in mails[:before]]
    assert mails[before].to == guest


@pytest.mark.long
async def test_a_request_to_confirm_goes_when_the_relay_is_back(tmp_path: Path) -> None:
    port = free_port()
    url = f"smtp://127.0.0.1:{port}"
    async with Service(
        tmp_path, smtp_url=url, http_public_url=BASE, smtp_trusted_domains="example.org"
    ) as service:
        target = {"kind": "email", "to": ["ann@example.org"]}
        retry = {"strategy": "delayed", "delay": 3600, "limit": 3}
        await service.call(
            "POST", "/v1/subscriptions", {"events": ["FINISHED"], "target": target, "retry": retry}
        )
        await service.call("POST", "/v1/events", [EVENT | {"job_id": f"job-{n}"} for n in range(30)])
        await service.says("breaker open")
        guest = {"kind": "email", "to": ["guest@elsewhere.org"]}
        await service.call("POST", "/v1/subscriptions", {"events": ["FAILED"], "target": guest})
        await service.says("confirmation requests postponed")
        async with relay(port=port) as server:
            async with asyncio.timeout(30):
                while not any(mail.to == "guest@elsewhere.org" for mail in server.mails):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
