"""What a portal's answer means: it answers 200 also when it knows no such job, so what it says in the body counts."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from dispatcher.compat.tethys.config import Form
from dispatcher.compat.tethys.requests import PortalRequest
from dispatcher.domain.targets import AttemptResult
from dispatcher.http import Response
from dispatcher.targets.http.response_check import Success, evaluate_response

REPEATED = 10.5
"""Seconds after which a portal lets a repeated report process a job's results once more."""

FINISHED = "the job has already finished in the portal, which keeps that"
# Of a report, for good.
_REFUSALS: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "the portal refuses the status: it is none that it knows",
    HTTPStatus.FORBIDDEN: "the portal refuses the token: it is not that of job {}, or older than 30 days",
    HTTPStatus.NOT_FOUND: "the portal has no job {}",
}
_TAKEN = Success(status=(200,), json={"success": True})


class _Said(Struct, frozen=True):
    """What a portal says to a report."""

    success: bool
    post_processing: bool = True


_decode = msgspec.json.Decoder(_Said).decode


def evaluate(response: Response, request: PortalRequest, form: Form) -> AttemptResult:
    """How an attempt ended."""
    answer = evaluate_response(response, request.shown, _TAKEN, request.secrets)
    if answer.disable_subscription:  # what is gone is this job: the others may be there
        answer = replace(answer, error=f"answered {response.status}", disable_subscription=False)
    if form == "report":
        return _report(response, request, answer)
    if response.status == HTTPStatus.OK and answer.error is not None:
        problem = "the portal did not take it: it has no such job, or could not update it"
        return replace(answer, error=f"{problem} ({answer.error})")
    return answer


def _report(response: Response, request: PortalRequest, answer: AttemptResult) -> AttemptResult:
    """The portal itself answers in JSON; what does not comes from something before it, or an older one."""
    said = _said(response)
    if said is None:
        if response.status == HTTPStatus.NOT_FOUND:
            problem = (
                "the portal is older than 4.6.1, which came with reports, or target.portal has no such path"
            )
            return replace(answer, error=f"{answer.error}: {problem}")
        return answer
    if said.success:
        return answer if said.post_processing or answer.error is not None else _unprocessed(answer)
    if response.status == HTTPStatus.CONFLICT:
        return replace(answer, error=FINISHED, superseded=True)
    refusal = _REFUSALS.get(response.status)
    return answer if refusal is None else replace(answer, error=refusal.format(request.job), permanent=True)


def _unprocessed(answer: AttemptResult) -> AttemptResult:
    problem = "the portal has the status, but could not process the job's results: the report is repeated"
    return replace(answer, error=problem, retry_after=REPEATED, healthy=True)


def _said(response: Response) -> _Said | None:
    try:
        return _decode(response.body)
    except (msgspec.DecodeError, RecursionError):
        return None
