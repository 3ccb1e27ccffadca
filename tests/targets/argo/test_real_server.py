"""Argo targets against Argo's own server code, and the double of the other tests beside it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from dispatcher.targets.argo.kind import ArgoKind
from tests.targets.argo.real import READER, RealArgo
from tests.targets.argo.sending import sent
from tests.targets.argo.server import TOKEN, ArgoServer, supplied, suspend_node, trigger_node

# The first build of a machine compiles Kubernetes' client too: minutes.
pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

EXIT = {"exit": "${data.exit_code}"}
FINISHED = {"data": {"exit_code": 3}}
UUID = "inputs.parameters.uuid.value=job-1"


@pytest.fixture
async def real(program: Path) -> AsyncIterator[RealArgo]:
    """Yield the server, whose workflow `wf` waits for job-1, with the outputs `exit` and `path`, and for job-2."""
    async with RealArgo(program) as server:
        await server.add(
            trigger_node("job-1"),
            suspend_node("one", "job-1", outputs=supplied("exit", "path")),
            suspend_node("two", "job-2"),
        )
        yield server


async def values(real: RealArgo) -> dict[str, str | None]:
    return {one["name"]: one.get("value") for one in (await real.node("one"))["outputs"]["parameters"]}


async def phases(real: RealArgo) -> list[str]:
    return [(await real.node(name))["phase"] for name in ("one", "two")]


async def test_a_finished_job_resumes_its_node_with_its_outputs(kind: ArgoKind, real: RealArgo) -> None:
    result = await sent(kind, real, FINISHED, outputs=EXIT | {"path": '/a "b" ü,=\\'})

    assert (result.error, result.status) == (None, 200)
    assert await values(real) == {"exit": "3", "path": '/a "b" ü,=\\'}
    assert await phases(real) == ["Succeeded", "Running"]


async def test_a_failed_job_stops_its_node_with_the_message(kind: ArgoKind, real: RealArgo) -> None:
    result = await sent(kind, real, {"event": "FAILED", "data": {"message": "out of memory"}}, outputs=EXIT)

    assert result.error is None
    assert (await real.node("one"))["message"] == "out of memory"
    assert await phases(real) == ["Failed", "Running"]


async def test_a_default_is_used_only_by_a_resume_without_a_selector(kind: ArgoKind, real: RealArgo) -> None:
    await sent(kind, real)
    resumed = (await real.node("one"))["outputs"]["parameters"][0]
    assert resumed == {"name": "exit", "valueFrom": {"supplied": {}, "default": "none"}}

    await real.add(suspend_node("one", "job-1", outputs=supplied("exit")))
    await real.act("resume", "")
    assert (await real.node("one"))["outputs"]["parameters"] == [{"name": "exit", "value": "none"}]


@pytest.mark.parametrize(
    "selector",
    [
        "displayName=one",
        f"{UUID},phase=Running",
        "templateName==wait-completion,displayName!=two",
        "id=wf-one,name=wf[1].one",
        "templateRef.name=library,templateRef.template=wait,templateName=wait",
    ],
)
async def test_each_form_of_selector_finds_its_node(kind: ArgoKind, real: RealArgo, selector: str) -> None:
    if "templateRef" in selector:
        reference = {"name": "library", "template": "wait"}
        node = suspend_node("one", "job-1", outputs=supplied("exit"), templateRef=reference)
        await real.add(node, suspend_node("two", "job-2"))
    result = await sent(kind, real, FINISHED, outputs=EXIT, selector=selector)
    repeated = await sent(kind, real, FINISHED, outputs=EXIT, selector=selector)

    assert result.error is None
    assert repeated.body == "already resumed: the suspended node is Succeeded"
    assert (await values(real))["exit"] == "3"
    assert await phases(real) == ["Succeeded", "Running"]


@pytest.mark.parametrize("job", ["a,b", "a=b", "a\\b", "a\\,b==c,\\", "a,phase!=x", "ü"])
async def test_a_value_never_changes_what_a_selector_means(kind: ArgoKind, real: RealArgo, job: str) -> None:
    await real.add(suspend_node("one", job), suspend_node("two", "a"))
    result = await sent(kind, real, {"job_id": job})

    assert result.error is None
    assert await phases(real) == ["Succeeded", "Running"]


# Retries


async def test_what_was_done_before_is_no_failure(kind: ArgoKind, real: RealArgo) -> None:
    await real.act("set", UUID, outputParameters='{"exit": "3"}')
    assert (await sent(kind, real, FINISHED, outputs=EXIT)).error is None
    assert await phases(real) == ["Succeeded", "Running"]

    again = await sent(kind, real, FINISHED, outputs=EXIT)
    assert again.error is None
    assert again.body == "already resumed: the suspended node is Succeeded"


async def test_conflicts_that_the_server_overcomes_are_not_seen(kind: ArgoKind, real: RealArgo) -> None:
    await real.meet(conflicts=3)
    assert (await sent(kind, real, FINISHED, outputs=EXIT)).error is None
    assert (await values(real))["exit"] == "3"


async def test_conflicts_that_it_does_not_overcome_are_tried_again(kind: ArgoKind, real: RealArgo) -> None:
    await real.meet(conflicts=1000)
    first = await sent(kind, real, FINISHED, outputs=EXIT)
    await real.meet()
    second = await sent(kind, real, FINISHED, outputs=EXIT, state=first.attempt_state)

    assert first.error == "answered 500 Internal Server Error: timed out waiting for the condition"
    assert not first.permanent
    assert second.error is None
    assert await phases(real) == ["Succeeded", "Running"]


async def test_an_update_that_is_lost_is_no_success(kind: ArgoKind, real: RealArgo) -> None:
    await real.meet(dropped=1)
    unset = await sent(kind, real, FINISHED, outputs=EXIT)
    await real.meet(dropped=1)
    waiting = await sent(kind, real)

    assert unset.error == "answered 200, but the workflow shows the node without the output exit"
    assert waiting.error == (
        "answered 200, but the workflow still shows the node Running: resume had no effect"
    )
    assert (unset.permanent, waiting.permanent) == (False, False)


async def test_a_node_that_is_not_suspended_yet_is_found_later(kind: ArgoKind, real: RealArgo) -> None:
    await real.add(trigger_node("job-1"))
    early = await sent(kind, real, FINISHED, outputs=EXIT)
    await real.add(trigger_node("job-1"), phase="Failed")
    never = await sent(kind, real, FINISHED, outputs=EXIT)

    assert (early.error, early.permanent) == (
        f"the workflow is Running and not suspended at a node with {UUID}",
        False,
    )
    assert (never.error, never.permanent) == (
        f"the workflow is Failed and was never suspended at a node with {UUID}",
        True,
    )


@pytest.mark.parametrize(
    ("outputs", "problem"),
    [
        ({"exi": "3"}, "the node has no output parameter exi with valueFrom.supplied"),
        ({"exit": "4"}, "the output exit has another value already: '3'"),
    ],
)
async def test_an_output_that_cannot_be_set_ends_the_delivery(
    kind: ArgoKind, real: RealArgo, outputs: dict[str, str], problem: str
) -> None:
    await real.act("set", UUID, outputParameters='{"exit": "3"}')
    result = await sent(kind, real, outputs=outputs)

    assert (result.error, result.permanent) == (problem, True)
    assert await phases(real) == ["Running", "Running"]


# Who may


@pytest.mark.parametrize("scheme", ["", "Bearer "])
async def test_a_token_works_with_and_without_its_scheme(kind: ArgoKind, real: RealArgo, scheme: str) -> None:
    assert (await sent(kind, real, token=scheme + TOKEN)).error is None


@pytest.mark.parametrize(
    ("token", "problem"),
    [
        ("unknown", "answered 401 Unauthorized: Unauthorized"),
        ("Basic unknown", "answered 401 Unauthorized: Unauthorized"),
        (None, "answered 401 Unauthorized: token not valid. see "),
        (
            READER,
            'answered 403 Forbidden: workflows.argoproj.io "wf" is forbidden: User "system:serviceaccount:jobs:',
        ),
    ],
)
async def test_who_may_not_is_refused_in_the_servers_words(
    kind: ArgoKind, real: RealArgo, token: str | None, problem: str
) -> None:
    for outputs in ({}, EXIT):
        result = await sent(kind, real, FINISHED, outputs=outputs, token=token)
        assert (result.error or "").startswith(problem)
        assert not result.permanent
    assert await phases(real) == ["Running", "Running"]


async def test_a_workflow_that_is_not_there_is_not_found(kind: ArgoKind, real: RealArgo) -> None:
    result = await sent(kind, real, workflow="other")

    assert result.error == 'answered 404 Not Found: workflows.argoproj.io "other" not found'


async def test_a_used_up_rate_limit_is_shown_in_plain_text_and_obeyed(kind: ArgoKind, real: RealArgo) -> None:
    await real.meet(limited=True)
    result = await sent(kind, real)

    assert result.error == "answered 429 Too Many Requests: Too Many Requests"
    assert result.retry_after is not None


async def test_a_path_of_the_user_interface_is_no_success(kind: ArgoKind, real: RealArgo) -> None:
    result = await sent(kind, real, server=f"{real.url}/argo")

    assert result.error == "answered 200, but not with a workflow"


# The double


@pytest.mark.parametrize(
    "steps",
    [
        [("resume", UUID, {}), ("resume", UUID, {}), ("stop", UUID, {})],
        [("stop", UUID, {"message": "x"}), ("resume", UUID, {})],
        [
            ("set", UUID, {"exit": "3"}),
            ("set", UUID, {"exit": "3"}),
            ("set", UUID, {"path": "x"}),
            ("resume", UUID, {}),
        ],
        [("set", UUID, {"other": "3"}), ("resume", UUID, {}), ("set", UUID, {"exit": "3"})],
        [("set", "displayName=two", {"exit": "3"})],
        [("set", "displayName=three", {"exit": "3"})],
        [("resume", "displayName", {})],
        [("resume", "displayName=a\\b", {})],
    ],
)
async def test_the_double_says_what_the_server_says(
    argo: ArgoServer, real: RealArgo, steps: list[tuple[str, str, dict[str, str]]]
) -> None:
    argo.add(
        trigger_node("job-1"),
        suspend_node("one", "job-1", outputs=supplied("exit", "path")),
        suspend_node("two", "job-2"),
    )
    for verb, selector, given in steps:
        fields = {"outputParameters": json.dumps(given)} if verb == "set" else given
        assert await _asked(argo, verb, selector, fields) == await real.act(verb, selector, **fields)
        assert [_shown(argo.node(name)) for name in ("one", "two")] == [
            _shown(await real.node(name)) for name in ("one", "two")
        ]


async def _asked(argo: ArgoServer, verb: str, selector: str, fields: dict[str, str]) -> tuple[int, str]:
    body = {"name": "wf", "namespace": "jobs", "nodeFieldSelector": selector} | fields
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        aiohttp.ClientSession(argo.url, headers=headers) as session,
        session.put(f"/api/v1/workflows/jobs/wf/{verb}", json=body) as response,
    ):
        return response.status, (await response.json()).get("message", "")


def _shown(node: dict[str, Any]) -> object:
    return node["phase"], node.get("message") or "", node.get("outputs")
