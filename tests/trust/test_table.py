"""Each cell of the tables in docs/security.md, tried through AMQP, HTTP and the shapes of Tapis and Tethys."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import ClientSession

from dispatcher.app import App, running
from dispatcher.client import Publisher
from dispatcher.config.loading import load
from dispatcher.domain.ids import new_id
from dispatcher.domain.jobs import Job
from dispatcher.store.store import Store
from tests.compat.tapis_v3.conftest import ISSUER, keys_of_the_site, token
from tests.plugins import tapis_of
from tests.trust.table import END_OF, GRANT, PAGE, PUBLISH, READ, TABLES, with_tables

ADMIN_KEY = "an admin key of the settings, 32 characters or more"
HOOK = "http://127.0.0.1:9/hook"
V3 = "/v3/notifications"
KEYS = {
    "any": ("jobs", ["publish:any"], "default"),
    "owner": ("alice", ["publish", "subscribe"], "default"),
    "other": ("bob", ["publish", "subscribe"], "default"),
    "reader": ("alice", ["subscribe"], "default"),
    "grantee": ("carol", ["publish", "subscribe"], "default"),
    "tenant": ("root", ["admin"], "elsewhere"),
}


def test_the_page_shows_what_is_tried() -> None:
    """`python -m tests.trust.table` writes it."""
    page = PAGE.read_text()
    assert with_tables(page) == page


class World:
    """A running service and everybody in the tables."""

    def __init__(self, app: App, store: Store, session: ClientSession, publisher: Publisher) -> None:
        self.url, self.store = app.url, store
        self._session = session
        self._publisher = publisher
        self._keys: dict[str, str] = {"admin": ADMIN_KEY}

    async def make_keys(self) -> None:
        for who, (owner, scopes, tenant) in KEYS.items():
            document = {"name": who, "owner": owner, "scopes": scopes, "tenant": tenant}
            _, made = await self.ask("admin", "POST", "/v1/keys", document)
            self._keys[who] = made["key"]

    def headers(self, who: str) -> dict[str, str]:
        if who == "service":
            jwt = token("jobs", "admin", service=True)
            return {"X-Tapis-Token": jwt, "X-Tapis-Tenant": "default", "X-Tapis-User": "alice"}
        if who == "user":
            return {"X-Tapis-Token": token("alice", "default")}
        return {"Authorization": f"Bearer {self._keys[who]}"} if who in self._keys else {}

    async def ask(self, who: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
        async with self._session.request(
            method, self.url + path, json=body, headers=self.headers(who)
        ) as answer:
            text = await answer.read()
            return answer.status, msgspec.json.decode(text) if text else None

    async def say(self, who: str, event: str, job: str, owner: str | None, user: str | None = None) -> int:
        """Publish an event as somebody. The status of the answer; 202 for AMQP, once it is stored."""
        if who in ("tethys", "tethys_other", "loopback"):
            return await self._call_back(who, job)
        if who in ("service", "user"):
            data = json.dumps({"jobOwner": owner, "message": "said"})
            theirs = {"source": "Jobs", "type": f"jobs.JOB_NEW_STATUS.{event}", "subject": job, "data": data}
            body = theirs | {"timestamp": "2100-01-01T00:00:00Z"}
            status, _ = await self.ask(who, "POST", f"{V3}/events", body)
            return 202 if status == 200 else status
        plain: dict[str, Any] = {"event": event, "job_id": job, "message": "said"}
        plain |= {} if owner is None else {"owner": owner}
        plain |= {"time": "2100-01-01T00:00:00Z"} if event == "FAILED" else {}
        plain |= {} if user is None else {"data": {"username": user}}
        if who != "amqp":
            status, _ = await self.ask(who, "POST", "/v1/events", plain)
            return status
        plain["id"] = new_id("evt")
        await self._publisher.publish(plain)
        async with asyncio.timeout(20):
            while plain["id"] not in [one["source_id"] for one in await self.events(job)]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return 202

    async def _call_back(self, who: str, job: str) -> int:
        path = f"/update-job-status/{job}/"
        query = ""
        if who != "loopback":
            owner = {"tethys": "owner", "tethys_other": "other"}[who]
            _, given = await self.ask(owner, "POST", f"{path}token/")
            query = f"&token={given['token']}"
        status, _ = await self.ask("anonymous", "GET", f"{path}?status=Error{query}")
        return 202 if status == 200 else status

    async def events(self, job: str, who: str = "admin") -> list[Any]:
        _, found = await self.ask(who, "GET", f"/v1/events?job_id={job}")
        items: list[Any] = found["items"]
        return items

    async def owner_of(self, job: str) -> str | None:
        return (await self.store.jobs.owners("default", [job])).get(job)

    async def job(self, job: str, seen_by: str) -> Job | None:
        return await self.store.jobs.get("default", job, seen_by)


@pytest.fixture
async def world(sqlite_url: str, tmp_path: Path, amqp_url: str) -> AsyncIterator[World]:
    """Yield the service with a broker, the keys of a Tapis site, and open to Tethys on this machine."""
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps(keys_of_the_site()))
    (tmp_path / "none.toml").touch()
    settings = {
        "DISPATCHER_DATABASE_URL": sqlite_url,
        "DISPATCHER_AMQP_URL": amqp_url,
        "DISPATCHER_HTTP_PORT": "0",
        "DISPATCHER_AUTH_ADMIN_KEY": ADMIN_KEY,
        "DISPATCHER_NETWORK_ALLOW": "127.0.0.0/8",
        "DISPATCHER_TAPIS_KEYS": str(keys),
        "DISPATCHER_TAPIS_ISSUERS": ISSUER,
        "DISPATCHER_TETHYS_ALLOW": "loopback",
    }
    async with (
        running(load(settings, tmp_path / "none.toml")) as app,
        ClientSession() as session,
    ):
        async with asyncio.timeout(20):
            while not await _is_ready(session, app.url):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        async with Publisher.amqp(amqp_url) as publisher:
            made = World(app, app._store, session, publisher)
            await made.make_keys()
            yield made


async def _is_ready(session: ClientSession, url: str) -> bool:
    async with session.get(f"{url}/health/ready") as answer:
        return answer.status == 200


def cells(rows: Mapping[str, Mapping[str, str]]) -> list[tuple[str, str, str]]:
    return [(what, who, outcome) for what, row in rows.items() for who, outcome in row.items()]


async def test_who_publishes_what_of_whose_job(world: World) -> None:
    for number, (what, who, expected) in enumerate(cells(PUBLISH.rows)):
        naming, state = what.split(", ")
        job = f"p-{number}"
        assert await world.say("admin" if state == "claimed" else "owner", "RUNNING", job, "alice") == 202
        owner = {"naming alice": "alice", "naming bob": "bob"}.get(naming)
        status = await world.say(who, "FAILED", job, owner)
        assert await _published(world, job, status) == expected, (what, who)


async def _published(world: World, job: str, status: int) -> str:
    """The word for what became of it."""
    said = [one for one in await world.events(job) if one["event"] == "FAILED"]
    claimed, hers = await world.owner_of(job), await world.job(job, "alice")
    if status != 202:
        assert (said, hers is not None and hers.status) == ([], "RUNNING")
        return str(status)
    if not said:
        assert hers is not None
        assert hers.status == "RUNNING"
        return "elsewhere"
    [event] = said
    seen = {
        name: event["id"] in [one["id"] for one in await world.events(job, name)]
        for name in ("owner", "other")
    }
    changed = hers is not None and hers.status == "FAILED"
    return {
        ("alice", "alice", True, True, False): "hers",
        ("alice", None, True, True, False): "hers, unclaimed",
        ("bob", "alice", True, False, True): "bob's",
        ("bob", "bob", False, False, True): "claimed by bob",
        ("bob", None, False, False, True): "apart",
        (None, "alice", True, True, False): "of no owner",
        (None, None, False, False, False): "of no owner",
    }[event["owner"], claimed, changed, seen["owner"], seen["other"]]


async def test_who_grants_whose_job(world: World) -> None:
    for number, (what, who, expected) in enumerate(cells(GRANT.rows)):
        action, state = what.split(", ")
        job, owner = f"g-{number}", "alice" if who in ("amqp", "admin", "any") else None
        await world.say("admin" if state == "claimed" else "owner", "RUNNING", job, "alice")
        if action == "revoke":
            await world.say("admin", "PERMISSION_GRANT", job, "alice", "carol")
        before = await world.job(job, "carol") is not None
        status = await world.say(who, f"PERMISSION_{action.upper()}", job, owner, "carol")
        assert await _granted(world, job, status, before=before) == expected, (what, who)


async def _granted(world: World, job: str, status: int, *, before: bool) -> str:
    seen = await world.job(job, "carol")
    if status != 202:
        assert (seen is not None) is before
        return str(status)
    if before:
        return "ends" if seen is None else "elsewhere"
    if seen is None:
        return "elsewhere"
    await world.say("admin", "RUNNING", job, "alice")
    if seen.owner == "bob":
        assert await world.job(job, "carol") is None
        return "bob's only"
    return "until claimed" if await world.job(job, "carol") is None else "holds"


async def test_who_sees_what_of_whose_job(world: World) -> None:
    paths = await _paths(world)
    assert paths.keys() == READ.rows.keys()
    for what, who, expected in cells(READ.rows):
        method, path, body = paths[what]
        status, answer = await world.ask(who, method, path, body)
        seen = {200: "yes", 201: "yes", 202: "yes"}.get(status, str(status))
        if seen == "yes" and what.startswith("wait"):
            seen = "yes" if (answer["reached"], answer["status"]) == (True, "RUNNING") else "nothing"
            assert seen == "yes" or answer["event_id"] is None
        assert seen == expected, (what, who)


async def _paths(world: World) -> dict[str, tuple[str, str, object]]:
    """How each thing in the table is asked for, once it is there."""
    subscription = {"events": ["*"], "target": {"kind": "webhook", "url": HOOK}}
    await world.ask("owner", "POST", "/v1/subscriptions", subscription)
    await world.say("admin", "RUNNING", "claimed", "alice")
    await world.say("admin", "PERMISSION_GRANT", "claimed", "alice", "carol")
    await world.say("admin", "UPDATED", "claimed", None)
    await world.say("owner", "RUNNING", "mine", None)
    await world.say("admin", "RUNNING", "nobodys", None)
    hers = {one["event"]: one["id"] for one in await world.events("claimed")}
    [own], [unowned] = await world.events("mine"), await world.events("nobodys")
    _, event = await world.ask("admin", "GET", f"/v1/events/{hers['RUNNING']}")
    [delivery] = event["deliveries"]
    get = {
        "a claimed job": "/v1/jobs/claimed",
        "a claimed job, in Tapis v2": "/jobs/v2/claimed",
        "its status": "/v1/jobs/claimed/status",
        "wait for it": "/v1/jobs/claimed/status?wait=0.01&until=RUNNING",
        "wait for an unclaimed job": "/v1/jobs/mine/status?wait=0.01&until=change",
        "its history": "/v1/jobs/claimed/history",
        "its event of alice": f"/v1/events/{hers['RUNNING']}",
        "its event that names no owner": f"/v1/events/{hers['UPDATED']}",
        "its deliveries to alice": f"/v1/deliveries/{delivery['id']}",
        "an unclaimed job": "/v1/jobs/mine",
        "its own event": f"/v1/events/{own['id']}",
        "a trusted event without owner of an unclaimed job": f"/v1/events/{unowned['id']}",
    }
    subscribe = {"claimed": subscription | {"job_id": "claimed"}, "mine": subscription | {"job_id": "mine"}}
    return {what: ("GET", path, None) for what, path in get.items()} | {
        "replay its event of alice": ("POST", f"/v1/events/{hers['RUNNING']}/replay", {}),
        "subscribe to a claimed job": ("POST", "/v1/subscriptions", subscribe["claimed"]),
        "subscribe to an unclaimed job": ("POST", "/v1/subscriptions", subscribe["mine"]),
    }


async def test_whose_subscriptions_and_series_an_event_of_tapis_v3_ends(world: World) -> None:
    assert [table.name for table in TABLES] == ["publish", "grant", "read", "end"]
    for number, (who, expected) in enumerate(END_OF.rows["subscriptions to a subject"].items()):
        subject = f"s-{number}"
        for key in ("owner", "other"):
            await world.ask(key, "POST", f"{V3}/subscriptions", _subscription(subject))
        event = {
            "source": "Jobs",
            "type": "jobs.A.B",
            "subject": subject,
            "timestamp": "2026-05-04T12:00:00Z",
        }
        ends = event | {"deleteSubscriptionsMatchingSubject": True}
        status, _ = await world.ask(who, "POST", f"{V3}/events", ends)
        left = {one.owner for one in await tapis_of(world.store).listed("default", subject_filter=subject)}
        own = {"alice", "bob"} - {KEYS[who][0]} if who in KEYS else None
        words = {401: ("401", {"alice", "bob"}), 200: (("own only", own) if left else ("everybody's", set()))}
        assert words[status] == (expected, left), who
    for number, (who, expected) in enumerate(END_OF.rows["a series"].items()):
        series = {"source": "Jobs", "subject": f"e-{number}", "seriesId": "1"}
        event = series | {"type": "jobs.A.B", "timestamp": "2026-05-04T12:00:00Z"}
        for key in ("owner", "other", "service"):  # which claims the job
            assert (await world.ask(key, "POST", f"{V3}/events", event))[0] == 200
        status, _ = await world.ask(who, "POST", f"{V3}/events/endSeries", series)
        names = {"service": None, "owner": "alice", "other": "bob"}
        place = ("default", "Jobs", f"e-{number}", "1")
        counts = {key: await tapis_of(world.store).count_on(*place, its) for key, its in names.items()}
        ended = {key for key, count in counts.items() if count == 1}
        assert {401: "401", 200: "own only" if ended == {who} and who != "service" else "everybody's"}[
            status
        ] == expected, who
        assert ended == ({"service"} if expected == "everybody's" else {who} if status == 200 else set()), who


def _subscription(subject: str) -> dict[str, Any]:
    return {
        "typeFilter": "jobs.*.*",
        "subjectFilter": subject,
        "deliveryTargets": [{"deliveryMethod": "WEBHOOK", "deliveryAddress": HOOK}],
    }
