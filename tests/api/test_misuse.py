"""What somebody tries who wants to break the service rather than to use it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit

import pytest

from dispatcher import compat
from dispatcher.store.contract import Store
from tests.api.conftest import ADMIN_KEY, HOOK, Api, Caller, serving


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
    async with serving(store, [compat.attach]) as api:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(api.url).port)
        head = f"GET {path} HTTP/1.1\r\nAuthorization: Bearer {ADMIN_KEY}\r\nConnection: close\r\nHost: "
        writer.write(head.encode() + host + b"\r\n\r\n")
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 400 ")


async def test_who_may_look_at_jobs_grants_only_own_ones(api: Api, alice: Caller, bob: Caller) -> None:
    await bob.publish("RUNNING", job_id="his", owner="bob")
    service = await api.caller("jobs", "publish")
    grant = {"event": "PERMISSION_GRANT", "job_id": "his", "data": {"username": "alice"}}
    for owner in ("alice", "bob", None):
        assert (await alice.ask("POST", "/v1/events", grant | {"owner": owner})).status == 403
    assert (await alice.ask("POST", "/v1/events", grant | {"job_id": "new", "owner": "bob"})).status == 403
    own = grant | {"data": {"username": "jobs"}}
    assert (await service.ask("POST", "/v1/events", own)).status == 403
    assert (await alice.ask("GET", "/v1/jobs/his")).status == 404
    await service.post("/v1/events", grant, 202)
    assert (await alice.ask("GET", "/v1/jobs/his")).status == 200


async def test_a_grant_in_the_shape_of_tapis_v3_is_one_too(store: Store) -> None:
    async with serving(store, [compat.attach]) as api:
        alice, bob = [await api.caller(name, "publish", "subscribe") for name in ("alice", "bob")]
        await bob.publish("RUNNING", job_id="his", owner="bob")
        grant = {"source": "x", "type": "jobs.JOB_NEW_STATUS.PERMISSION_GRANT", "subject": "his"}
        now = {"timestamp": "2026-05-04T12:00:00Z"}
        reply = await alice.ask("POST", "/v3/notifications/events", grant | now)
        assert reply.status == 401
        assert "is not known to be of 'alice'" in reply.json["message"]


async def test_who_may_look_at_jobs_ends_no_subscriptions_of_others(store: Store) -> None:
    async with serving(store, [compat.attach]) as api:
        alice, bob = [await api.caller(name, "publish", "subscribe") for name in ("alice", "bob")]
        await bob.publish("RUNNING", job_id="his", owner="bob")
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
