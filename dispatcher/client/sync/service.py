"""What admins and monitoring call: keys, quotas, health and metrics."""

# Made by scripts/sync_client.py from its namesake in dispatcher/client/aio: change that one.
from __future__ import annotations

from collections.abc import Sequence
from types import NoneType
from typing import TypeVar

from dispatcher.client.exchange import request, segment
from dispatcher.client.models import Health, Key, KeyWithText, Quota
from dispatcher.client.sync.pages import PAGE_SIZE, Pages
from dispatcher.client.sync.resource import Resource

T = TypeVar("T")

KEYS, QUOTAS = "/v1/keys", "/v1/quotas"


class Keys(Resource):
    """`client.keys` (admins only)."""

    def create(
        self, *, name: str, owner: str, scopes: Sequence[str], tenant: str | None = None
    ) -> KeyWithText:
        """Create a key with scopes of publish, publish:any, subscribe and admin. Keep its `key`: it is shown once."""
        document = {"name": name, "owner": owner, "scopes": scopes, "tenant": tenant}
        return self._change("POST", KEYS, KeyWithText, document)

    def list(self, *, page_size: int = PAGE_SIZE) -> Pages[Key]:
        """Keys, newest first."""
        return self._list(KEYS, Key, page_size)

    def delete(self, id: str) -> None:
        """Delete a key. It stops working at once."""
        self._change("DELETE", f"{KEYS}/{segment(id)}", NoneType)


class Quotas(Resource):
    """`client.quotas` (admins only)."""

    def list(self, *, page_size: int = PAGE_SIZE) -> Pages[Quota]:
        """Owners whose quotas differ from the defaults."""
        return self._list(QUOTAS, Quota, page_size)

    def get(self, owner: str) -> Quota:
        """The quotas of an owner."""
        return self._get(f"{QUOTAS}/{segment(owner)}", Quota)

    def set(
        self,
        owner: str,
        *,
        subscriptions: int | None = None,
        destinations: int | None = None,
        events_per_minute: int | None = None,
        deliveries_per_minute: int | None = None,
        stored_mib: int | None = None,
        waiters: int | None = None,
    ) -> Quota:
        """Set quotas of an owner; None stands for the default, 0 for no limit."""
        document = {
            "subscriptions": subscriptions,
            "destinations": destinations,
            "events_per_minute": events_per_minute,
            "deliveries_per_minute": deliveries_per_minute,
            "stored_mib": stored_mib,
            "waiters": waiters,
        }
        return self._change("PUT", f"{QUOTAS}/{segment(owner)}", Quota, document)

    def reset(self, owner: str) -> None:
        """Give an owner the defaults again."""
        self._change("DELETE", f"{QUOTAS}/{segment(owner)}", NoneType)


class Service(Resource):
    """`client.service`. No key is needed."""

    def live(self) -> Health:
        """Whether the process runs."""
        return self._once("/health/live", Health)

    def ready(self) -> Health:
        """Whether it can do its work now. Raises Unavailable, whose problem names what cannot be reached."""
        return self._once("/health/ready", Health)

    def metrics(self) -> str:
        """The metrics for Prometheus."""
        return (self._once("/metrics", bytes)).decode()

    def _once(self, path: str, kind: type[T]) -> T:
        return self._client.send(request("GET", path, attempts=1), kind)
