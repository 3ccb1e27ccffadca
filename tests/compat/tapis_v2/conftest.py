"""The whole service, with a receiver beside it, and those who call it as they would call Tapis v2."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession, DummyCookieJar

from dispatcher.app import running
from dispatcher.config.loading import load
from tests.api.conftest import Caller, Reply
from tests.receiver import Receiver

ADMIN_KEY = "an-admin-key-for-the-tests-of-32-characters"
SECRETS_KEY = "a-secrets-key-for-the-tests-of-32-characters"

JOB = "0001414144065563-5056a550b8-0001-007"


class Tapis:
    """A client of Tapis v2 with its own key."""

    def __init__(self, caller: Caller, owner: str) -> None:
        self.native = caller
        self.owner = owner

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> Reply:
        """One request; a body that is not bytes goes as JSON."""
        return await self.native.ask(method, path, body, **headers)

    async def result(self, method: str, path: str, body: object = None, status: int = 200) -> Any:
        """What stands in the envelope of a success."""
        reply = await self.ask(method, path, body)
        assert reply.status == status, f"{method} {path}: {reply.status} {reply.body.decode()}"
        envelope = reply.json
        assert list(envelope) == ["status", "message", "version", "result"]
        assert (envelope["status"], envelope["message"]) == ("success", None)
        return envelope["result"]

    async def refused(
        self, method: str, path: str, body: object = None, status: int = 400, **headers: str
    ) -> str:
        """The message of an error of this status."""
        reply = await self.ask(method, path, body, **headers)
        assert reply.status == status, f"{method} {path}: {reply.status} {reply.body.decode()}"
        envelope = reply.json
        assert (envelope["status"], envelope["result"]) == ("error", None)
        return str(envelope["message"])

    async def add(self, url: str, **fields: Any) -> Any:
        """A new notification, of FINISHED of JOB unless said otherwise."""
        document = {"associatedUuid": JOB, "event": "FINISHED", "url": url} | fields
        return await self.result("POST", "/notifications/v2/", document, 201)

    async def publish(self, event: str = "FINISHED", **fields: Any) -> str:
        """The id of a new event of JOB, which is the caller's own unless said otherwise."""
        document = {"event": event, "job_id": JOB, "owner": self.owner} | fields
        accepted = await self.native.post("/v1/events", document, 202)
        return str(accepted["ids"][0])


class Running:
    """The service, and who calls it."""

    def __init__(self, session: ClientSession, url: str) -> None:
        self.url = url
        self._session = session
        self.admin = Tapis(Caller(session, url, ADMIN_KEY), "admin")
        self.anonymous = Tapis(Caller(session, url, None), "anonymous")

    async def caller(self, owner: str, *scopes: str) -> Tapis:
        """Somebody with a new key."""
        return self.with_key(await self.key(owner, *scopes), owner)

    async def key(self, owner: str, *scopes: str) -> str:
        """The text of a new key."""
        made = await self.admin.native.post(
            "/v1/keys", {"name": owner, "owner": owner, "scopes": scopes}, 201
        )
        return str(made["key"])

    def with_key(self, key: str, owner: str) -> Tapis:
        """The client with this key."""
        return Tapis(Caller(self._session, self.url, key), owner)


@asynccontextmanager
async def serving(database: Path, **settings: str) -> AsyncIterator[Running]:
    """The service on an SQLite database, with these settings; it may reach loopback."""
    settings = {
        "database_url": f"sqlite:///{database}",
        "http_port": "0",
        "auth_admin_key": ADMIN_KEY,
        "secrets_key": SECRETS_KEY,
        "network_allow": "127.0.0.0/8",
    } | settings
    environ = {f"DISPATCHER_{name.upper()}": value for name, value in settings.items()}
    async with running(load(environ)) as app, ClientSession(cookie_jar=DummyCookieJar()) as session:
        yield Running(session, app.url)


@pytest.fixture
def database(migrated_file: Path, tmp_path: Path) -> Path:
    """A database of the test's own."""
    return Path(shutil.copy(migrated_file, tmp_path / "dispatcher.db"))


@pytest.fixture
async def service(database: Path) -> AsyncIterator[Running]:
    """The service on a separate database."""
    async with serving(database) as running_service:
        yield running_service


@pytest.fixture
async def alice(service: Running) -> Tapis:
    """Who may publish and subscribe as alice."""
    return await service.caller("alice", "publish", "subscribe")


@pytest.fixture
async def bob(service: Running) -> Tapis:
    """Who may publish and subscribe as bob."""
    return await service.caller("bob", "publish", "subscribe")


@pytest.fixture
def admin(service: Running) -> Tapis:
    """Who has the admin key of the settings."""
    return service.admin


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Where notifications go."""
    async with Receiver() as receiver:
        yield receiver


def decoded(body: bytes) -> Mapping[str, Any]:
    """A JSON object."""
    return msgspec.json.decode(body, type=dict[str, Any])
