"""What the resources of the API have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from dispatcher.client import exchange
from dispatcher.client.aio.pages import AsyncPages

if TYPE_CHECKING:
    from dispatcher.client.aio.client import AsyncClient

T = TypeVar("T")


class AsyncResource:
    """A part of the API, reached through a client."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def _get(self, path: str, kind: type[T], query: dict[str, object] | None = None) -> T:
        return await self._client.send(exchange.request("GET", path, query=query), kind)

    async def _change(
        self,
        method: str,
        path: str,
        kind: type[T],
        document: object = None,
        *,
        repeatable: bool | None = None,
    ) -> T:
        sent = exchange.request(method, path, document=document, repeatable=repeatable)
        return await self._client.send(sent, kind)

    def _list(self, path: str, kind: type[T], page_size: int, **query: object) -> AsyncPages[T]:
        return AsyncPages(self._client, path, kind, query, page_size)
