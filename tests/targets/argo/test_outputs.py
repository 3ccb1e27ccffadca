"""Outputs of the suspended node, set before it is resumed."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from dispatcher.domain.errors import InvalidInput
from dispatcher.http import Headers, Request, Response
from dispatcher.targets.argo.attempt import Clients
from dispatcher.targets.argo.config import ArgoTarget
from dispatcher.targets.argo.kind import ArgoKind
from dispatcher.targets.argo.outputs import MAX_OUTPUTS_SIZE
from dispatcher.targets.argo.sender import ArgoSender
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.ssrf_guard import Guard
from tests.factories import make_event
from tests.targets.argo.sending import DELIVERY, document, sent
from tests.targets.argo.server import ArgoServer, supplied, suspend_node, trigger_node

EXIT = {"exit": "${data.exit_code}"}
FINISHED = {"data": {"exit_code": 3}}


@pytest.fixture
def waiting(argo: ArgoServer) -> ArgoServer:
    """Return the server, its workflow waiting for the outputs `exit` and `path` of job-1."""
    argo.add(
        trigger_node("job-1"),
        suspend_node("one", "job-1", outputs=supplied("exit", "path")),
        suspend_node("two", "job-2", outputs=supplied("exit")),
    )
    return argo


def values(argo: ArgoServer, node: str = "one") -> dict[str, str | None]:
    return {one["name"]: one.get("value") for one in argo.node(node)["outputs"]["parameters"]}


def verbs(argo: ArgoServer) -> list[str]:
    """What was asked, in order: `set`, `resume`, `stop`, or `wf` for a look."""
    return [url.name for _, url, _, _ in argo.requests]


async def test_outputs_are_set_before_the_node_is_resumed(kind: ArgoKind, waiting: ArgoServer) -> None:
    outputs = EXIT | {"path": "/archive/$<JOB_ID>"}
    result = await sent(kind, waiting, FINISHED, outputs=outputs)

    assert (result.error, result.status) == (None, 200)
    assert result.request_line.endswith("/workflows/jobs/wf/resume")
    assert verbs(waiting) == ["set", "resume"]
    assert msgspec.json.decode(waiting.requests[0][3]) == {
        "name": "wf",
        "namespace": "jobs",
        "nodeFieldSelector": "inputs.parameters.uuid.value=job-1",
        "outputParameters": '{"exit":"3","path":"/archive/job-1"}',
    }
    assert values(waiting) == {"exit": "3", "path": "/archive/job-1"}
    assert waiting.node("one")["phase"] == "Succeeded"
    assert values(waiting, "two") == {"exit": None}


async def test_outputs_of_a_stopped_node_are_not_set(kind: ArgoKind, waiting: ArgoServer) -> None:
    result = await sent(kind, waiting, {"event": "FAILED"} | FINISHED, outputs=EXIT)

    assert result.error is None
    assert verbs(waiting) == ["stop"]


async def test_a_value_that_the_event_lacks_is_empty_and_no_default(
    kind: ArgoKind, waiting: ArgoServer
) -> None:
    assert (await sent(kind, waiting, outputs=EXIT)).error is None
    assert values(waiting)["exit"] == ""


@pytest.mark.parametrize("text", ['"', "\\", "a\nb", "ü\U0001f600", '{"a": 1}', "x,phase=y"])
async def test_a_value_arrives_as_it_is(kind: ArgoKind, waiting: ArgoServer, text: str) -> None:
    assert (await sent(kind, waiting, {"data": {"exit_code": text}}, outputs=EXIT)).error is None
    assert values(waiting)["exit"] == text


@pytest.mark.parametrize(
    "selector",
    [
        "displayName=one",
        "inputs.parameters.uuid.value==$<JOB_ID>,phase=Running",
        "templateName=wait-completion,displayName!=two",
        "id=wf-one,name!=x",
    ],
)
async def test_outputs_go_to_the_node_of_any_selector(
    kind: ArgoKind, waiting: ArgoServer, selector: str
) -> None:
    waiting.faults = ["lost"]
    lost = await sent(kind, waiting, FINISHED, outputs=EXIT, selector=selector)
    result = await sent(kind, waiting, FINISHED, outputs=EXIT, selector=selector, state=lost.attempt_state)

    assert lost.error is not None
    assert result.error is None
    assert values(waiting)["exit"] == "3"
    assert values(waiting, "two") == {"exit": None}
    assert waiting.node("two")["phase"] == "Running"


# Retries


async def test_what_was_set_is_not_set_again_after_a_failed_resume(
    kind: ArgoKind, waiting: ArgoServer
) -> None:
    waiting.faults = [None, 503]
    first = await sent(kind, waiting, FINISHED, outputs=EXIT)
    second = await sent(kind, waiting, FINISHED, outputs=EXIT, state=first.attempt_state)

    assert (first.status, first.retry_after) == (503, 7)
    assert second.error is None
    assert verbs(waiting) == ["set", "resume", "resume"]
    assert values(waiting)["exit"] == "3"


async def test_a_set_whose_answer_was_lost_is_not_in_the_way(kind: ArgoKind, waiting: ArgoServer) -> None:
    waiting.faults = ["lost"]
    first = await sent(kind, waiting, FINISHED, outputs=EXIT)
    second = await sent(kind, waiting, FINISHED, outputs=EXIT, state=first.attempt_state)

    assert first.retry_early
    assert first.request_line.endswith("/set")
    assert second.error is None
    assert verbs(waiting) == ["set", "set", "wf", "resume"]
    assert waiting.node("one")["phase"] == "Succeeded"


@pytest.mark.parametrize("keeps_state", [True, False])
async def test_a_resume_whose_answer_was_lost_is_delivered(
    kind: ArgoKind, waiting: ArgoServer, keeps_state: bool
) -> None:
    waiting.faults = [None, "lost"]
    first = await sent(kind, waiting, FINISHED, outputs=EXIT)
    second = await sent(
        kind, waiting, FINISHED, outputs=EXIT, state=first.attempt_state if keeps_state else None
    )

    assert second.error is None
    assert second.body == "already resumed: the suspended node is Succeeded"


async def test_a_node_that_somebody_resumed_is_delivered_and_says_what_is_missing(
    kind: ArgoKind, waiting: ArgoServer
) -> None:
    await sent(kind, waiting)
    result = await sent(kind, waiting, FINISHED, outputs=EXIT)

    assert result.error is None
    assert result.body == "already resumed: the suspended node is Succeeded, without the output exit"


async def test_the_state_of_other_outputs_does_not_count(kind: ArgoKind, waiting: ArgoServer) -> None:
    waiting.faults = [None, 503]
    first = await sent(kind, waiting, FINISHED, outputs={"path": "/x"})
    await sent(kind, waiting, FINISHED, outputs=EXIT, state=first.attempt_state)

    assert verbs(waiting) == ["set", "resume", "set", "resume"]
    assert values(waiting) == {"exit": "3", "path": "/x"}


async def test_a_failed_set_leaves_the_node_suspended(kind: ArgoKind, waiting: ArgoServer) -> None:
    waiting.faults = [503]
    result = await sent(kind, waiting, FINISHED, outputs=EXIT)

    assert result.error == "answered 503 Service Unavailable: try again"
    assert result.attempt_state is None
    assert verbs(waiting) == ["set"]


async def test_a_set_that_changed_nothing_is_tried_again(kind: ArgoKind, waiting: ArgoServer) -> None:
    waiting.faults = ["dropped"]
    result = await sent(kind, waiting, FINISHED, outputs=EXIT)

    assert result.error == "answered 200, but the workflow shows the node without the output exit"
    assert (result.permanent, result.attempt_state, result.is_destination_failure) == (False, None, False)
    assert verbs(waiting) == ["set"]


async def test_a_node_that_is_not_suspended_yet_is_set_later(kind: ArgoKind, waiting: ArgoServer) -> None:
    waiting.add(trigger_node("job-1"))
    result = await sent(kind, waiting, FINISHED, outputs=EXIT)

    assert not result.permanent
    assert "not suspended at a node with" in (result.error or "")
    assert verbs(waiting) == ["set", "wf"]


# What cannot be set


@pytest.mark.parametrize(
    ("outputs", "problem"),
    [
        (None, "the node has no output parameter exit with valueFrom.supplied"),
        (supplied("path"), "the node has no output parameter exit with valueFrom.supplied"),
        (supplied(exit="0"), "the output exit has another value already: '0'"),
    ],
)
async def test_an_output_that_the_node_does_not_take_ends_the_delivery(
    kind: ArgoKind, argo: ArgoServer, outputs: dict[str, Any] | None, problem: str
) -> None:
    argo.add(suspend_node("one", "job-1", **({} if outputs is None else {"outputs": outputs})))
    result = await sent(kind, argo, FINISHED, outputs=EXIT)

    assert result.permanent
    assert result.error == problem
    assert not result.is_destination_failure
    assert verbs(argo) == ["set", "wf"]
    assert argo.node("one")["phase"] == "Running"


async def test_a_refused_set_without_a_look_is_tried_again(kind: ArgoKind, argo: ArgoServer) -> None:
    argo.may_look = False
    result = await sent(kind, argo, FINISHED, outputs=EXIT)

    assert not result.permanent
    assert "node is not expecting any raw parameters; the look at the workflow failed" in (result.error or "")


@pytest.mark.parametrize("size", [MAX_OUTPUTS_SIZE, MAX_OUTPUTS_SIZE - 100])
async def test_outputs_have_a_size_that_they_may_have_together(
    kind: ArgoKind, waiting: ArgoServer, size: int
) -> None:
    result = await sent(kind, waiting, {"data": {"exit_code": "x" * size}}, outputs=EXIT)

    assert result.permanent is (size == MAX_OUTPUTS_SIZE)
    assert (result.error is None) is (size < MAX_OUTPUTS_SIZE)
    assert not result.permanent or "65536 bytes together" in (result.error or "")


class _Hangs:
    """Answers what sets outputs, and nothing after that."""

    async def send(self, request: Request) -> Response:
        if request.url.name != "set":
            await asyncio.Event().wait()
        return Response(200, Headers(), b'{"metadata": {"name": "wf"}}', complete=True)

    async def close(self) -> None:
        pass


async def test_an_attempt_with_outputs_takes_no_longer_than_one_without() -> None:
    target = msgspec.convert(document("http://127.0.0.1:1", outputs=EXIT), ArgoTarget)
    sender = ArgoSender(Clients(_Hangs(), _Hangs(), 0.1), target, lambda _: True)
    result = await sender.send(make_event(**FINISHED), DELIVERY, 1)

    assert result.error == "no answer within 0.1 s"
    assert result.request_line == "PUT http://127.0.0.1:1/api/v1/workflows/jobs/wf/resume"
    assert result.attempt_state is not None  # the outputs are set


# Targets as they are made


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"outputs": {"a b": "x"}}, "no name of an output parameter"),
        ({"outputs": {"${EVENT}": "x"}}, "no name of an output parameter"),
        ({"outputs": {"exit": "${NOTHING}"}}, "exit: unknown variable"),
        ({"outputs": {"exit": "${data.x"}}, "exit: "),
        ({"outputs": {"exit": "x"}, "actions": {"FINISHED": "stop"}}, "no action is one"),
    ],
)
def test_outputs_that_cannot_work_are_refused(fields: dict[str, Any], problem: str) -> None:
    target = msgspec.convert(document("https://argo.example.org:2746") | fields, ArgoTarget)
    with pytest.raises(InvalidInput, match=problem) as refused:
        ArgoKind(Egress(Guard())).check(target)

    assert refused.value.field == "target.outputs"


@pytest.mark.parametrize(
    "outputs", [{f"o{number}": "" for number in range(51)}, {"x" * 129: ""}, {"x": "y" * 8193}, {"": "x"}]
)
def test_outputs_are_bounded(outputs: dict[str, str]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(document("https://argo.example.org", outputs=outputs), ArgoTarget)
