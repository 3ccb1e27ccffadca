"""The asynchronous job pattern of Argo Workflows, as docs/argo.md walks through it, with the service as a process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.service import Service
from tests.targets.argo.server import TOKEN, ArgoServer, suspend_node, trigger_node


@pytest.fixture
async def argo() -> AsyncIterator[ArgoServer]:
    """Yield a server with a workflow that has started job-1 and is about to wait for it."""
    async with ArgoServer() as server:
        server.add(trigger_node("job-1"), name="fold-x7k2p")
        yield server


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """Yield the service, over SQLite."""
    async with Service(tmp_path, database_url=f"sqlite:///{tmp_path / 'dispatcher.db'}") as service:
        yield service


async def delivered(service: Service) -> Any:
    """The one delivery, once it is."""
    found: list[Any] = []
    while not found:
        found = (await service.call("GET", "/v1/deliveries?state=delivered"))["items"]
    return await service.call("GET", f"/v1/deliveries/{found[0]['id']}")


async def test_a_jobs_end_resumes_the_workflow_as_soon_as_it_waits(
    service: Service, argo: ArgoServer
) -> None:
    target = {
        "kind": "argo",
        "server": argo.url,
        "namespace": "jobs",
        "workflow": "${data.workflow}",
        "token": f"Bearer {TOKEN}",
    }
    retry = {"strategy": "delayed", "delay": 0.05, "limit": 100}
    made = await service.subscribe("", events=["@terminal"], target=target, retry=retry)
    event = {"event": "FINISHED", "job_id": "job-1", "data": {"workflow": "fold-x7k2p"}}
    await service.call("POST", "/v1/events", event)
    await service.says("attempt")  # the job was faster than Argo
    argo.add(trigger_node("job-1"), suspend_node("wait-completion", "job-1"), name="fold-x7k2p")
    delivery = await delivered(service)

    assert argo.node("wait-completion", "fold-x7k2p")["phase"] == "Succeeded"
    first, *_, last = delivery["latest_attempts"]
    assert "not suspended at a node with inputs.parameters.uuid.value=job-1" in first["error"]
    assert (last["status"], last["error"]) == (200, None)
    assert made["target"]["token"] == "***"
    assert TOKEN not in str([made, delivery, service.lines])
