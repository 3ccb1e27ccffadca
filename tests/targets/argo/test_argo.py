"""Argo targets against a double of its server, and their requests against those of `hera`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hera.workflows.models import WorkflowResumeRequest, WorkflowSetRequest, WorkflowStopRequest
from hera.workflows.service import WorkflowsService

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.targets import AttemptResult
from dispatcher.targets.argo.config import ArgoTarget
from dispatcher.targets.argo.kind import MAX_WORKFLOW, ArgoKind
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.ssrf_guard import Guard
from tests.factories import make_event, make_subscription
from tests.http.requests import resolve_to
from tests.http.servers import Authority
from tests.targets.argo.sending import DELIVERY, document, sent
from tests.targets.argo.server import TOKEN, ArgoServer, supplied, suspend_node, trigger_node

# Resume and stop


async def test_a_finished_job_resumes_the_node_that_waits_for_it(kind: ArgoKind, argo: ArgoServer) -> None:
    answer = await sent(kind, argo)

    assert answer == AttemptResult(request_line=f"PUT {argo.url}/api/v1/workflows/jobs/wf/resume", status=200)
    assert argo.node("one")["phase"] == "Succeeded"
    assert argo.node("two")["phase"] == "Running"


async def test_no_workflow_is_resumed_for_every_owner_on_the_word_of_an_owners_own_key(
    kind: ArgoKind, argo: ArgoServer
) -> None:
    forged = make_event(owner="mallory", published_by="mallory")
    for owner, resumed in (("*", False), ("mallory", True)):
        sender = kind.sender(make_subscription(target=document(argo.url), owner=owner))
        answer = await sender.send(forged, DELIVERY, 1)
        assert (answer.error is None) is resumed
        assert answer.permanent is not resumed
        assert (argo.node("one")["phase"] == "Succeeded") is resumed


@pytest.mark.parametrize("event", ["FAILED", "KILLED", "STOPPED"])
async def test_a_job_that_did_not_finish_stops_the_node_with_its_message(
    kind: ArgoKind, argo: ArgoServer, event: str
) -> None:
    answer = await sent(kind, argo, {"event": event, "data": {"message": "out of memory"}})

    assert answer.error is None
    assert (argo.node("one")["phase"], argo.node("one")["message"]) == ("Failed", "out of memory")
    assert argo.node("two")["phase"] == "Running"


async def test_a_job_without_a_message_stops_the_node_with_what_is_known(
    kind: ArgoKind, argo: ArgoServer
) -> None:
    await sent(kind, argo, {"event": "KILLED"})

    assert argo.node("one")["message"] == "job job-1 is KILLED"


async def test_a_long_message_is_cut(kind: ArgoKind, argo: ArgoServer) -> None:
    await sent(kind, argo, {"event": "FAILED", "data": {"message": "x" * 5000}})

    assert argo.node("one")["message"] == "x" * 1000


async def test_a_target_says_which_event_does_what(kind: ArgoKind, argo: ArgoServer) -> None:
    actions = {"ARCHIVING_FINISHED": "resume", "FINISHED": "stop"}
    answer = await sent(kind, argo, {"event": "ARCHIVING_FINISHED"}, actions=actions)
    assert answer.error is None
    assert argo.node("one")["phase"] == "Succeeded"

    await sent(kind, argo, {"job_id": "job-2"}, actions=actions)
    assert argo.node("two")["phase"] == "Failed"


async def test_an_event_that_no_action_names_is_not_sent(kind: ArgoKind, argo: ArgoServer) -> None:
    answer = await sent(kind, argo, {"event": "RUNNING"})

    assert answer.permanent
    assert answer.error == (
        "target.actions says nothing about RUNNING: expected one of FINISHED, FAILED, KILLED, STOPPED"
    )
    assert argo.requests == []


@pytest.mark.parametrize("job", ["a,b", "a=b", "a\\b", "a\\,b==c,\\", "a,phase!=x", "ü"])
async def test_a_value_never_changes_what_a_selector_means(
    kind: ArgoKind, argo: ArgoServer, job: str
) -> None:
    argo.add(suspend_node("one", job), suspend_node("two", "a"), suspend_node("three", "b"))
    answer = await sent(kind, argo, {"job_id": job})

    assert answer.error is None
    assert [argo.node(name)["phase"] for name in ("one", "two", "three")] == [
        "Succeeded",
        "Running",
        "Running",
    ]


async def test_variables_name_the_workflow_and_the_node(kind: ArgoKind, argo: ArgoServer) -> None:
    argo.add(suspend_node("one", "job-1"), suspend_node("two", "job-1"), name="fold-7.x")
    answer = await sent(
        kind,
        argo,
        {"data": {"wf": "fold-7.x", "step": "two"}},
        workflow="${data.wf}",
        selector="templateName=wait-completion,displayName=${data.step},phase!=Failed",
    )

    assert answer.error is None
    assert argo.node("one", "fold-7.x")["phase"] == "Running"
    assert argo.node("two", "fold-7.x")["phase"] == "Succeeded"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"workflow": "${data.wf}"}, "workflow"),
        ({"workflow": "../${data.bad}"}, "workflow"),
        ({"workflow": "${data.bad}"}, "workflow"),
        ({"namespace": "${data.bad}"}, "namespace"),
        ({"selector": "displayName=${data.nothing}"}, "data.nothing"),
    ],
)
async def test_a_value_that_cannot_stand_where_it_should_ends_the_delivery(
    kind: ArgoKind, argo: ArgoServer, fields: dict[str, str], problem: str
) -> None:
    answer = await sent(kind, argo, {"data": {"bad": "wf/../../x"}}, **fields)

    assert answer.permanent
    assert problem in (answer.error or "")
    assert argo.requests == []


# Whom it is for


@pytest.mark.parametrize("token", [TOKEN, f"Bearer {TOKEN}"])
async def test_a_token_works_with_and_without_its_scheme(
    kind: ArgoKind, argo: ArgoServer, token: str
) -> None:
    assert (await sent(kind, argo, token=token)).error is None


async def test_a_wrong_token_is_a_failure_that_does_not_show_it(kind: ArgoKind, argo: ArgoServer) -> None:
    answer = await sent(kind, argo, token="Basic hunter22")

    assert (answer.status, answer.permanent) == (401, False)
    assert (answer.error or "").startswith("answered 401 Unauthorized: token not valid")
    assert "hunter22" not in repr(answer)


async def test_a_workflow_that_is_not_there_is_a_failure_in_the_servers_words(
    kind: ArgoKind, argo: ArgoServer
) -> None:
    answer = await sent(kind, argo, workflow="other")

    assert (answer.status, answer.permanent) == (404, False)
    assert answer.error == 'answered 404 Not Found: workflows.argoproj.io "other" not found'


async def test_a_server_that_is_busy_says_when_to_come_again(kind: ArgoKind, argo: ArgoServer) -> None:
    argo.faults = [503]
    answer = await sent(kind, argo)

    assert (answer.error, answer.retry_after) == ("answered 503 Service Unavailable: try again", 7)


async def test_a_workflow_that_is_gone_leaves_the_subscription(kind: ArgoKind, argo: ArgoServer) -> None:
    argo.faults = [410]
    answer = await sent(kind, argo)

    assert not answer.disable_subscription
    assert answer.error == "answered 410 Gone: try again"


async def test_a_target_may_trust_its_own_authority_or_anybody(
    kind: ArgoKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, ["127.0.0.1"])
    (tmp_path / "other").mkdir()
    authority, other = Authority(tmp_path), Authority(tmp_path / "other")
    async with ArgoServer(authority.context("argo.example")) as argo:
        argo.add(suspend_node("one", "job-1"), suspend_node("two", "job-2"))
        refused = [await sent(kind, argo), await sent(kind, argo, ca=other.path.read_text())]
        trusted = await sent(kind, argo, ca=authority.path.read_text())
        unchecked = await sent(kind, argo, {"job_id": "job-2"}, verify=False)

    assert ["is not accepted" in (answer.error or "") for answer in refused] == [True, True]
    assert (trusted.error, unchecked.error) == (None, None)


async def test_a_certificate_for_another_name_is_refused(
    kind: ArgoKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to(monkeypatch, ["127.0.0.1"])
    authority = Authority(tmp_path)
    async with ArgoServer(authority.context("other.example")) as argo:
        answer = await sent(kind, argo, ca=authority.path.read_text())

    assert "not valid for 'argo.example'" in (answer.error or "")


# No suspended node


async def test_a_repeat_of_what_was_done_is_delivered(kind: ArgoKind, argo: ArgoServer) -> None:
    argo.faults = ["lost"]
    first = await sent(kind, argo)
    second = await sent(kind, argo)

    assert first.retry_early
    assert argo.node("one")["phase"] == "Succeeded"
    assert (second.error, second.status) == (None, 500)
    assert second.body == "already resumed: the suspended node is Succeeded"


async def test_a_repeated_stop_is_delivered_too(kind: ArgoKind, argo: ArgoServer) -> None:
    await sent(kind, argo, {"event": "FAILED"})
    answer = await sent(
        kind, argo, {"event": "FAILED"}, selector="inputs.parameters.uuid.value=$<JOB_ID>,phase=Running"
    )

    assert answer.error is None
    assert answer.body == "already stopped: the suspended node is Failed"


async def test_a_workflow_that_is_not_suspended_yet_is_tried_again(kind: ArgoKind, argo: ArgoServer) -> None:
    argo.add(trigger_node("job-1"))
    early = await sent(kind, argo)
    argo.add(trigger_node("job-1"), suspend_node("one", "job-1"))
    later = await sent(kind, argo)

    assert not early.permanent
    assert early.error == (
        "the workflow is Running and not suspended at a node with inputs.parameters.uuid.value=job-1"
    )
    assert later.error is None


async def test_a_node_that_is_suspended_during_the_look_is_tried_at_once(
    kind: ArgoKind, argo: ArgoServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(argo, "_updated", lambda *_: _raise("no suspend nodes matching nodeFieldSelector"))
    answer = await sent(kind, argo)

    assert (answer.error, answer.retry_after) == ("the node was suspended only after that", 1)


@pytest.mark.parametrize("phase", ["Succeeded", "Failed", "Error"])
async def test_a_workflow_that_was_never_suspended_ends_the_delivery(
    kind: ArgoKind, argo: ArgoServer, phase: str
) -> None:
    argo.add(trigger_node("job-1"), suspend_node("two", "job-2", phase="Succeeded"), phase=phase)
    answer = await sent(kind, argo)

    assert answer.permanent
    assert answer.error == (
        f"the workflow is {phase} and was never suspended at a node with inputs.parameters.uuid.value=job-1"
    )


async def test_a_node_that_somebody_stopped_cannot_be_resumed(kind: ArgoKind, argo: ArgoServer) -> None:
    await sent(kind, argo, {"event": "KILLED"})
    answer = await sent(kind, argo)

    assert answer.permanent
    assert answer.error == "the suspended node is Failed already: it is too late to resume it"


async def test_a_look_without_permission_is_reported_and_tried_again(
    kind: ArgoKind, argo: ArgoServer
) -> None:
    argo.add()
    argo.may_look = False
    answer = await sent(kind, argo)

    assert not answer.permanent
    assert "no suspend nodes matching" in (answer.error or "")
    assert (answer.error or "").endswith(
        "the look at the workflow failed: answered 403 Forbidden: workflows is forbidden"
    )


@pytest.mark.parametrize(("size", "delivered"), [(MAX_WORKFLOW // 2, True), (MAX_WORKFLOW, False)])
async def test_a_long_workflow_is_looked_at_up_to_a_bound(
    kind: ArgoKind, argo: ArgoServer, size: int, delivered: bool
) -> None:
    argo.add(trigger_node("x" * size), suspend_node("one", "job-1", phase="Succeeded"))
    answer = await sent(kind, argo)

    assert (answer.error is None) is delivered
    assert delivered or f"longer than {MAX_WORKFLOW} bytes" in (answer.error or "")


def _raise(problem: str) -> None:
    raise ValueError(problem)


# The requests of hera, the Python client of Argo


@pytest.mark.filterwarnings("ignore:The `json` method is deprecated")
async def test_requests_are_those_of_hera(kind: ArgoKind, argo: ArgoServer) -> None:
    selector = "inputs.parameters.uuid.value=job-1"
    hera = WorkflowsService(host=argo.url, token=f"Bearer {TOKEN}", namespace="jobs", verify_ssl=False)
    names = {"name": "wf", "namespace": "jobs"}
    resume = WorkflowResumeRequest(**names, node_field_selector=selector)
    stop = WorkflowStopRequest(**names, node_field_selector=selector, message="out of memory")
    given = WorkflowSetRequest(**names, node_field_selector=selector, output_parameters='{"exit":"3"}')
    fields = "status.phase,status.nodes"
    for call in (
        lambda: hera.set_workflow("wf", given),
        lambda: hera.resume_workflow("wf", resume),
        lambda: hera.stop_workflow("wf", stop),
        lambda: hera.get_workflow("wf", fields=fields),
    ):
        argo.add(suspend_node("one", "job-1", outputs=supplied("exit")))
        await asyncio.to_thread(_ignoring_answers, call)
    theirs, argo.requests = argo.requests, []

    for event in ("FINISHED", "FAILED"):
        argo.add(suspend_node("one", "job-1", outputs=supplied("exit")))
        await sent(kind, argo, {"event": event, "data": {"message": "out of memory"}}, outputs={"exit": "3"})
    await sent(kind, argo)

    ours = [*argo.requests[:3], argo.requests[4]]
    assert [_essence(request) for request in ours] == [_essence(request) for request in theirs]


def _ignoring_answers(call: Any) -> None:
    # The double's workflows are shorter than hera's model of one; what counts is what was asked.
    with suppress(ValueError):
        call()


def _essence(request: Any) -> object:
    method, url, headers, body = request
    kept = {name: headers.get(name) for name in ("Authorization", "Content-Type")}
    return method, url.path, dict(url.query), kept, msgspec.json.decode(body or b"null")


# Targets as they are made and shown


def test_a_shown_target_has_no_token() -> None:
    target = msgspec.convert(document("https://argo.example.org:2746", token="hunter22"), ArgoTarget)

    assert ArgoKind(Egress(Guard())).redact(target)["token"] == "***"
    assert "hunter22" not in repr(target)


def test_a_server_is_a_destination() -> None:
    target = msgspec.convert(document("https://Argo.example.org:2746/argo/"), ArgoTarget)

    assert ArgoKind(Egress(Guard())).check(target) == "https://argo.example.org:2746"


@pytest.mark.parametrize(
    ("fields", "field", "problem"),
    [
        ({"server": "https://10.0.0.1:2746"}, "target.server", "blocked"),
        ({"server": "https://localhost:2746"}, "target.server", "blocked"),
        ({"server": "argo.example.org:2746"}, "target.server", "https://"),
        ({"server": "https://argo.example.org/${JOB_ID}"}, "target.server", "without variables"),
        ({"server": "https://argo.example.org/?a=b"}, "target.server", "at most a path"),
        ({"namespace": "Jobs"}, "target.namespace", "small letters"),
        ({"namespace": "a.b"}, "target.namespace", "small letters"),
        ({"workflow": "a/b"}, "target.workflow", "small letters"),
        ({"workflow": "${NOTHING}"}, "target.workflow", "unknown variable"),
        ({"selector": "uuid=1"}, "target.selector", "no field of a node"),
        ({"selector": "displayname=1"}, "target.selector", "did you mean displayName?"),
        ({"selector": "displayName"}, "target.selector", "no condition"),
        ({"selector": "displayName=a=b"}, "target.selector", "no condition"),
        ({"selector": "displayName=a,"}, "target.selector", "after the last comma"),
        ({"selector": "displayName="}, "target.selector", "expected a value"),
        ({"selector": "displayName=a\\b"}, "target.selector", "no condition"),
        ({"selector": "${EVENT}=a"}, "target.selector", "values only"),
        ({"token": "a b"}, "target.token", "without spaces"),
        ({"token": "***"}, "target.token", "expected"),
        ({"token": "Bearer ***"}, "target.token", "expected"),
        ({"ca": "nothing"}, "target.ca", "PEM"),
        ({"ca": "ä", "verify": True}, "target.ca", "PEM"),
        ({"ca": "x", "verify": False}, "target.ca", "verify is false"),
        ({"server": "http://argo.example.org", "verify": False}, "target.ca", "without TLS"),
        ({"actions": {"not one": "stop"}}, "target.actions", "event name"),
    ],
)
def test_what_cannot_work_is_refused_by_field(fields: dict[str, Any], field: str, problem: str) -> None:
    target = msgspec.convert(document("https://argo.example.org:2746") | fields, ArgoTarget)
    with pytest.raises(InvalidInput) as refused:
        ArgoKind(Egress(Guard())).check(target)

    assert refused.value.field == field
    assert problem in refused.value.problem


@pytest.mark.parametrize(
    "fields",
    [
        {"actions": {}},
        {"actions": {"FINISHED": "terminate"}},
        {"server": ""},
        {"selector": ""},
        {"tokne": "x"},
    ],
)
def test_a_target_of_another_shape_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(document("https://argo.example.org") | fields, ArgoTarget)


# What other users of the server see


async def test_a_workflow_that_never_suspends_is_not_the_servers_trouble(
    kind: ArgoKind, argo: ArgoServer
) -> None:
    argo.add(trigger_node("job-1"))
    for argo.may_look in (True, False):
        answer = await sent(kind, argo)
        assert (answer.status, answer.is_destination_failure) == (500, False)
        assert answer.error is not None


async def test_the_servers_words_about_a_workflow_are_for_its_owner_alone(
    kind: ArgoKind, argo: ArgoServer
) -> None:
    argo.faults = [500]
    answer = await sent(kind, argo)
    assert answer.error != answer.destination_error == "answered 500 Internal Server Error"
