"""The API on a free port, over a real store, and those who call it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from io import BytesIO
from ipaddress import ip_network
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession, DummyCookieJar, web
from aiohttp.test_utils import TestServer
from msgspec import Struct

from dispatcher.api.http_server import Runner
from dispatcher.api.owner_quotas import OwnerQuotas
from dispatcher.api.server import build
from dispatcher.api.services import Services
from dispatcher.api.waiters import Waiters
from dispatcher.compat.plugin import Plugin
from dispatcher.domain.deliveries import Attempt, OpenDelivery, Outcome, State
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.ids import new_id
from dispatcher.domain.quotas import Quotas
from dispatcher.domain.subscriptions import Subscription
from dispatcher.intake.batcher import Batcher
from dispatcher.intake.committer import Committer
from dispatcher.intake.delivery_quotas import DeliveryQuotas
from dispatcher.intake.ingest_queue import IngestQueue
from dispatcher.intake.matcher import Matcher
from dispatcher.parts import make_adapters, make_hooks, make_kinds
from dispatcher.store.encryption import Sealer
from dispatcher.store.store import Store
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.registry import Resources
from dispatcher.targets.ssrf_guard import Guard
from dispatcher.telemetry import metrics
from tests.claiming import claim
from tests.stores import prepared_store

ADMIN_KEY = "an admin key of the settings, 32 characters or more"
LOOPBACK = ip_network("127.0.0.0/8")
HOOK = "https://127.0.0.1/hook"


class Reply(Struct, frozen=True):
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return msgspec.json.decode(self.body)

    @property
    def faults(self) -> dict[str, str]:
        """What is wrong with which field, in a problem."""
        assert self.headers["Content-Type"] == "application/problem+json"
        return {fault["field"]: fault["problem"] for fault in self.json["errors"]}


class Caller:
    """Somebody with a key, or without."""

    def __init__(self, session: ClientSession, url: str, key: str | None) -> None:
        self._session = session
        self._url = url
        self.headers = {} if key is None else {"Authorization": f"Bearer {key}"}

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> Reply:
        """One request; a body that is not bytes goes as JSON. `content_type` stands for `Content-Type`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None and not isinstance(body, bytes):
            body, named = msgspec.json.encode(body), {"Content-Type": "application/json"} | named
        async with self._session.request(
            method,
            self._url + path,
            data=BytesIO(body) if isinstance(body, bytes) else None,
            headers=self.headers | named,
            allow_redirects=False,
            skip_auto_headers=["Content-Type"],
        ) as answer:
            return Reply(answer.status, answer.headers, await answer.read())

    async def get(self, path: str) -> Any:
        """What is there."""
        return await self._expect(200, "GET", path)

    async def post(self, path: str, body: object = None, status: int = 200) -> Any:
        """What is answered with this status."""
        return await self._expect(status, "POST", path, body)

    async def patch(self, path: str, body: object) -> Any:
        """What is answered."""
        return await self._expect(200, "PATCH", path, body)

    async def subscribe(self, **fields: Any) -> Any:
        """A new subscription, to all events unless said otherwise."""
        document = {"events": ["*"], "target": {"kind": "webhook", "url": HOOK}} | fields
        return await self.post("/v1/subscriptions", document, 201)

    async def publish(self, event: str = "FINISHED", **fields: Any) -> str:
        """The id of a new event of job-1, alice's unless said otherwise."""
        document = {"event": event, "job_id": "job-1", "owner": "alice"} | fields
        accepted = await self.post("/v1/events", document, 202)
        return str(accepted["ids"][0])

    async def all(self, path: str, limit: int) -> list[Any]:
        """All items of a list, page by page."""
        found: list[Any] = []
        cursor: str | None = ""
        while cursor is not None:
            more = f"&cursor={cursor}" if cursor else ""
            page = await self.get(f"{path}{'&' if '?' in path else '?'}limit={limit}{more}")
            assert len(page["items"]) <= limit
            found += page["items"]
            cursor = page["next"]
        return found

    async def _expect(self, status: int, method: str, path: str, body: object = None) -> Any:
        reply = await self.ask(method, path, body)
        assert reply.status == status, f"{method} {path}: {reply.status} {reply.body.decode()}"
        return msgspec.json.decode(reply.body) if reply.body else None


class Parked:
    """An engine that delivers nothing: what is reserved waits in the store, due now, for the test to take."""

    def __init__(self, lease_id: int) -> None:
        self.lease_id = lease_id
        self.woken = 0

    async def wait_for_capacity(self, matches: Sequence[tuple[Event, Subscription]]) -> None:
        """It takes any number."""

    def reserve_slots(self, matches: Sequence[tuple[Event, Subscription]]) -> list[OpenDelivery]:
        now = utc_now()
        return [OpenDelivery(new_id("dlv"), event, s, due_at=_due(s, now)) for event, s in matches]

    def enqueue(self, deliveries: Sequence[OpenDelivery]) -> None:
        """They are in the store; nothing is held for them."""

    def cancel_reservations(self, deliveries: Sequence[OpenDelivery]) -> None:
        """The same."""

    def wake(self) -> None:
        self.woken += 1

    def lane(self, destination: str) -> None:
        """It has no lanes."""


async def rendered() -> bytes:
    """The metrics of this process."""
    return metrics.render()


def _due(subscription: Subscription, now: Any) -> Any:
    return None if subscription.status == "paused" else now


class Api:
    """A running API and who calls it: the settings' admin, callers without a key, and those who get one."""

    def __init__(self, services: Services, session: ClientSession, url: str, engine: Parked) -> None:
        self.services = services
        self.store = services.store
        self.url = url
        self._session = session
        self._engine = engine
        self.admin = Caller(session, url, ADMIN_KEY)
        self.anonymous = Caller(session, url, None)

    async def caller(self, owner: str, *scopes: str, tenant: str = "default") -> Caller:
        """Somebody with a new key."""
        made = await self.admin.post(
            "/v1/keys", {"name": owner, "owner": owner, "scopes": scopes, "tenant": tenant}, 201
        )
        return Caller(self._session, self.url, made["key"])

    def with_key(self, key: str) -> Caller:
        """The caller with this key."""
        return Caller(self._session, self.url, key)

    @property
    def woken(self) -> int:
        """How often the engine was notified that something is due."""
        return self._engine.woken

    async def settle(self, state: State, reason: str | None = None) -> list[str]:
        """Let everything that is due end so, each after one attempt. Their ids."""
        claimed = await claim(self.store, self._engine.lease_id, 500)
        now = utc_now()
        outcomes = [
            Outcome(
                delivery_id=delivery.id,
                state=state,
                attempts=delivery.attempts + 1,
                due_at=None,
                ended_at=now,
                reason=reason,
                attempt=Attempt(
                    number=delivery.attempts + 1,
                    started_at=now,
                    duration=0.25,
                    request=f"POST {HOOK}",
                    status=500,
                    error=reason,
                    answer="no",
                ),
            )
            for delivery in claimed
        ]
        await self.store.queue.finish(self._engine.lease_id, outcomes)
        return [delivery.id for delivery in claimed]


@asynccontextmanager
async def serving(store: Store, plugins: Sequence[Plugin] = (), **changes: Any) -> AsyncIterator[Api]:
    """The API over an opened store, with these plugins."""
    kinds = make_kinds(Resources(Egress(Guard([LOOPBACK]), timeout=5)), plugins)
    engine = Parked(await store.leases.register("test", 1, 3600))
    waiters = changes.pop("waiters", None) or Waiters(store, 100)
    intake = IngestQueue(hooks=make_hooks(plugins))
    committer = Committer(Matcher(store), engine, store.events, announce=waiters.stored)
    batcher = Batcher(intake, committer)
    tasks = [asyncio.create_task(part.run()) for part in (batcher, waiters)]
    parts: dict[str, Any] = {
        "store": store,
        "intake": intake,
        "engine": engine,
        "kinds": kinds,
        "admin_key": ADMIN_KEY,
        "readiness": _ready,
        "metrics": rendered,
        "quotas": OwnerQuotas(store, Quotas()),
        "delivery_quotas": DeliveryQuotas(store.quotas, 0),
        "waiters": waiters,
        "adapters": make_adapters(),
        "publish_hooks": [hook for plugin in plugins for hook in plugin.publish_hooks],
    }
    services = Services(**parts | changes)
    server = _Server(build(services, [plugin.attach for plugin in plugins]))
    await server.start_server(auto_decompress=False)
    session = ClientSession(cookie_jar=DummyCookieJar())
    try:
        yield Api(services, session, str(server.make_url("")).rstrip("/"), engine)
    finally:
        await session.close()
        await server.close()
        tasks[1].cancel()
        await batcher.stop(5)
        await tasks[0]
        for kind in kinds.values():
            await kind.close()


class _Server(TestServer):
    """Serves as the service does: what is no HTTP is answered with a problem document too."""

    async def _make_runner(self, **kwargs: Any) -> web.AppRunner:
        return Runner(self.app, **kwargs)


async def _ready() -> Mapping[str, str | None]:
    return {"database": None}


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    """The store on a database with the schema, while it is open."""
    async with prepared_store(url, Sealer(["k" * 32])) as store:
        yield store


@pytest.fixture
async def store(sqlite_url: str) -> AsyncIterator[Store]:
    """An SQLite store that is new and empty."""
    async with opened(sqlite_url) as store:
        yield store


@pytest.fixture
async def api(store: Store) -> AsyncIterator[Api]:
    """The API over it."""
    async with serving(store) as running:
        yield running


@pytest.fixture
def admin(api: Api) -> Caller:
    """Who has the admin key of the settings."""
    return api.admin


@pytest.fixture
async def alice(api: Api) -> Caller:
    """Who may publish and subscribe as alice."""
    return await api.caller("alice", "publish", "subscribe")


@pytest.fixture
async def bob(api: Api) -> Caller:
    """Who may publish and subscribe as bob."""
    return await api.caller("bob", "publish", "subscribe")
