"""The service's HTTP API as the demo uses it: like any other client, and with no look behind it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Generic, TypeVar

import msgspec
from aiohttp import ClientSession
from msgspec import Struct

from dispatcher.domain.deliveries import State
from dispatcher.domain.errors import DispatcherError

T = TypeVar("T")


class Refused(DispatcherError):
    """The service refused a request; the message says which, and its reason."""


class Accepted(Struct, frozen=True):
    """The answer to `POST /v1/events`."""

    accepted: int
    duplicates: int
    ids: list[str]


class Made(Struct, frozen=True):
    """A new subscription: its id, and the secret that signs its requests."""

    id: str
    secret: str


class Key(Struct, frozen=True):
    """The text of a new API key, shown this once."""

    key: str


class Event(Struct, frozen=True):
    """An event as `GET /v1/events` lists it."""

    id: str
    event: str
    job_id: str
    owner: str | None
    accepted_at: datetime


class Attempt(Struct, frozen=True):
    """One try of a delivery; `duration` is seconds, `error` is None when it was delivered."""

    number: int
    started_at: datetime
    duration: float
    status: int | None
    error: str | None

    @property
    def ended_at(self) -> datetime:
        return self.started_at + timedelta(seconds=self.duration)


class Delivery(Struct, frozen=True):
    """A delivery as `GET /v1/deliveries` lists it."""

    id: str
    event_id: str
    event: str
    job_id: str
    subscription_id: str
    state: State
    attempts: int
    due_at: datetime | None
    ended_at: datetime | None
    reason: str | None


class DeliveryDetail(Delivery, frozen=True):
    """A delivery as `GET /v1/deliveries/{id}` shows it: with its attempts, the first one first."""

    latest_attempts: list[Attempt]


class Job(Struct, frozen=True):
    """A job as `GET /v1/jobs` lists it."""

    id: str
    owner: str | None
    status: str | None


class Page(Struct, Generic[T], frozen=True):
    """A part of a list, and the cursor that goes on after it."""

    items: list[T]
    next: str | None


class Client:
    """Asks the service at `url` with one API key. Every method raises Refused when the answer is an error."""

    def __init__(self, session: ClientSession, url: str, key: str) -> None:
        self._session = session
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}"}

    def with_key(self, key: str) -> Client:
        """The same service, asked with another key."""
        return Client(self._session, self._url, key)

    async def get(self, path: str, kind: type[T], query: Mapping[str, str] | None = None) -> T:
        """What stands at a path."""
        return msgspec.json.decode(await self._exchange("GET", path, query=query), type=kind)

    async def post(self, path: str, document: object, kind: type[T]) -> T:
        """The answer to a document."""
        return msgspec.json.decode(
            await self._exchange("POST", path, body=msgspec.json.encode(document)), type=kind
        )

    async def text(self, path: str) -> str:
        """What stands at a path, as text."""
        return (await self._exchange("GET", path)).decode()

    async def whole(self, path: str, page: type[Page[T]]) -> list[T]:
        """A whole list, the newest first, page by page."""
        found: list[T] = []
        query = {"limit": "500"}
        while True:
            part = await self.get(path, page, query)
            found += part.items
            if part.next is None:
                return found
            query["cursor"] = part.next

    async def _exchange(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> bytes:
        headers = self._headers if body is None else self._headers | {"Content-Type": "application/json"}
        async with self._session.request(
            method, self._url + path, params=query, data=body, headers=headers
        ) as response:
            answer = await response.read()
        if response.status >= 400:
            raise Refused(f"{method} {path}: {response.status}, {answer.decode(errors='replace')}")
        return answer
