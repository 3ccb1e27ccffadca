"""Every field of what subscribers and publishers send, at its extremes, through to a delivery.

What is refused is refused with the name of its field. What is accepted neither ends the process nor holds up another
owner: it is delivered, waits, or ends by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from dispatcher.api.request_models import NewSubscription, PlainEvent, RetryMany
from dispatcher.api.routes import _with_targets
from dispatcher.compat.tethys.callback_tokens import CallbackTokens
from dispatcher.compat.tethys.plugin import Tethys
from dispatcher.parts import make_kinds
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.registry import Resources
from dispatcher.targets.ssrf_guard import Guard
from tests.e2e.extremes import documents
from tests.e2e.service import ADMIN_KEY, Service
from tests.receiver import Receiver

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

ALL_AT_ONCE = 16


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    async with Service(tmp_path) as service:
        yield service


class Asked(msgspec.Struct):
    """One request and what came of it."""

    path: str
    document: dict[str, Any]
    status: int
    answer: dict[str, Any]


async def ask_all(
    service: Service, key: str, where: str, wanted: list[tuple[str, dict[str, Any]]]
) -> list[Asked]:
    """Post all documents, a few at a time."""
    gate = asyncio.Semaphore(ALL_AT_ONCE)

    async def one(session: aiohttp.ClientSession, path: str, document: dict[str, Any]) -> Asked:
        async with gate, session.post(where, json=document) as response:
            return Asked(path, document, response.status, msgspec.json.decode(await response.read()))

    async with aiohttp.ClientSession(service.url, headers={"Authorization": f"Bearer {key}"}) as session:
        return await asyncio.gather(*(one(session, *each) for each in wanted))


def refused_well(asked: Asked) -> bool:
    """Whether a refusal says which field is wrong."""
    return asked.status in (400, 403, 409, 413) and asked.answer.get("status") == asked.status


async def key_of(service: Service, owner: str) -> str:
    made = await service.call(
        "POST", "/v1/keys", {"name": owner, "owner": owner, "scopes": ["publish", "subscribe"]}
    )
    return str(made["key"])


async def healthy(service: Service, receiver: Receiver, key: str, job: str) -> None:
    """Another owner's event arrives, and nothing was an error of the service itself."""
    before = len(receiver.arrived)
    event = {"event": "FINISHED", "job_id": job}
    [answer] = await ask_all(service, key, "/v1/events", [("", event)])
    assert answer.status == 202, answer
    await receiver.until(lambda arrived: len(arrived) > before)
    assert service.process.returncode is None
    metrics = await service.text("/metrics")
    faults = [line for line in metrics.splitlines() if line.startswith("dispatcher_internal_errors_total{")]
    assert [line for line in faults if not line.endswith(" 0.0")] == []
    assert [line for line in service.lines if line.get("level") in ("error", "critical")] == []


async def test_no_subscription_that_is_accepted_ends_or_holds_up_anything(service: Service) -> None:
    kinds = make_kinds(Resources(Egress(Guard())), [Tethys(CallbackTokens())])
    model = _with_targets(NewSubscription, kinds)
    async with Receiver() as hostile, Receiver() as receiver:
        mallory, alice = await key_of(service, "mallory"), await key_of(service, "alice")
        headers = {"Authorization": f"Bearer {alice}"}
        async with aiohttp.ClientSession(service.url, headers=headers) as session:
            document = {"events": ["*"], "target": {"kind": "webhook", "url": receiver.url}}
            async with session.post("/v1/subscriptions", json=document) as response:
                assert response.status == 201
        bases: list[dict[str, Any]] = [
            {"kind": "webhook", "url": f"{hostile.url}/x"},
            {"kind": "tethys", "portal": hostile.url, "job": "1"},
            {"kind": "argo", "server": hostile.url, "namespace": "a", "workflow": "b"},
        ]
        wanted = [
            one
            for base in bases
            for one in documents(model, {"events": ["*"], "target": base, "job_id": "j"})
        ]
        assert len(wanted) > 500
        asked = await ask_all(service, mallory, "/v1/subscriptions", wanted)
        wrong = [one for one in asked if one.status != 201 and not refused_well(one)]
        assert wrong == []
        accepted = [one for one in asked if one.status == 201]
        assert len(accepted) > 100

        for event in ("FINISHED", "RUNNING"):
            document = {"event": event, "job_id": "j", "data": {"x": "y" * 300_000}}
            assert (await ask_all(service, mallory, "/v1/events", [("", document)]))[0].status == 202
            await healthy(service, receiver, alice, "job of alice")
        await hostile.until(lambda arrived: len(arrived) > 50)
        await healthy(service, receiver, alice, "another job of alice")


async def test_no_event_that_is_accepted_ends_or_holds_up_anything(service: Service) -> None:
    async with Receiver() as hostile, Receiver() as receiver:
        alice = await key_of(service, "alice")
        await service.subscribe(f"{receiver.url}/hook", owner="alice")
        for body in (None, {"${": 1}, "${EVENT} ${JOB_NAME} ${data.x}"):
            target = {"kind": "webhook", "url": f"{hostile.url}/$<JOB_ID>?e=${{EVENT}}&n=${{JOB_NAME}}"}
            if isinstance(body, str):
                target["body"] = body
            await service.call(
                "POST",
                "/v1/subscriptions",
                {"events": ["*"], "owner": "mallory", "target": target, "ordered": body is None},
            )
        base = {"event": "RUNNING", "job_id": "j", "owner": "mallory"}
        asked = await ask_all(service, ADMIN_KEY, "/v1/events", list(documents(PlainEvent, base)))
        assert [one for one in asked if one.status != 202 and not refused_well(one)] == []
        assert [one for one in asked if one.status == 202]
        await hostile.until(lambda arrived: len(arrived) > 10)
        await healthy(service, receiver, alice, "job of alice")


async def test_no_selection_of_deliveries_is_an_error_of_ours(service: Service) -> None:
    async with Receiver() as receiver:
        alice = await key_of(service, "alice")
        await service.subscribe(f"{receiver.url}/hook", owner="alice")
        asked = await ask_all(service, alice, "/v1/deliveries/retry", list(documents(RetryMany, {})))
        assert [one for one in asked if one.status != 200 and not refused_well(one)] == []
        await healthy(service, receiver, alice, "job of alice")
