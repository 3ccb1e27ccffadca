"""The target kind `argo`: a job's end resumes or stops the workflow of Argo Workflows that waits for it."""

from __future__ import annotations

import msgspec
from cachetools import LRUCache
from msgspec import Struct

from dispatcher.domain.subscriptions import Subscription
from dispatcher.targets.argo.attempt import Clients
from dispatcher.targets.argo.config import ArgoTarget, check
from dispatcher.targets.argo.sender import ArgoSender
from dispatcher.targets.http.auth import HIDDEN
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.registry import Resources
from dispatcher.targets.tls import context

MAX_WORKFLOW = 4 * 1024 * 1024
"""Bytes of a workflow that are looked at."""

_MAX_CLIENTS = 128


class ArgoKind:
    """Checks Argo targets and makes their senders. Those that trust the same share their connections."""

    name = "argo"
    spec = ArgoTarget

    def __init__(self, egress: Egress) -> None:
        self._egress = egress
        self._clients: LRUCache[tuple[str | None, bool], Clients] = LRUCache(_MAX_CLIENTS)

    def check(self, target: Struct) -> str:
        """The destination (`https://argo.example.org:2746`); InvalidInput when the target cannot work."""
        return check(_argo(target), self._egress.guard)

    def redact(self, target: Struct) -> dict[str, object]:
        """The target without its token."""
        shown: dict[str, object] = msgspec.to_builtins(_argo(target))
        if shown["token"] is not None:
            shown["token"] = HIDDEN
        return shown

    def sender(self, subscription: Subscription) -> ArgoSender:
        """The sender of a subscription whose target was checked."""
        target = msgspec.convert(subscription.target, ArgoTarget)
        return ArgoSender(self._clients_for(target), target, subscription.believes)

    async def close(self) -> None:
        """Close connections."""
        for clients in self._clients.values():
            await clients.act.close()
            await clients.look.close()

    def _clients_for(self, target: ArgoTarget) -> Clients:
        key = (target.ca, target.verify)
        clients = self._clients.get(key)
        if clients is None:
            timeout = self._egress.timeout
            tls = context(target.ca, target.verify, "target.ca")
            # An action and the look after it take no longer than one exchange may.
            clients = Clients(
                self._egress.client(timeout * 2 / 3, tls, MAX_WORKFLOW),
                self._egress.client(timeout / 3, tls, MAX_WORKFLOW),
                timeout,
            )
            self._clients[key] = clients
        return clients


def make_kind(resources: Resources) -> ArgoKind:
    """Called by the registry."""
    return ArgoKind(resources.egress)


def _argo(target: Struct) -> ArgoTarget:
    if not isinstance(target, ArgoTarget):
        raise TypeError(f"expected an ArgoTarget, got a {type(target).__name__}")
    return target
