"""Makes attempts at a server of Argo, a double or a real one."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from dispatcher.domain.ids import new_id
from dispatcher.domain.targets import AttemptResult
from dispatcher.targets.argo.config import ArgoTarget
from dispatcher.targets.argo.kind import ArgoKind
from tests.factories import make_event, make_subscription
from tests.targets.argo.server import TOKEN

DELIVERY = new_id("dlv")


class Server(Protocol):
    @property
    def url(self) -> str: ...


def document(url: str, **fields: Any) -> dict[str, Any]:
    return {"kind": "argo", "server": url, "namespace": "jobs", "workflow": "wf", "token": TOKEN} | fields


async def sent(
    kind: ArgoKind,
    argo: Server,
    event: dict[str, Any] | None = None,
    *,
    state: str | None = None,
    **fields: Any,
) -> AttemptResult:
    """How an attempt to deliver an event ended, after one that left `state`. The target passes the check first."""
    target = document(argo.url, **fields)
    kind.check(msgspec.convert(target, ArgoTarget))
    sender = kind.sender(make_subscription(target=target))
    return await sender.send(make_event(**(event or {})), DELIVERY, 1, state)
