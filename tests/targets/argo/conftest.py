"""A server of Argo whose workflow waits, and the kind that resumes it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from dispatcher.targets.argo.kind import ArgoKind
from dispatcher.targets.http.egress import Egress
from tests.targets.argo.real import build
from tests.targets.argo.server import ArgoServer, suspend_node, trigger_node


@pytest.fixture
async def argo() -> AsyncIterator[ArgoServer]:
    """Yield a server whose workflow `wf` waits for job-1 and for job-2."""
    async with ArgoServer() as server:
        server.add(trigger_node("job-1"), suspend_node("one", "job-1"), suspend_node("two", "job-2"))
        yield server


@pytest.fixture
async def kind(egress: Egress) -> AsyncIterator[ArgoKind]:
    """Yield the kind, which may reach loopback addresses."""
    kind = ArgoKind(egress)
    yield kind
    await kind.close()


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return Argo's server, built once for all processes of the session."""
    own = tmp_path_factory.getbasetemp()
    try:
        return build(own.parent if own.name.startswith("popen-") else own)
    except RuntimeError as problem:
        pytest.fail(str(problem), pytrace=False)
