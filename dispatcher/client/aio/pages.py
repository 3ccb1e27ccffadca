"""Lists that come in pages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Generic, TypeVar

from dispatcher.client.exchange import request
from dispatcher.client.models import Page

if TYPE_CHECKING:
    from dispatcher.client.aio.client import AsyncClient

T = TypeVar("T")

PAGE_SIZE = 100
"""Items that one request asks for."""

MAX_PAGE_SIZE = 500
"""The most that a server gives at once."""


class AsyncPages(Generic[T]):
    """A list, newest first unless its method says otherwise. Iterating asks for one page after the other."""

    def __init__(
        self,
        client: AsyncClient,
        path: str,
        kind: type[T],
        query: dict[str, object],
        page_size: int = PAGE_SIZE,
    ) -> None:
        self._client = client
        self._path = path
        self._kind: type[Page[T]] = Page[kind]  # type: ignore[valid-type]
        self._query = query
        self._page_size = page_size
        self.hint: str | None = None
        """Why the list is empty, when other tenants have something: known when it was read."""

    async def page(self, cursor: str | None = None, limit: int | None = None) -> Page[T]:
        """The page at a cursor, which is the `next` of the page before; without one the first page."""
        query = {**self._query, "limit": limit or self._page_size, "cursor": cursor}
        page = await self._client.send(request("GET", self._path, query=query), self._kind)
        self.hint = page.hint
        return page

    async def collect(self, limit: int | None = None) -> list[T]:
        """All items, or the first `limit`."""
        found: list[T] = []
        cursor: str | None = None
        while limit is None or len(found) < limit:
            left = MAX_PAGE_SIZE if limit is None else min(MAX_PAGE_SIZE, limit - len(found))
            page = await self.page(cursor, left)
            found += page.items
            cursor = page.next
            if cursor is None:
                break
        return found

    async def __aiter__(self) -> AsyncIterator[T]:
        cursor: str | None = None
        while True:
            page = await self.page(cursor)
            for item in page.items:
                yield item
            if page.next is None:
                return
            cursor = page.next
