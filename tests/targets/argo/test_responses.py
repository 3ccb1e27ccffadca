"""What counts as done, and which of the server's words are shown."""

from __future__ import annotations

import pytest

from dispatcher.targets.argo.kind import MAX_WORKFLOW, ArgoKind
from tests.targets.argo.sending import sent
from tests.targets.argo.server import TOKEN, ArgoServer, suspend_node, trigger_node


@pytest.mark.parametrize(("event", "verb"), [("FINISHED", "resume"), ("FAILED", "stop")])
async def test_a_node_that_is_running_after_an_action_is_no_success(
    kind: ArgoKind, argo: ArgoServer, event: str, verb: str
) -> None:
    argo.faults = ["dropped"]
    first = await sent(kind, argo, {"event": event})
    second = await sent(kind, argo, {"event": event})

    assert first.error == f"answered 200, but the workflow still shows the node Running: {verb} had no effect"
    assert (first.status, first.permanent, first.is_destination_failure) == (200, False, False)
    assert second.error is None


async def test_other_nodes_may_be_running_after_an_action(kind: ArgoKind, argo: ArgoServer) -> None:
    argo.add(
        suspend_node("one", "job-1"), suspend_node("pod", "job-1", type="Pod"), suspend_node("two", "job-2")
    )

    assert (await sent(kind, argo)).error is None


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("", "but not with a workflow"),
        ("<html>\n <title>Sign in</title>", "but not with a workflow: <html> <title>Sign in</title>"),
        ('{"ok": true}', 'but not with a workflow: {"ok": true}'),
        ("[]", "but not with a workflow: []"),
    ],
)
async def test_a_200_of_something_else_is_no_success(
    kind: ArgoKind, argo: ArgoServer, body: str, shown: str
) -> None:
    argo.faults = [(200, body)]
    result = await sent(kind, argo)

    assert result.error == f"answered 200, {shown}"
    assert (result.permanent, result.is_destination_failure) == (False, False)


@pytest.mark.parametrize("body", ['{"metadata": {"name": "wf"}}', '{"status": {"phase": "Running"}}'])
async def test_a_workflow_without_its_nodes_is_taken_at_its_status(
    kind: ArgoKind, argo: ArgoServer, body: str
) -> None:
    argo.faults = [(200, body)]

    assert (await sent(kind, argo)).error is None


async def test_a_workflow_that_is_too_long_to_look_at_is_taken_at_its_status(
    kind: ArgoKind, argo: ArgoServer
) -> None:
    argo.add(trigger_node("x" * MAX_WORKFLOW), suspend_node("one", "job-1"))

    assert (await sent(kind, argo)).error is None


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("upstream connect error", "upstream connect error"),
        ("Too Many\n  Requests\n", "Too Many Requests"),
        ("x" * 1000, "x" * 300),
        ('{"message": "' + "x" * 1000 + '"}', "x" * 300),
        ('{"message": "' + "x" * 9000 + '"}', '{"message": "' + "x" * 287),
        ('{"error": "no healthy upstream"}', '{"error": "no healthy upstream"}'),
        (f"no route for {TOKEN}", "no route for ***"),
    ],
)
async def test_the_beginning_of_what_a_server_says_is_shown(
    kind: ArgoKind, argo: ArgoServer, said: str, shown: str
) -> None:
    argo.faults = [(502, said)]
    result = await sent(kind, argo)

    assert result.error == f"answered 502 Bad Gateway: {shown}"
    assert result.destination_error == "answered 502 Bad Gateway"


async def test_a_server_that_says_nothing_is_shown_by_its_status(kind: ArgoKind, argo: ArgoServer) -> None:
    argo.faults = [(502, "")]

    assert (await sent(kind, argo)).error == "answered 502 Bad Gateway"
