"""What somebody tries who wants to break the service rather than to use it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit

import pytest

from dispatcher.store.store import Store
from tests.api.conftest import ADMIN_KEY, HOOK, Api, Caller, serving
from tests.plugins import plugins_of


@pytest.mark.parametrize(
    ("path", "document", "field"),
    [
        ("/v1/keys", {"name": "k", "owner": "alice\n", "scopes": ["publish"]}, "owner"),
        (
            "/v1/subscriptions",
            {"events": ["*"], "target": {"kind": "webhook", "url": HOOK}, "name": "n\n"},
            "name",
        ),
    ],
)
async def test_a_line_break_at_the_end_of_a_text_is_refused(
    admin: Caller, path: str, document: Mapping[str, object], field: str
) -> None:
    reply = await admin.ask("POST", path, document)
    assert (reply.status, list(reply.faults)) == (400, [field])


@pytest.mark.parametrize("path", ["/jobs/v2", "/v3/notifications/subscriptions"])
@pytest.mark.parametrize("host", [b"", b"dispatcher:99999999", b"dispatcher:x", b"\xff"])
async def test_a_host_header_that_is_none_is_the_callers_fault(store: Store, path: str, host: bytes) -> None:
    async with serving(store, plugins_of(store)) as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(api.url).port)
        head = f"GET {path} HTTP/1.1\r\nAuthorization: Bearer {ADMIN_KEY}\r\nConnection: close\r\nHost: "
        writer.write(head.encode() + host + b"\r\n\r\n")
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_a_key_speaks_for_its_owner_only(api: Api, alice: Caller, bob: Caller) -> None:
    await api.admin.publish("RUNNING", job_id="his", owner="bob")
    grant = {"event": "PERMISSION_GRANT", "job_id": "his", "data": {"username": "alice"}}
    for owner in ("alice", "bob", None):
        assert (await alice.ask("POST", "/v1/events", grant | {"owner": owner})).status == 403
    assert (await alice.ask("POST", "/v1/events", grant | {"job_id": "new", "owner": "bob"})).status == 403
    service = await api.caller("jobs", "publish")
    assert (await service.ask("POST", "/v1/events", grant | {"owner": "bob"})).status == 403
    assert (await alice.ask("GET", "/v1/jobs/his")).status == 404
    await bob.post("/v1/events", grant, 202)
    assert (await alice.ask("GET", "/v1/jobs/his")).status == 200


async def test_a_refused_event_says_which_key_may_name_others(alice: Caller) -> None:
    event = {"event": "FAILED", "job_id": "1", "owner": "bob"}
    reply = await alice.ask("POST", "/v1/events", [{"event": "FAILED", "job_id": "1"}, event])
    assert reply.status == 403
    assert "expected 'alice', the owner of the key, or none, got 'bob'" in reply.json["detail"]
    assert "publish:any" in reply.json["detail"]
    assert (await alice.get("/v1/events"))["items"] == []


async def test_a_key_with_publish_any_names_owners_and_sees_nothing(api: Api, bob: Caller) -> None:
    service = await api.caller("jobs", "publish:any")
    await service.publish("RUNNING", job_id="his", owner="bob")
    assert (await bob.get("/v1/jobs/his"))["owner"] == "bob"
    assert (await service.ask("GET", "/v1/jobs/his")).status == 403


async def test_a_grant_in_the_shape_of_tapis_v3_is_one_too(store: Store) -> None:
    async with serving(store, plugins_of(store)) as api:
        alice = await api.caller("alice", "publish", "subscribe")
        await api.admin.publish("RUNNING", job_id="his", owner="bob")
        grant = {"source": "x", "type": "jobs.JOB_NEW_STATUS.PERMISSION_GRANT", "subject": "his"}
        now = {"timestamp": "2026-05-04T12:00:00Z"}
        reply = await alice.ask("POST", "/v3/notifications/events", grant | now)
        assert reply.status == 401
        assert "belongs to somebody else than 'alice'" in reply.json["message"]


@pytest.mark.parametrize(
    "data", [{}, {"username": ""}, {"username": ["bob"]}, {"user": "a\nb"}, {"user": "x" * 256}]
)
@pytest.mark.parametrize("event", ["PERMISSION_GRANT", "PERMISSION_REVOKE"])
async def test_a_grant_that_does_not_say_to_whom_is_refused(
    admin: Caller, event: str, data: Mapping[str, object]
) -> None:
    plain = {"event": event, "job_id": "1", "owner": "alice", "data": data}
    cloud = {
        "specversion": "1.0",
        "id": "1",
        "source": "/x",
        "type": f"job.{event}",
        "subject": "1",
        "data": data,
    }
    for document, content_type in ((plain, "application/json"), (cloud, "application/cloudevents+json")):
        reply = await admin.ask("POST", "/v1/events", document, content_type=content_type)
        assert (reply.status, list(reply.faults)) == (400, ["data.username"])


async def test_who_may_look_at_jobs_ends_no_subscriptions_of_others(store: Store) -> None:
    async with serving(store, plugins_of(store)) as api:
        alice, bob = [await api.caller(name, "publish", "subscribe") for name in ("alice", "bob")]
        await api.admin.publish("RUNNING", job_id="his", owner="bob")
        end = {
            "source": "x",
            "type": "jobs.JOB_NEW_STATUS.FINISHED",
            "subject": "his",
            "timestamp": "2026-05-04T12:00:00Z",
            "deleteSubscriptionsMatchingSubject": True,
        }
        assert (await alice.ask("POST", "/v3/notifications/events", end)).status == 401
        assert (await alice.ask("POST", "/v1/events", end)).status == 403
        assert (await bob.ask("POST", "/v3/notifications/events", end)).status == 200
