"""Turns events into requests to Argo's server, and makes them within the time of one attempt."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable

from msgspec.structs import replace

from dispatcher.domain.events import Event
from dispatcher.domain.hops import HEADER, outgoing
from dispatcher.domain.targets import UNTRUSTED, AttemptResult
from dispatcher.domain.templates import RenderError, TextTemplate, encodable
from dispatcher.domain.variable_values import EventValues
from dispatcher.domain.variables import Values
from dispatcher.targets.argo.attempt import Attempt, Call, Clients
from dispatcher.targets.argo.config import NAMESPACE, WORKFLOW, ArgoTarget, authorization, bare_token
from dispatcher.targets.argo.outputs import OutputsTemplate
from dispatcher.targets.argo.selector import SelectorTemplate
from dispatcher.targets.argo.workflow import Action
from dispatcher.targets.http.auth import scrubbable

MAX_MESSAGE = 1000
"""Characters of a job's message that a stopped node is given."""


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
        self._outputs = OutputsTemplate.compile(target.outputs)
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
        headers = self._headers | {HEADER: str(outgoing(event.document))}
        attempt = Attempt(self._clients, call, headers, self._secrets, attempt_state)
        return replace(await self._in_time(attempt), attempt_state=attempt.state)

    async def _in_time(self, attempt: Attempt) -> AttemptResult:
        try:
            async with asyncio.timeout(self._clients.deadline):
                return await attempt.make()
        except TimeoutError:
            problem = f"no answer within {self._clients.deadline:g} s"
            return AttemptResult(request_line=attempt.line, error=problem)

    def _call(self, action: Action, event: Event) -> Call:
        values = EventValues(event)
        namespace = _name(self._namespace.render(values), NAMESPACE, "namespace")
        workflow = _name(self._workflow.render(values), WORKFLOW, "workflow")
        selector = self._selector.render(values)
        return Call(
            action,
            f"{self._server}/api/v1/workflows/{namespace}/{workflow}",
            selector,
            {"name": workflow, "namespace": namespace, "nodeFieldSelector": selector.text},
            _message(event, values) if action == "stop" else None,
            self._outputs.render(values) if action == "resume" else {},
        )


def _name(name: str, pattern: re.Pattern[str], field: str) -> str:
    if not pattern.fullmatch(name):
        raise RenderError(f"the {field} becomes {name[:80]!r}: expected small letters, digits and -")
    return name


def _message(event: Event, values: Values) -> str:
    message = values.get("JOB_ERROR") or values.get("JOB_MESSAGE") or f"job {event.job_id} is {event.event}"
    return encodable(message[:MAX_MESSAGE])
