"""What admins and monitoring call: keys, quotas, health and metrics."""

from __future__ import annotations

from collections.abc import Sequence
from types import NoneType
from typing import TypeVar

from dispatcher.client.aio.pages import PAGE_SIZE, AsyncPages
from dispatcher.client.aio.resource import AsyncResource
from dispatcher.client.exchange import request, segment
from dispatcher.client.models import Health, Key, KeyWithText, Quota

T = TypeVar("T")

KEYS, QUOTAS = "/v1/keys", "/v1/quotas"


class AsyncKeys(AsyncResource):
    """`client.keys` (admins only)."""

    async def create(
        self, *, name: str, owner: str, scopes: Sequence[str], tenant: str | None = None
    ) -> KeyWithText:
        """Create a key with scopes of publish, publish:any, subscribe and admin. Keep its `key`: it is shown once."""
        document = {"name": name, "owner": owner, "scopes": scopes, "tenant": tenant}
        return await self._change("POST", KEYS, KeyWithText, document)

    def list(self, *, page_size: int = PAGE_SIZE) -> AsyncPages[Key]:
        """Keys, newest first."""
        return self._list(KEYS, Key, page_size)

    async def delete(self, id: str) -> None:
        """Delete a key. It stops working at once."""
        await self._change("DELETE", f"{KEYS}/{segment(id)}", NoneType)


class AsyncQuotas(AsyncResource):
    """`client.quotas` (admins only)."""

    def list(self, *, page_size: int = PAGE_SIZE) -> AsyncPages[Quota]:
        """Owners whose quotas differ from the defaults."""
        return self._list(QUOTAS, Quota, page_size)

    async def get(self, owner: str) -> Quota:
        """The quotas of an owner."""
        return await self._get(f"{QUOTAS}/{segment(owner)}", Quota)

    async def set(
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
        return await self._change("PUT", f"{QUOTAS}/{segment(owner)}", Quota, document)

    async def reset(self, owner: str) -> None:
        """Give an owner the defaults again."""
        await self._change("DELETE", f"{QUOTAS}/{segment(owner)}", NoneType)


class AsyncService(AsyncResource):
    """`client.service`. No key is needed."""

    async def live(self) -> Health:
        """Whether the process runs."""
        return await self._once("/health/live", Health)

    async def ready(self) -> Health:
        """Whether it can do its work now. Raises Unavailable, whose problem names what cannot be reached."""
        return await self._once("/health/ready", Health)

    async def metrics(self) -> str:
        """The metrics for Prometheus."""
        return (await self._once("/metrics", bytes)).decode()

    async def _once(self, path: str, kind: type[T]) -> T:
        return await self._client.send(request("GET", path, attempts=1), kind)
