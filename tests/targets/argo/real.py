"""Argo's own server code over a cluster in memory: the program in `real_server`, built from Argo's Go module."""

from __future__ import annotations

import asyncio
import fcntl
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests.targets.argo.server import TOKEN, Node, Workflow, workflow_of

READER = "reader-token"
"""A token that may look at workflows and not change them."""

_SOURCE = Path(__file__).parent / "real_server"


def build(directory: Path) -> Path:
    """The program, built unless it is there; a second process waits for it. Raises RuntimeError saying what to do."""
    program = directory / "argoserver"
    with (directory / "argoserver.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _build(program)
    return program


def _build(program: Path) -> None:
    if (go := shutil.which("go")) is None:
        raise RuntimeError(
            "go is missing: these tests compile Argo's server from its Go module; install Go 1.24.2 or newer"
        )
    building = program.with_suffix(".new")
    made = subprocess.run(
        [go, "build", "-ldflags=-s -w", "-o", building, "."],
        cwd=_SOURCE,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        raise RuntimeError(
            f"Argo's server could not be built (it wants Go 1.24.2 or newer, and the modules in {_SOURCE / 'go.sum'}):"
            f"\n{made.stderr[-2000:]}"
        )
    building.rename(program)


class RealArgo:
    """The server while it is entered."""

    def __init__(self, program: Path) -> None:
        self.url = ""
        self._program = program

    async def __aenter__(self) -> Self:
        pipe, quiet = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(
            self._program, stdin=pipe, stdout=pipe, stderr=quiet
        )
        assert self._process.stdout is not None
        self.url = (await self._process.stdout.readline()).decode().strip()
        assert self.url, "Argo's server has ended"
        self._session = aiohttp.ClientSession(self.url, headers={"Authorization": f"Bearer {TOKEN}"})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def add(self, *nodes: Node, name: str = "wf", phase: str = "Running") -> None:
        """Make a workflow in the namespace `jobs`, or replace it."""
        await self.put(workflow_of(*nodes, name=name, phase=phase))

    async def put(self, workflow: Workflow) -> None:
        """Store a workflow as a controller would."""
        assert (await self.call("PUT", "/test/workflows", workflow))[0] == 200

    async def meet(self, **faults: int | bool) -> None:
        """Let updates, `after` so many, meet `conflicts` or be `dropped`; or the rate limit be used up (`limited`)."""
        assert (await self.call("PUT", "/test/faults", faults))[0] == 200

    async def node(self, name: str, workflow: str = "wf", namespace: str = "jobs") -> Node:
        found = (await self.call("GET", f"/api/v1/workflows/{namespace}/{workflow}"))[1]
        return next(node for node in found["status"]["nodes"].values() if node["displayName"] == name)

    async def act(self, verb: str, selector: str, **fields: str) -> tuple[int, str]:
        """Ask for `resume`, `stop` or `set` as somebody else would: the status, and the message of an error."""
        body = {"name": "wf", "namespace": "jobs", "nodeFieldSelector": selector} | fields
        status, answer = await self.call("PUT", f"/api/v1/workflows/jobs/wf/{verb}", body)
        return status, answer.get("message", "")

    async def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        async with self._session.request(method, path, json=body) as response:
            return response.status, await response.json(content_type=None)
