"""A double of Argo's server: workflows with suspended nodes, and the rules by which it resumes and stops them.

The rules are those of `workflow/util/util.go` of Argo Workflows and of `fields/selector.go` of Kubernetes.
"""

from __future__ import annotations

import ssl
from types import TracebackType
from typing import Any, Self

import msgspec
from aiohttp import web
from yarl import URL

TOKEN = "argo-token-1"

Node = dict[str, Any]
Workflow = dict[str, Any]
Fault = int | str | tuple[int, str] | None


def suspend_node(name: str, uuid: str, **changes: Any) -> Node:
    """A node that waits for the job with this id."""
    node = {
        "id": f"wf-{name}",
        "name": f"wf[1].{name}",
        "displayName": name,
        "type": "Suspend",
        "templateName": "wait-completion",
        "phase": "Running",
        "inputs": {"parameters": [{"name": "uuid", "value": uuid}]},
    }
    return node | changes


def supplied(*names: str, **values: str) -> dict[str, Any]:
    """Outputs of a node that awaits values for these names, and has some for others already."""
    awaited = [{"name": name, "valueFrom": {"supplied": {}, "default": "none"}} for name in names]
    return {"parameters": [*awaited, *({"name": name, "value": value} for name, value in values.items())]}


def trigger_node(uuid: str) -> Node:
    """A node of the step that started the job: it has the same parameter, and does not wait."""
    return suspend_node("trigger-job", uuid, type="Pod", phase="Succeeded", templateName="trigger-job")


def workflow_of(*nodes: Node, name: str = "wf", phase: str = "Running") -> Workflow:
    """A workflow of the namespace `jobs` as the server shows it."""
    return {
        "metadata": {"name": name, "namespace": "jobs"},
        "spec": {"entrypoint": "main"},
        "status": {"phase": phase, "nodes": {node["id"]: node for node in nodes}},
    }


class ArgoServer:
    """Listens while it is entered. With TLS its name is argo.example.

    `faults` are what the next requests get: a status, "lost" for no answer to what was done, "dropped" for an answer as
    if it had been done, status and text for what a proxy in front of it would say, or None.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.workflows: dict[tuple[str, str], Workflow] = {}
        self.requests: list[tuple[str, URL, dict[str, str], bytes]] = []
        self.faults: list[Fault] = []
        self.may_look = True
        self._tls = tls
        self._port = 0

    @property
    def url(self) -> str:
        return f"https://argo.example:{self._port}" if self._tls else f"http://127.0.0.1:{self._port}"

    def add(self, *nodes: Node, name: str = "wf", phase: str = "Running") -> None:
        """Make a workflow in the namespace `jobs`."""
        self.workflows["jobs", name] = workflow_of(*nodes, name=name, phase=phase)

    def node(self, name: str, workflow: str = "wf") -> Node:
        nodes: dict[str, Node] = self.workflows["jobs", workflow]["status"]["nodes"]
        return nodes[f"wf-{name}"]

    async def __aenter__(self) -> Self:
        app = web.Application()
        path = "/api/v1/workflows/{namespace}/{name}"
        app.router.add_get(path, self._get)
        app.router.add_put(path + "/{action:resume|stop|set}", self._act)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def _get(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, lambda: self._shown(request))

    async def _act(self, request: web.Request) -> web.StreamResponse:
        body = msgspec.json.decode(await request.read())
        return await self._answer(request, lambda: self._updated(request.match_info["action"], body))

    async def _answer(self, request: web.Request, act: Any) -> web.StreamResponse:
        self.requests.append((request.method, request.url, dict(request.headers), await request.read()))
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, int):
            return _error(fault, 14, "try again", {"Retry-After": "7"})
        if isinstance(fault, tuple):
            return web.Response(status=fault[0], text=fault[1])
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return _error(
                401, 16, "token not valid. see https://argo-workflows.readthedocs.io/en/latest/faq/"
            )
        if request.method == "GET" and not self.may_look:
            return _error(403, 7, "workflows is forbidden")
        try:
            workflow = self.workflows["jobs", request.match_info["name"]] if fault == "dropped" else act()
        except KeyError:
            name = request.match_info["name"]
            return _error(404, 5, f'workflows.argoproj.io "{name}" not found')
        except ValueError as error:
            return _error(500, 2, str(error))
        if fault == "lost":
            assert request.transport is not None
            request.transport.abort()
        return web.json_response(workflow)

    def _shown(self, request: web.Request) -> Workflow:
        workflow = self.workflows[request.match_info["namespace"], request.match_info["name"]]
        assert request.query["fields"] == "status.phase,status.nodes"
        return {"metadata": {}, "spec": {}, "status": workflow["status"]}

    def _updated(self, action: str, body: dict[str, str]) -> Workflow:
        workflow = self.workflows[body["namespace"], body["name"]]
        conditions = parse_selector(body["nodeFieldSelector"])
        updated = False
        for node in workflow["status"]["nodes"].values():
            if node["type"] == "Suspend" and node["phase"] == "Running" and _matches(conditions, node):
                _change(node, action, body)
                updated = True
        if not updated:
            raise ValueError(
                "currently, set only targets suspend nodes: no suspend nodes matching nodeFieldSelector: "
                + body["nodeFieldSelector"]
            )
        return workflow


def _change(node: Node, action: str, body: dict[str, str]) -> None:
    if action == "set":
        _set_outputs(node, msgspec.json.decode(body["outputParameters"], type=dict[str, str]))
        return
    node["phase"] = "Succeeded" if action == "resume" else "Failed"
    node["message"] = body.get("message", "")


def _set_outputs(node: Node, values: dict[str, str]) -> None:
    if "outputs" not in node:
        raise ValueError("cannot set output parameters because node is not expecting any raw parameters")
    expected = {parameter["name"]: parameter for parameter in node["outputs"]["parameters"]}
    for name in values:
        if name not in expected:
            raise ValueError(f"node is not expecting output parameter '{name}'")
        if "valueFrom" not in expected[name]:
            raise ValueError(
                f"cannot set output parameter '{name}' because it does not use valueFrom.raw or it was already set"
            )
    for name, value in values.items():
        del expected[name]["valueFrom"]
        expected[name]["value"] = value


def parse_selector(text: str) -> list[tuple[str, str, str]]:
    """Field, sign and value of each term, character by character. ValueError for what Kubernetes refuses."""
    return [_term(term) for term in _split(text) if term]


def _split(text: str) -> list[str]:
    terms, escaped = [""], False
    for character in text:
        if character == "," and not escaped:
            terms.append("")
            continue
        terms[-1] += character
        escaped = character == "\\" and not escaped
    return terms


def _term(term: str) -> tuple[str, str, str]:
    for position in range(len(term)):
        for sign in ("!=", "==", "="):
            if term.startswith(sign, position):
                return term[:position], sign, _unescaped(term[position + len(sign) :])
    raise ValueError(f"invalid selector: '{term}'; can't understand '{term}'")


def _unescaped(value: str) -> str:
    found, characters = "", iter(value)
    for character in characters:
        if character == "\\":
            escaped = next(characters, "")
            if escaped not in ("\\", ",", "="):
                raise ValueError(f"invalid field selector: invalid escape sequence: \\{escaped}")
            found += escaped
            continue
        if character in ("=", ","):
            raise ValueError("invalid field selector: unescaped character in value")
        found += character
    return found


def _matches(conditions: list[tuple[str, str, str]], node: Node) -> bool:
    fields = {name: node.get(name, "") for name in ("displayName", "templateName", "phase", "name", "id")}
    for parameter in node["inputs"]["parameters"]:
        fields[f"inputs.parameters.{parameter['name']}.value"] = parameter["value"]
    return all((fields.get(field, "") == value) is (sign != "!=") for field, sign, value in conditions)


def _error(status: int, code: int, message: str, headers: dict[str, str] | None = None) -> web.StreamResponse:
    return web.json_response(
        {"error": message, "code": code, "message": message, "details": []}, status=status, headers=headers
    )
