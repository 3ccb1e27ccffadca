"""Requests to Argo's server: resume or stop at the suspended node that an event is meant for.

The response that no suspended node was found is the same whether the workflow is not there yet, was resumed before or
never will be suspended. A look at the workflow tells which.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from yarl import URL

from dispatcher.domain.events import Event
from dispatcher.domain.hops import HEADER, outgoing
from dispatcher.domain.targets import UNTRUSTED, AttemptResult
from dispatcher.domain.templates import RenderError, TextTemplate
from dispatcher.domain.variable_values import EventValues
from dispatcher.domain.variables import Values
from dispatcher.http import Exchange, Request, Response, TransportError
from dispatcher.targets.argo import workflow as workflows
from dispatcher.targets.argo.config import NAMESPACE, WORKFLOW, ArgoTarget, authorization, bare_token
from dispatcher.targets.argo.selector import Selector, SelectorTemplate
from dispatcher.targets.argo.workflow import Action
from dispatcher.targets.http.auth import scrubbable
from dispatcher.targets.http.response_check import evaluate_response

MAX_MESSAGE = 1000
"""Characters of a job's message that a stopped node is given."""

_SHOWN_MESSAGE = 300
_NOTHING_SUSPENDED = b"no suspend nodes matching"
_LOOKED_AT = "fields=status.phase,status.nodes"
_SOON = 1.0

_encode = msgspec.json.Encoder().encode


class Clients(NamedTuple):
    """One for the actions, and one for looks, which may read more. An attempt with both must end in time."""

    act: Exchange
    look: Exchange


class _Problem(Struct, frozen=True):
    """What the server says when something is wrong."""

    message: str = ""


_decode_problem = msgspec.json.Decoder(_Problem).decode


class _Call(NamedTuple):
    """What an event asks of the server. `workflow` is its address."""

    action: Action
    workflow: str
    selector: Selector
    body: bytes

    @property
    def address(self) -> str:
        return f"{self.workflow}/{self.action}"


class ArgoSender:
    """One subscription's requests."""

    def __init__(self, clients: Clients, target: ArgoTarget, believes: Callable[[Event], bool]) -> None:
        self._believes = believes
        self._clients = clients
        self._actions = target.actions
        self._server = target.server.rstrip("/")
        self._namespace = TextTemplate.compile(target.namespace)
        self._workflow = TextTemplate.compile(target.workflow)
        self._selector = SelectorTemplate.compile(target.selector)
        self._headers: dict[str, str] = {}
        self._secrets: tuple[str, ...] = ()
        if target.token is not None:
            self._headers["Authorization"] = authorization(target.token)
            self._secrets = scrubbable([target.token, bare_token(target.token)])

    async def send(
        self, event: Event, delivery_id: str, number: int, attempt_state: str | None = None
    ) -> AttemptResult:
        """Make one attempt. Raises for nothing that the server or the network does."""
        if not self._believes(event):
            return AttemptResult(request_line=self._server, error=UNTRUSTED, permanent=True)
        action = self._actions.get(event.event)
        if action is None:
            known = ", ".join(self._actions)
            problem = f"target.actions says nothing about {event.event}: expected one of {known}"
            return AttemptResult(request_line=self._server, error=problem, permanent=True)
        try:
            call = self._call(action, event)
        except RenderError as error:
            return AttemptResult(request_line=self._server, error=str(error), permanent=True)
        line = f"PUT {call.address}"
        headers = self._headers | {"Content-Type": "application/json", HEADER: str(outgoing(event.document))}
        try:
            request = Request.build("PUT", URL(call.address, encoded=True), headers, call.body)
            response = await self._clients.act.send(request)
        except TransportError as error:
            return AttemptResult(
                request_line=line, error=str(error), retry_early=error.early, destination_down=error.down
            )
        answer = self._judged(response, line)
        if response.status >= 400 and _NOTHING_SUSPENDED in response.body:
            return await self._look(call, answer)
        return answer

    def _call(self, action: Action, event: Event) -> _Call:
        values = EventValues(event)
        namespace = _name(self._namespace.render(values), NAMESPACE, "namespace")
        workflow = _name(self._workflow.render(values), WORKFLOW, "workflow")
        selector = self._selector.render(values)
        body = {"name": workflow, "namespace": namespace, "nodeFieldSelector": selector.text}
        if action == "stop":
            body["message"] = _message(event, values)
        address = f"{self._server}/api/v1/workflows/{namespace}/{workflow}"
        return _Call(action, address, selector, _encode(body))

    async def _look(self, call: _Call, answer: AttemptResult) -> AttemptResult:
        """Tell what it means that no suspended node was found. `answer` is the one that said so."""
        try:
            request = Request.build("GET", URL(f"{call.workflow}?{_LOOKED_AT}", encoded=True), self._headers)
            response = await self._clients.look.send(request)
            workflow = self._workflow_in(response)
        except (TransportError, _NoWorkflow) as error:
            problem = f"{answer.error}; the look at the workflow failed: {error}"
            return replace(answer, error=problem, healthy=True)
        found = workflows.find(workflow, call.selector, call.action)
        return replace(
            answer,
            body=found.text,
            error=None if found.done else found.text,
            retry_after=_SOON if found.soon else answer.retry_after,
            healthy=True,
            permanent=found.final,
        )

    def _workflow_in(self, response: Response) -> workflows.Workflow:
        answer = self._judged(response, "")
        if answer.error is not None:
            raise _NoWorkflow(answer.error)
        if not response.complete:
            raise _NoWorkflow(f"it is longer than {len(response.body)} bytes, too slow or broken off")
        try:
            return workflows.decode(response.body)
        except (msgspec.DecodeError, RecursionError):
            raise _NoWorkflow("the answer is no workflow") from None

    def _judged(self, response: Response, line: str) -> AttemptResult:
        answer = evaluate_response(response, line, None, self._secrets)
        if answer.error is None:
            return replace(answer, body=None)  # it is the whole workflow
        # What is gone is this workflow: those of other jobs may be there.
        return replace(
            answer, error=_explained(answer), destination_error=answer.error, disable_subscription=False
        )


class _NoWorkflow(Exception):
    """There is no workflow to look at, and why."""


def _name(name: str, pattern: re.Pattern[str], field: str) -> str:
    if not pattern.fullmatch(name):
        raise RenderError(f"the {field} becomes {name[:80]!r}: expected small letters, digits and -")
    return name


def _message(event: Event, values: Values) -> str:
    message = values.get("JOB_ERROR") or values.get("JOB_MESSAGE") or f"job {event.job_id} is {event.event}"
    # A lone surrogate has no encoding.
    return message[:MAX_MESSAGE].encode("utf-8", "replace").decode()


def _explained(answer: AttemptResult) -> str:
    """The problem with the server's own words."""
    problem = (answer.error or "").partition(": ")[0] if answer.disable_subscription else answer.error or ""
    try:
        message = _decode_problem(answer.body or "").message
    except (msgspec.DecodeError, RecursionError):
        return problem
    return f"{problem}: {message[:_SHOWN_MESSAGE]}" if message else problem
