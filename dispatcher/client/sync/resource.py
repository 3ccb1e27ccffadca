"""What the resources of the API have in common."""

# Made by scripts/sync_client.py from its namesake in dispatcher/client/aio: change that one.
from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from dispatcher.client import exchange
from dispatcher.client.sync.pages import Pages

if TYPE_CHECKING:
    from dispatcher.client.sync.client import Client

T = TypeVar("T")


class Resource:
    """A part of the API, reached through a client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def _get(self, path: str, kind: type[T], query: dict[str, object] | None = None) -> T:
        return self._client.send(exchange.request("GET", path, query=query), kind)

    def _change(
        self,
        method: str,
        path: str,
        kind: type[T],
        document: object = None,
        *,
        repeatable: bool | None = None,
    ) -> T:
        sent = exchange.request(method, path, document=document, repeatable=repeatable)
        return self._client.send(sent, kind)

    def _list(self, path: str, kind: type[T], page_size: int, **query: object) -> Pages[T]:
        return Pages(self._client, path, kind, query, page_size)
