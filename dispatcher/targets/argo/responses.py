"""What Argo's server says: errors in its words, and workflows that show whether something was done."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from dispatcher.domain.targets import AttemptResult
from dispatcher.http import Response
from dispatcher.targets.argo import workflow as workflows
from dispatcher.targets.argo.workflow import Workflow
from dispatcher.targets.http.response_check import evaluate_response

_SHOWN_MESSAGE = 300


class _Problem(Struct, frozen=True):
    """What the server says when something is wrong."""

    message: str = ""


_decode_problem = msgspec.json.Decoder(_Problem).decode


class NoWorkflow(Exception):
    """There is no workflow to look at, and why."""


def evaluate(response: Response, line: str, secrets: Sequence[str]) -> AttemptResult:
    """How a request ended, by its status."""
    if 200 <= response.status < 300:
        return AttemptResult(request_line=line, status=response.status)  # the body is the whole workflow
    result = evaluate_response(response, line, None, secrets)
    # What is gone is this workflow: those of other jobs may be there.
    return replace(
        result, error=_explained(result), destination_error=result.error, disable_subscription=False
    )


def verify(
    response: Response,
    result: AttemptResult,
    secrets: Sequence[str],
    problem_of: Callable[[Workflow], str | None],
) -> AttemptResult:
    """The result of a request with status 2xx, a failure when the workflow that came back shows that nothing was done.

    A body that cannot be looked at proves nothing, so the status counts.
    """
    if not response.complete or response.headers.get("Content-Encoding", "identity") != "identity":
        return result
    answered = f"answered {response.status}"
    try:
        workflow = _decoded(response)
    except NoWorkflow:
        shown = evaluate_response(response, "", None, secrets).body
        problem: str | None = "but not with a workflow" + (f": {_excerpt(shown)}" if shown else "")
    else:
        problem = problem_of(workflow)
    return result if problem is None else replace(result, error=f"{answered}, {problem}")


def workflow_in(response: Response, secrets: Sequence[str]) -> Workflow:
    """The workflow that was asked for. Raises NoWorkflow."""
    result = evaluate(response, "", secrets)
    if result.error is not None:
        raise NoWorkflow(result.error)
    if not response.complete:
        raise NoWorkflow(f"it is longer than {len(response.body)} bytes, too slow or broken off")
    return _decoded(response)


def _decoded(response: Response) -> Workflow:
    try:
        workflow = workflows.decode(response.body)
    except (msgspec.DecodeError, RecursionError):
        raise NoWorkflow("the answer is no workflow") from None
    if workflow.is_empty:
        raise NoWorkflow("the answer is no workflow")
    return workflow


def _explained(result: AttemptResult) -> str:
    """The problem with the server's own words: the message of its JSON, or plain text."""
    problem = (result.error or "").partition(": ")[0] if result.disable_subscription else result.error or ""
    said = result.body or ""
    try:
        message = _decode_problem(said).message or said
    except (msgspec.DecodeError, RecursionError):
        message = said
    return f"{problem}: {excerpt}" if (excerpt := _excerpt(message)) else problem


def _excerpt(text: str) -> str:
    return " ".join(text.split())[:_SHOWN_MESSAGE]
