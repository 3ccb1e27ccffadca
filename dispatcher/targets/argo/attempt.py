"""One attempt: sets the outputs of the suspended node, then resumes or stops it.

The response that no suspended node was found is the same whether the workflow is not there yet, was resumed before or
never will be suspended; the one that an output cannot be set is the same whether it was set before or is not expected.
A look at the workflow tells which.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from yarl import URL

from dispatcher.domain.targets import AttemptResult
from dispatcher.http import Exchange, Request, Response, TransportError
from dispatcher.targets.argo import workflow as workflows
from dispatcher.targets.argo.responses import NoWorkflow, evaluate, verify, workflow_in
from dispatcher.targets.argo.selector import Selector
from dispatcher.targets.argo.workflow import Action, Finding, Workflow

_NOTHING_SUSPENDED = b"no suspend nodes matching"
_NOT_SETTABLE = (b"cannot set output parameter", b"node is not expecting output parameter")
_LOOKED_AT = "fields=status.phase,status.nodes"
_SOON = 1.0

_encode = msgspec.json.Encoder().encode


class Clients(NamedTuple):
    """One for the actions and one for looks, and the seconds that all requests of an attempt may take together."""

    act: Exchange
    look: Exchange
    deadline: float


class Call(Struct, frozen=True):
    """What an event asks of the server. `workflow` is its address; `names` say in each request which node is meant."""

    action: Action
    workflow: str
    selector: Selector
    names: Mapping[str, str]
    message: str | None = None
    outputs: Mapping[str, str] = {}

    @property
    def body(self) -> bytes:
        return _encode(self.names if self.message is None else {**self.names, "message": self.message})

    @property
    def set_body(self) -> bytes:
        return _encode({**self.names, "outputParameters": _encode(self.outputs).decode()})

    @property
    def state(self) -> str:
        """What is kept of having set the outputs: another workflow, node or value is another matter."""
        return "set " + hashlib.sha256(self.workflow.encode() + b"\0" + self.set_body).hexdigest()[:32]


class Attempt:
    """The requests of one attempt. `state` says for later ones what was done, also when this one is cancelled."""

    def __init__(
        self,
        clients: Clients,
        call: Call,
        headers: Mapping[str, str],
        secrets: Sequence[str],
        state: str | None,
    ) -> None:
        self._clients = clients
        self._call = call
        self._headers = headers
        self._secrets = secrets
        self.state = state
        self.line = ""

    async def make(self) -> AttemptResult:
        """How it ended. Raises for nothing that the server or the network does."""
        if self._call.outputs and self.state != self._call.state:
            result = await self._set()
            if result is not None:
                return result
            self.state = self._call.state
        return await self._act()

    async def _set(self) -> AttemptResult | None:
        """Set the outputs. The result when that ends the attempt, None when they are set."""
        response, result = await self._put("set", self._call.set_body)
        if response is None:
            return result
        if result.error is None:
            result = verify(response, result, self._secrets, self._unset)
            return None if result.error is None else result
        if _NOTHING_SUSPENDED in response.body:
            return await self._look(result, self._find)
        if any(text in response.body for text in _NOT_SETTABLE):
            selector, outputs = self._call.selector, self._call.outputs
            result = await self._look(
                result, partial(workflows.find_outputs, selector=selector, outputs=outputs)
            )
            return None if result.error is None else result
        return result

    async def _act(self) -> AttemptResult:
        response, result = await self._put(self._call.action, self._call.body)
        if response is None:
            return result
        if result.error is None:
            return verify(response, result, self._secrets, self._undone)
        if _NOTHING_SUSPENDED in response.body:
            return await self._look(result, self._find)
        return result

    async def _put(self, verb: str, body: bytes) -> tuple[Response | None, AttemptResult]:
        """Make a request. Without a response the result says why."""
        address = f"{self._call.workflow}/{verb}"
        self.line = f"PUT {address}"
        headers = {**self._headers, "Content-Type": "application/json"}
        try:
            request = Request.build("PUT", URL(address, encoded=True), headers, body)
            response = await self._clients.act.send(request)
        except TransportError as error:
            return None, AttemptResult(
                request_line=self.line, error=str(error), retry_early=error.early, destination_down=error.down
            )
        return response, evaluate(response, self.line, self._secrets)

    async def _look(self, result: AttemptResult, find: Callable[[Workflow], Finding]) -> AttemptResult:
        """Tell what an ambiguous refusal means. `result` is the one that it led to."""
        address = URL(f"{self._call.workflow}?{_LOOKED_AT}", encoded=True)
        try:
            response = await self._clients.look.send(Request.build("GET", address, self._headers))
            workflow = workflow_in(response, self._secrets)
        except (TransportError, NoWorkflow) as error:
            problem = f"{result.error}; the look at the workflow failed: {error}"
            return replace(result, error=problem, healthy=True)
        found = find(workflow)
        return replace(
            result,
            body=found.text,
            error=None if found.done else found.text,
            retry_after=_SOON if found.soon else result.retry_after,
            healthy=True,
            permanent=found.final,
        )

    def _find(self, workflow: Workflow) -> Finding:
        return workflows.find(workflow, self._call.selector, self._call.action, self._call.outputs)

    def _unset(self, workflow: Workflow) -> str | None:
        unset = workflows.missing_outputs(workflow, self._call.selector, self._call.outputs)
        return f"but the workflow shows the node without the output {unset[0]}" if unset else None

    def _undone(self, workflow: Workflow) -> str | None:
        if workflows.is_waiting(workflow, self._call.selector):
            return f"but the workflow still shows the node Running: {self._call.action} had no effect"
        return None
