"""The service with the keys of a Tapis site, and those who call it in the shape of Tapis v3."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import jwt
import msgspec
import pytest
from aiohttp import ClientSession
from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec import Struct

from dispatcher.app import App, running
from dispatcher.config.loading import load
from dispatcher.config.settings import Settings
from tests.receiver import Receiver

ROOT = "/v3/notifications"
ADMIN_KEY = "an admin key of the settings, 32 characters or more"
ISSUER = "https://admin.tapis.io/v3/tokens"

# The site signs for every tenant, the tenant `guests` for itself only.
SITE = rsa.generate_private_key(65537, 2048)
GUESTS = rsa.generate_private_key(65537, 2048)
STRANGER = rsa.generate_private_key(65537, 2048)


def token(user: str, tenant: str = "dev", *, service: bool = False, key: Any = SITE, **changes: Any) -> str:
    """A token of Tapis."""
    claims = {
        "iss": ISSUER,
        "sub": f"{user}@{tenant}",
        "exp": time.time() + 600,
        "tapis/tenant_id": tenant,
        "tapis/username": user,
        "tapis/account_type": "service" if service else "user",
        "tapis/token_type": "access",
    }
    return jwt.encode(claims | changes, key, "RS256")


class Reply(Struct, frozen=True):
    """An answer, read to its end."""

    status: int
    document: dict[str, Any]

    @property
    def result(self) -> Any:
        return self.document["result"]

    @property
    def message(self) -> str:
        return str(self.document["message"])


class Caller:
    """Somebody with a token or key, or with other headers."""

    def __init__(self, session: ClientSession, url: str, **headers: str) -> None:
        self._session = session
        self.url = url
        self._headers = {name.replace("_", "-"): value for name, value in headers.items()}

    async def ask(self, method: str, path: str, body: object = None) -> Reply:
        data = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
        url = f"{self.url}{'' if path.startswith('/v3/') else ROOT}{path}"
        async with self._session.request(method, url, data=data, headers=self._headers) as answer:
            document = msgspec.json.decode(await answer.read())
            assert document.keys() == {
                *("status", "message", "version", "commit", "build", "result", "metadata")
            }
            assert document["status"] == ("success" if answer.status < 400 else "error")
            return Reply(answer.status, document)

    async def get(self, path: str) -> Any:
        return await self._result(200, "GET", path)

    async def post(self, path: str, body: object = None, status: int = 200) -> Any:
        return await self._result(status, "POST", path, body)

    async def patch(self, path: str, body: object) -> Any:
        return await self._result(200, "PATCH", path, body)

    async def delete(self, path: str) -> Any:
        return await self._result(200, "DELETE", path)

    async def subscribe(self, address: str, **changes: Any) -> str:
        """A new subscription to everything that happens to jobs. Its name."""
        made = await self.post("/subscriptions", subscription(address, **changes), 201)
        return str(made["url"]).rpartition("/")[2]

    async def publish(self, status: str = "FINISHED", **changes: Any) -> None:
        await self.post("/events/publish", event(status, **changes))

    async def _result(self, status: int, method: str, path: str, body: object = None) -> Any:
        reply = await self.ask(method, path, body)
        assert reply.status == status, f"{method} {path}: {reply.status} {reply.message}"
        return reply.result


async def until(happens: Callable[[], Awaitable[bool]]) -> None:
    """Poll until this is so: there is no event to await."""
    async with asyncio.timeout(20):
        while not await happens():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def subscription(address: str, **changes: Any) -> dict[str, Any]:
    return {
        "typeFilter": "jobs.JOB_NEW_STATUS.*",
        "subjectFilter": "*",
        "deliveryTargets": [{"deliveryMethod": "WEBHOOK", "deliveryAddress": address}],
    } | changes


def event(status: str = "FINISHED", **changes: Any) -> dict[str, Any]:
    data = {
        "newJobStatus": status,
        "jobName": "a run",
        "jobUuid": "job-1",
        "jobOwner": "alice",
        "message": "so",
    }
    whole = {
        "source": "Jobs",
        "type": f"jobs.JOB_NEW_STATUS.{status}",
        "subject": "job-1",
        "data": json.dumps(data),
        "seriesId": "job-1",
        "timestamp": "2026-05-04T12:00:00Z",
    } | changes
    return {name: value for name, value in whole.items() if value is not None}


class Site(Struct, frozen=True):
    """The service, and who calls it."""

    app: App
    session: ClientSession

    @property
    def url(self) -> str:
        return self.app.url

    async def consumes(self) -> bool:
        """Whether events come from the broker."""
        async with self.session.get(f"{self.url}/health/ready") as answer:
            return answer.status == 200

    def with_token(self, text: str, **headers: str) -> Caller:
        return Caller(self.session, self.url, X_Tapis_Token=text, **headers)

    def jobs(self, user: str = "alice", tenant: str = "dev") -> Caller:
        """The Jobs service, acting for a user of a tenant."""
        jwt_text = token("jobs", "admin", service=True)
        return self.with_token(jwt_text, X_Tapis_Tenant=tenant, X_Tapis_User=user)

    def user(self, name: str = "alice", tenant: str = "dev") -> Caller:
        return self.with_token(token(name, tenant))

    async def key(self, owner: str, *scopes: str, tenant: str = "dev") -> str:
        """The text of a new API key."""
        document = {"name": owner, "owner": owner, "scopes": scopes, "tenant": tenant}
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        async with self.session.post(f"{self.url}/v1/keys", json=document, headers=headers) as answer:
            assert answer.status == 201
            return str((await answer.json())["key"])


def keys_of_the_site() -> dict[str, object]:
    def jwk(key: rsa.RSAPrivateKey) -> dict[str, object]:
        document: dict[str, object] = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
        return document

    return {"keys": [jwk(SITE) | {"kid": "site"}, jwk(GUESTS) | {"kid": "guests", "tenants": ["guests"]}]}


@pytest.fixture
def settings(sqlite_url: str, tmp_path: Path) -> dict[str, str]:
    """The settings of the service, as an operator gives them."""
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps(keys_of_the_site()))
    return {
        "DISPATCHER_DATABASE_URL": sqlite_url,
        "DISPATCHER_HTTP_PORT": "0",
        "DISPATCHER_AUTH_ADMIN_KEY": ADMIN_KEY,
        "DISPATCHER_NETWORK_ALLOW": "127.0.0.0/8",
        "DISPATCHER_TAPIS_KEYS": str(keys),
        "DISPATCHER_TAPIS_ISSUERS": ISSUER,
        "DISPATCHER_TAPIS_ADMINS": "boss@dev, chief@guests",
    }


def read(settings: dict[str, str], path: Path) -> Settings:
    empty = path / "none.toml"
    empty.touch()
    return load(settings, empty)


@pytest.fixture
async def site(settings: dict[str, str], tmp_path: Path) -> AsyncIterator[Site]:
    """The service, serving."""
    async with running(read(settings, tmp_path)) as app, ClientSession() as session:
        yield Site(app, session)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """The receiver of notifications."""
    async with Receiver() as listening:
        yield listening


@pytest.fixture
def jobs(site: Site) -> Caller:
    """The Jobs service, acting for alice."""
    return site.jobs()
