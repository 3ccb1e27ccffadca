"""The example of docs/argo.md, with the service as a process and Argo's own server code."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml  # type: ignore[import-untyped]

from tests.docs.code_blocks import ROOT
from tests.e2e.service import Service
from tests.targets.argo.real import RealArgo
from tests.targets.argo.server import TOKEN, Node

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

PAGE = (ROOT / "docs/argo.md").read_text()
PATH = "/api/v1/workflows/argo/fold-1"


def posted(path: str) -> Any:
    """The JSON document that the page posts there."""
    found = re.search(rf"{path} [^\n]* -d '(.*?)\n}}'\n", PAGE, re.DOTALL)
    assert found is not None
    return msgspec.json.decode(found[1].replace("'\"$ARGO_TOKEN\"'", TOKEN) + "}")


def workflow() -> Any:
    """The workflow that the page submits."""
    found = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return yaml.safe_load(found[1])


def nodes(submitted: Any, job: str) -> Iterator[Node]:
    """What Argo's controller makes of the workflow until it waits."""
    wait = next(one for one in submitted["spec"]["templates"] if "suspend" in one)
    group = {"type": "StepGroup", "boundaryID": "fold-1"}
    pod = {"type": "Pod", "boundaryID": "fold-1", "templateName": "trigger-job"}
    waits = {"type": "Suspend", "boundaryID": "fold-1", "templateName": wait["name"]}
    inputs = {"parameters": [{"name": "uuid", "value": job}]}
    yield _node("fold-1", "", "Running", {"type": "Steps", "templateName": "run-external-job"}, ["0"])
    yield _node("0", "[0]", "Succeeded", group, ["1"])
    yield _node("1", "[0].trigger-job", "Succeeded", pod, ["2"])
    yield _node("2", "[1]", "Running", group, ["3"])
    yield _node("3", "[1].wait-completion", "Running", waits | {"inputs": inputs, "outputs": wait["outputs"]})


def _node(id: str, name: str, phase: str, fields: dict[str, Any], children: list[str] | None = None) -> Node:
    own = {"id": id, "name": f"fold-1{name}", "displayName": name.rpartition(".")[2], "phase": phase}
    return own | fields | {"children": children or []}


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """Yield the service, over SQLite."""
    async with Service(tmp_path, database_url=f"sqlite:///{tmp_path / 'dispatcher.db'}") as service:
        yield service


@pytest.fixture
async def waiting(program: Path, service: Service) -> AsyncIterator[RealArgo]:
    """Yield Argo's server with the workflow, as Argo accepts it, and the subscription made."""
    async with RealArgo(program) as argo:
        status, submitted = await argo.call("POST", "/api/v1/workflows/argo", {"workflow": workflow()})
        assert (status, submitted.get("message")) == (200, None)
        subscription = posted("v1/subscriptions")
        subscription["target"] |= {"server": argo.url, "verify": True}
        subscription["retry"] = {"strategy": "delayed", "delay": 0.05, "limit": 100}
        await service.call("POST", "/v1/subscriptions", subscription)
        yield argo


async def waits(argo: RealArgo, job: str = "0001-007") -> None:
    """Let the workflow wait for the job."""
    submitted = (await argo.call("GET", PATH))[1]
    submitted["metadata"]["labels"] = {"workflows.argoproj.io/phase": "Running"}
    submitted["status"] = {"phase": "Running", "nodes": {one["id"]: one for one in nodes(submitted, job)}}
    await argo.put(submitted)


async def delivered(service: Service) -> Any:
    found: list[Any] = []
    while not found:
        found = (await service.call("GET", "/v1/deliveries?state=delivered"))["items"]
    return await service.call("GET", f"/v1/deliveries/{found[0]['id']}")


async def waiting_node(argo: RealArgo) -> Node:
    return await argo.node("wait-completion", "fold-1", "argo")


async def test_the_jobs_result_reaches_the_workflow_as_soon_as_it_waits(
    service: Service, waiting: RealArgo
) -> None:
    await service.call("POST", "/v1/events", posted("v1/events"))
    await service.says("attempt")  # the job was faster than Argo
    await waits(waiting)
    delivery = await delivered(service)

    node = await waiting_node(waiting)
    assert node["phase"] == "Succeeded"
    assert node["outputs"] == {"parameters": [{"name": "exit", "value": "0"}]}
    assert delivery["latest_attempts"][-1]["request"].endswith(f"{PATH}/resume")


async def test_what_was_set_survives_a_retry(service: Service, waiting: RealArgo) -> None:
    await waits(waiting)
    await waiting.meet(conflicts=1000, after=1)
    await service.call("POST", "/v1/events", posted("v1/events"))
    await service.says("attempt")
    assert (await waiting_node(waiting))["outputs"] == {"parameters": [{"name": "exit", "value": "0"}]}
    assert (await waiting_node(waiting))["phase"] == "Running"
    await waiting.meet()
    delivery = await delivered(service)

    assert (await waiting_node(waiting))["phase"] == "Succeeded"
    assert "set" not in {attempt["request"].rpartition("/")[2] for attempt in delivery["latest_attempts"]}


async def test_a_failed_job_is_started_again_as_the_page_says(service: Service, waiting: RealArgo) -> None:
    await waits(waiting)
    await service.call("POST", "/v1/events", posted("v1/events") | {"event": "FAILED"})
    await delivered(service)
    assert (await waiting_node(waiting))["phase"] == "Failed"

    failed = (await waiting.call("GET", PATH))[1]
    failed["status"]["phase"] = "Failed"
    for node in failed["status"]["nodes"].values():
        node["phase"] = "Failed" if node["id"] in ("fold-1", "2") else node["phase"]
    await waiting.put(failed)
    selector = re.findall(r"argo retry .* --node-field-selector (\S+)", PAGE)[0]
    body = {"name": "fold-1", "namespace": "argo", "restartSuccessful": True, "nodeFieldSelector": selector}
    status, again = await waiting.call("PUT", f"{PATH}/retry", body)

    assert (status, again.get("message")) == (200, None)
    assert {node["name"] for node in again["status"]["nodes"].values()} == {"fold-1", "fold-1[0]"}
