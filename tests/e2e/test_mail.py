"""E-mail through the whole service and a mail server as sites have it."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from dispatcher.domain.events import utc_now
from tests.e2e.service import Service
from tests.servers import free_port
from tests.servers.opensmtpd import OpenSMTPD
from tests.targets.email.relay import relay

ANN, GUEST = "ann@example.org", "guest@elsewhere.org"


async def settled(service: Service, count: int) -> list[dict[str, Any]]:
    """The deliveries, once so many have ended."""
    async with asyncio.timeout(20):
        while True:
            items: list[dict[str, Any]] = (await service.call("GET", "/v1/deliveries"))["items"]
            if sum(item["ended_at"] is not None for item in items) >= count:
                return items
            await asyncio.sleep(0.05)


async def publish(service: Service, job: str) -> None:
    await service.call("POST", "/v1/events", {"event": "FINISHED", "job_id": job, "owner": "alice"})


@pytest.mark.skipif(os.getuid() != 0, reason="OpenSMTPD can be started by root only")
async def test_a_real_mail_server_takes_the_mails_of_a_job_and_refuses_an_address_that_is_none(
    tmp_path: Path,
) -> None:
    with OpenSMTPD([ANN], log=tmp_path / "smtpd.log") as server:
        sender = "Jobs <jobs@example.org>"
        async with Service(
            tmp_path, smtp_url=server.url, smtp_sender=sender, smtp_trusted_domains="example.org"
        ) as service:
            target = {"kind": "email", "to": [ANN, "gone@example.org"]}
            made = await service.call("POST", "/v1/subscriptions", {"events": ["*"], "target": target})
            await publish(service, "job-1")
            [delivery] = await settled(service, 1)
            detail = await service.call("GET", f"/v1/deliveries/{delivery['id']}")
            shown = await service.call("GET", f"/v1/subscriptions/{made['id']}")
        async with asyncio.timeout(10):
            while not server.messages():  # noqa: ASYNC110 - it sends no notification
                await asyncio.sleep(0.05)
        [message] = server.messages()
    assert delivery["state"] == "delivered"
    assert delivery["destination"] == server.url
    [tried] = detail["latest_attempts"]
    assert tried["request"] == f"MAIL {ANN}, gone@example.org via {server.url}"
    assert re.search(rf"{ANN}: 250 2\.0\.0 .*\ngone@example.org: 550 ", tried["answer"])
    assert [one["state"] for one in shown["recipients"]] == ["active", "refused"]
    assert message["From"] == "Jobs <jobs@example.org>"
    assert message["Message-ID"].startswith(f"<{delivery['id']}.")
    text = message.get_body(("plain",))
    assert text is not None
    assert "The status of job job-1 has changed to FINISHED." in text.get_content()


async def test_what_waits_for_a_confirmation_goes_out_when_it_comes(tmp_path: Path) -> None:
    async with relay() as server:
        url = f"smtp://{server.url}"
        async with Service(tmp_path, smtp_url=url, http_public_url="https://jobs.example.org") as service:
            await service.call(
                "POST", "/v1/subscriptions", {"events": ["*"], "target": {"kind": "email", "to": [GUEST]}}
            )
            [question] = await server.received(1)
            await publish(service, "job-1")
            await publish(service, "job-2")
            async with asyncio.timeout(20):
                while True:
                    items = (await service.call("GET", "/v1/deliveries?state=pending"))["items"]
                    reasons = [item["reason"] for item in items]
                    if reasons == [f"waits for {GUEST} to confirm"] * 2:
                        break
                    await asyncio.sleep(0.05)
            assert [item["attempts"] for item in items] == [0, 0]
            link = re.search(r"https://jobs\.example\.org(/c/\S+)", question.text)
            assert link is not None
            async with aiohttp.ClientSession(service.url) as session, session.post(link[1]) as answer:
                assert answer.status == 200
            mails = await server.received(3)
            items = await settled(service, 2)
    assert [item["state"] for item in items] == ["delivered", "delivered"]
    assert sorted(str(mail.message["Subject"]) for mail in mails[1:]) == ["FINISHED job-1", "FINISHED job-2"]


async def test_a_job_array_makes_a_handful_of_mails_that_tell_of_every_job(tmp_path: Path) -> None:
    async with relay() as server:
        url = f"smtp://{server.url}"
        async with Service(tmp_path, smtp_url=url, smtp_trusted_domains="example.org") as service:
            target = {"kind": "email", "to": [ANN]}
            digest = {"wait": 1, "interval": 1}
            await service.call(
                "POST", "/v1/subscriptions", {"events": ["*"], "target": target, "digest": digest}
            )
            jobs = [f"job-{number}" for number in range(50)]
            events = [{"event": "FINISHED", "job_id": job, "owner": "alice"} for job in jobs]
            await service.call("POST", "/v1/events", events)
            items = await settled(service, len(jobs))
    assert {item["state"] for item in items} == {"delivered"}
    assert 1 <= len(server.mails) <= 3
    reported = sum(int(re.findall(r"^FINISHED: (\d+)$", mail.text, re.MULTILINE)[0]) for mail in server.mails)
    assert reported == len(jobs)


async def held_together(service: Service, count: int) -> list[Any]:
    """What is held, once each of so many deliveries has ended or is held, with one due time for all of these.

    First each has a separate time: they are gathered when that is stored.
    """
    async with asyncio.timeout(20):
        while True:
            items = (await service.call("GET", "/v1/deliveries"))["items"]
            held = [item for item in items if item["state"] == "pending" and item["reason"]]
            delivered = sum(item["state"] == "delivered" for item in items)
            led = sum(item["due_at"] is not None for item in held)
            if len(held) + delivered == count and led == bool(held):
                return held
            await asyncio.sleep(0.05)


async def test_what_is_over_the_storm_cap_is_held_to_go_together(tmp_path: Path) -> None:
    async with relay() as server:
        url = f"smtp://{server.url}"
        async with Service(
            tmp_path, smtp_url=url, smtp_trusted_domains="example.org", smtp_max_per_hour=2
        ) as service:
            await service.call(
                "POST", "/v1/subscriptions", {"events": ["*"], "target": {"kind": "email", "to": [ANN]}}
            )
            began = utc_now()
            for number in range(6):
                await publish(service, f"job-{number}")
            held = await held_together(service, 6)
    hours = {began.hour, utc_now().hour}
    assert len(server.mails) <= 2 * len(hours)
    assert all(item["reason"] == f"{ANN} got 2 mails in this hour" for item in held)
    # Where one hour ends meanwhile, the next one may have had room for all.
    assert len(held) == 4 or len(hours) == 2


async def test_a_relay_that_is_down_costs_time_and_no_mail(tmp_path: Path) -> None:
    port = free_port()
    url = f"smtp://127.0.0.1:{port}"
    async with Service(tmp_path, smtp_url=url, smtp_trusted_domains="example.org") as service:
        await service.call(
            "POST",
            "/v1/subscriptions",
            {
                "events": ["*"],
                "target": {"kind": "email", "to": [ANN]},
                "retry": {"strategy": "delayed", "delay": 1, "limit": 30, "jitter": 0},
            },
        )
        await publish(service, "job-1")
        async with asyncio.timeout(20):
            while not (items := (await service.call("GET", "/v1/deliveries"))["items"])[0]["reason"]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert items[0]["reason"].startswith(f"cannot connect to smtp://127.0.0.1:{port}: ")
        async with relay(port=port) as server:
            [mail] = await server.received(1)
            [delivery] = await settled(service, 1)
    assert delivery["state"] == "delivered"
    assert delivery["attempts"] > 1
    assert mail.message["Subject"] == "FINISHED job-1"
