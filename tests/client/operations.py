"""Every method of the clients, called with every argument, and what they would have sent."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, get_type_hints
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from dispatcher.client import AsyncClient, Client
from dispatcher.client.aio.resource import AsyncResource
from dispatcher.client.exchange import Request
from dispatcher.client.fields import NewSubscription
from dispatcher.client.models import RateLimit
from dispatcher.client.sync.resource import Resource

VALUES: dict[str, Any] = {
    "id": "ID",
    "key": "KEY",
    "event": {"event": "FINISHED", "job_id": "job-1"},
    "events": [{"event": "FINISHED", "job_id": "job-1"}],
    "address": "ann@example.org",
    "rate_limit": RateLimit(1.0),
    "since": datetime(2026, 5, 4, tzinfo=UTC),
    "scopes": ["publish"],
    "limit": 5,
    "wait": 1.0,
    "timeout": 0.0,
    "dry_run": True,
    "page_size": 7,
}
"""Arguments by name; numbers of quotas and texts are made up."""

INTERNAL = {"publish_batch"}
FIELDS: dict[str, Any] = dict.fromkeys(get_type_hints(NewSubscription), "x")


class Sent(Struct, frozen=True):
    """A request that a client would have sent."""

    method: str
    path: str
    query: frozenset[str]
    document: Any


class Enough(Exception):
    """The request is known; there is no need for an answer."""


class Recorder:
    """Stands in the place of a client's transport."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []

    def note(self, request: Request) -> None:
        query = frozenset(name for name, _ in parse_qsl(request.query, keep_blank_values=True))
        document = None if request.body is None else msgspec.json.decode(request.body)
        self.sent.append(Sent(request.method, request.path, query, document))
        raise Enough


class AsyncRecorder(Recorder):
    async def send(self, request: Request) -> None:
        self.note(request)


class SyncRecorder(Recorder):
    def send(self, request: Request) -> None:
        self.note(request)


def methods(client: object, kind: type) -> list[Callable[..., Any]]:
    """All public methods of the resources of a client."""
    resources = [value for value in vars(client).values() if isinstance(value, kind)]
    return [
        method
        for resource in resources
        for name, method in inspect.getmembers(resource, inspect.ismethod)
        if not name.startswith("_") and name not in INTERNAL
    ]


def arguments(method: Callable[..., Any]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for name, parameter in inspect.signature(method).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            given |= FIELDS
        elif name == "event" and parameter.kind is parameter.KEYWORD_ONLY:
            given[name] = "FINISHED"
        else:
            given[name] = VALUES.get(name, 3 if "int" in str(parameter.annotation) else "x")
    return given


def sent_by_the_sync_client() -> list[Sent]:
    """What each method of the client sends."""
    client, recorder = Client("http://service", "key"), SyncRecorder()
    client._transport = recorder  # type: ignore[assignment]
    for method in methods(client, Resource):
        try:
            found = method(**arguments(method))
            next(iter(found))
        except Enough:
            pass
    return recorder.sent


def sent_by_the_async_client() -> list[Sent]:
    """The same of the client for asyncio."""

    async def run() -> list[Sent]:
        client, recorder = AsyncClient("http://service", "key"), AsyncRecorder()
        client._transport = recorder  # type: ignore[assignment]
        for method in methods(client, AsyncResource):
            try:
                found = method(**arguments(method))
                await (found if inspect.isawaitable(found) else anext(aiter(found)))
            except Enough:
                pass
        return recorder.sent

    return asyncio.run(run())


def matches(template: str, path: str) -> bool:
    """Whether a path is one of a template such as `/v1/events/{id}`."""
    return re.fullmatch(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template)), path) is not None
