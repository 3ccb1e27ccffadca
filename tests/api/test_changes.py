"""Changing, pausing, rotating and trying subscriptions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook

from dispatcher.domain.errors import Conflict
from dispatcher.domain.quotas import Caps
from dispatcher.domain.subscriptions import Subscription
from dispatcher.store.store import Store
from dispatcher.store.subscriptions import SubscriptionRepository
from tests.api.conftest import HOOK, Api, Caller, serving
from tests.factories import make_subscription
from tests.http.servers import Authority
from tests.receiver import Arrived, Receiver
from tests.targets.http.token_server import TokenServer

SECRETIVE = {
    "kind": "webhook",
    "url": f"{HOOK}?token=in-the-url",
    "headers": {"X-Api-Key": "in-a-header", "X-Note": "a note"},
    "auth": {"type": "basic", "user": "alice", "password": "in-the-auth"},
}


async def stored(api: Api, subscription_id: str) -> Subscription:
    """A subscription as it is in the store."""
    found = await api.store.subscriptions.get("default", subscription_id)
    assert found is not None
    return found


async def test_a_change_replaces_what_is_given_and_nothing_else(alice: Caller) -> None:
    made = await alice.subscribe(name="before", metadata={"a": 1}, job_id="job-1")
    changed = await alice.patch(f"/v1/subscriptions/{made['id']}", {"name": "after", "job_id": None})
    assert (changed["name"], changed["job_id"]) == ("after", None)
    left = made.keys() - {"name", "job_id", "secret", "updated_at"}
    assert {name: changed[name] for name in left} == {name: made[name] for name in left}
    assert changed["updated_at"] > made["updated_at"]
    assert await alice.get(f"/v1/subscriptions/{made['id']}") == changed


async def test_a_change_is_checked_like_a_new_subscription(alice: Caller) -> None:
    made = await alice.subscribe()
    path = f"/v1/subscriptions/{made['id']}"
    for change, field in [
        ({"events": ["no name"]}, "events[0]"),
        ({"filters": [{}]}, "filters[0]"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"target": {"kind": "webhook", "url": "ftp://example.org"}}, "target.url"),
        ({"rate_limit": {"per_second": 0}}, "rate_limit.per_second"),
        ({"metadata": {"x": "y" * 20_000}}, "metadata"),
        ({"nmae": "x"}, "nmae"),
        ({"name": None}, "name"),
    ]:
        reply = await alice.ask("PATCH", path, change)
        assert (reply.status, list(reply.faults)) == (400, [field])
    assert await alice.get(path) == {name: value for name, value in made.items() if name != "secret"}


async def test_only_an_admin_gives_a_subscription_another_owner(alice: Caller, admin: Caller) -> None:
    path = f"/v1/subscriptions/{(await alice.subscribe())['id']}"
    assert (await alice.ask("PATCH", path, {"owner": "bob"})).status == 403
    assert (await admin.patch(path, {"owner": "bob"}))["owner"] == "bob"


async def test_a_target_that_comes_back_as_shown_keeps_its_credentials(api: Api, alice: Caller) -> None:
    made = await alice.subscribe(target=SECRETIVE)
    before = await stored(api, made["id"])
    shown = (await alice.get(f"/v1/subscriptions/{made['id']}"))["target"]
    shown["headers"]["X-Note"] = "another note"
    changed = await alice.patch(f"/v1/subscriptions/{made['id']}", {"target": shown})
    after = await stored(api, made["id"])
    assert changed["target"]["headers"] == {"X-Api-Key": "***", "X-Note": "another note"}
    headers = {"X-Api-Key": "in-a-header", "X-Note": "another note"}
    assert after.target == {**before.target, "headers": headers}


async def test_a_credential_can_be_replaced(api: Api, alice: Caller) -> None:
    made = await alice.subscribe(target=SECRETIVE)
    target = made["target"] | {"auth": {"type": "basic", "user": "alice", "password": "a new one"}}
    await alice.patch(f"/v1/subscriptions/{made['id']}", {"target": target})
    after = await stored(api, made["id"])
    assert after.target["auth"] == {"type": "basic", "user": "alice", "password": "a new one"}
    assert after.target["url"] == SECRETIVE["url"]


async def test_credentials_do_not_follow_a_target_to_another_destination(api: Api, alice: Caller) -> None:
    made = await alice.subscribe(target=SECRETIVE)
    elsewhere = made["target"] | {"url": "https://127.0.0.2/hook"}
    reply = await alice.ask("PATCH", f"/v1/subscriptions/{made['id']}", {"target": elsewhere})
    assert (reply.status, list(reply.faults)) == (400, ["target"])
    assert (await stored(api, made["id"])).destination == "https://127.0.0.1:443"


async def test_a_client_secret_does_not_follow_to_another_token_endpoint(
    api: Api, alice: Caller, admin: Caller
) -> None:
    auth = {
        "type": "oauth2",
        "token_url": "https://127.0.0.1/token",
        "client_id": "a-client",
        "client_secret": "s3cret",
    }
    made = await alice.subscribe(target={"kind": "webhook", "url": HOOK, "auth": auth})
    path = f"/v1/subscriptions/{made['id']}"
    for token_url in ("https://127.0.0.2/token", "http://127.0.0.1/token", "https://127.0.0.1/echo"):
        elsewhere = made["target"] | {"auth": made["target"]["auth"] | {"token_url": token_url}}
        reply = await admin.ask("PATCH", path, {"target": elsewhere})
        assert (reply.status, list(reply.faults)) == (400, ["target.auth.client_secret"])
    narrower = made["target"] | {"auth": made["target"]["auth"] | {"scope": "jobs:read"}}
    await admin.patch(path, {"target": narrower})
    assert (await stored(api, made["id"])).target["auth"] == auth | {"scope": "jobs:read", "audience": None}


async def test_a_client_certificate_shows_its_end_and_keeps_its_key(
    api: Api, alice: Caller, tmp_path: Path
) -> None:
    certificate, key = Authority(tmp_path).issue("dispatcher", days=30)
    tls = {"ca": None, "certificate": certificate, "key": key}
    made = await alice.subscribe(target={"kind": "webhook", "url": "https://127.0.0.1/", "tls": tls})
    assert made["target"]["tls"] == tls | {"key": "***"}
    ends = datetime.fromisoformat(made["certificate_expires_at"])
    assert timedelta(days=29) < ends - datetime.now(UTC) < timedelta(days=31)
    slower = made["target"] | {"timeout": 2}
    await alice.patch(f"/v1/subscriptions/{made['id']}", {"target": slower})
    assert (await stored(api, made["id"])).target["tls"] == tls


async def test_a_target_without_credentials_may_go_elsewhere(alice: Caller) -> None:
    target = {"kind": "webhook", "url": HOOK, "success": {"status": [200, 204]}}
    made = await alice.subscribe(target=target)
    elsewhere = made["target"] | {"url": "https://127.0.0.2/hook"}
    changed = await alice.patch(f"/v1/subscriptions/{made['id']}", {"target": elsewhere})
    assert changed["destination"] == "https://127.0.0.2:443"
    assert changed["target"]["success"]["status"] == [200, 204]


async def test_what_is_shown_for_a_credential_is_none(alice: Caller) -> None:
    made = await alice.subscribe(target={"kind": "webhook", "url": HOOK})
    target = {"kind": "webhook", "url": HOOK, "auth": {"type": "bearer", "token": "***"}}
    reply = await alice.ask("PATCH", f"/v1/subscriptions/{made['id']}", {"target": target})
    assert list(reply.faults) == ["target.auth.token"]


async def test_a_paused_subscription_holds_its_deliveries_until_it_is_resumed(alice: Caller) -> None:
    made = await alice.subscribe()
    path = f"/v1/subscriptions/{made['id']}"
    assert (await alice.post(f"{path}/pause"))["status"] == "paused"
    await alice.publish()
    [held] = (await alice.get("/v1/deliveries"))["items"]
    assert (held["state"], held["due_at"]) == ("pending", None)
    assert (await alice.post(f"{path}/resume"))["status"] == "active"
    [due] = (await alice.get("/v1/deliveries"))["items"]
    assert due["due_at"] is not None


async def test_pausing_and_resuming_again_changes_nothing(api: Api, alice: Caller) -> None:
    path = f"/v1/subscriptions/{(await alice.subscribe())['id']}"
    shown = [await alice.post(f"{path}/{action}") for action in ("resume", "pause", "pause", "resume")]
    assert [view["status"] for view in shown] == ["active", "paused", "paused", "active"]
    assert (await stored(api, shown[0]["id"])).revision == 3


async def test_a_disabled_subscription_cannot_be_paused_but_resumed(api: Api, alice: Caller) -> None:
    made = await alice.subscribe()
    path = f"/v1/subscriptions/{made['id']}"
    await api.store.subscriptions.end(made["id"], "disabled", "answered 410 Gone")
    shown = await alice.get(path)
    assert (shown["status"], shown["status_reason"]) == ("disabled", "answered 410 Gone")
    reply = await alice.ask("POST", f"{path}/pause")
    assert reply.status == 409
    assert "disabled" in reply.json["detail"]
    assert (await alice.post(f"{path}/resume"))["status_reason"] is None


async def test_an_event_is_not_replayed_to_a_disabled_subscription(api: Api, alice: Caller) -> None:
    made = await alice.subscribe()
    event_id = await alice.publish()
    await api.store.subscriptions.end(made["id"], "disabled", "answered 410 Gone")
    reply = await alice.ask("POST", f"/v1/events/{event_id}/replay", {"subscription_id": made["id"]})
    assert reply.status == 409
    assert "resume it first" in reply.json["detail"]


async def test_an_expired_subscription_is_not_resumed(api: Api, alice: Caller) -> None:
    past = datetime(2020, 1, 1, tzinfo=UTC)
    expired = make_subscription(subscriber="alice", status="paused", expires_at=past)
    await api.store.subscriptions.add(expired)
    reply = await alice.ask("POST", f"/v1/subscriptions/{expired.id}/resume")
    assert (reply.status, "expired" in reply.json["detail"]) == (409, True)


async def test_times_are_kept_and_shown_in_utc(alice: Caller) -> None:
    made = await alice.subscribe(expires_at="2099-01-01T00:00:00+02:00")
    assert made["expires_at"] == "2098-12-31T22:00:00Z"


async def test_a_rotation_shows_the_new_secret_and_keeps_the_previous_one(api: Api, alice: Caller) -> None:
    made = await alice.subscribe()
    path = f"/v1/subscriptions/{made['id']}"
    rotated = await alice.post(f"{path}/rotate-secret")
    assert rotated["secret"] != made["secret"]
    assert rotated["previous_secret_until"] > rotated["updated_at"]
    assert "secret" not in await alice.get(path)
    assert (await stored(api, made["id"])).secrets == (rotated["secret"], made["secret"])
    again = await alice.post(f"{path}/rotate-secret")
    assert (await stored(api, made["id"])).secrets == (again["secret"], rotated["secret"])


async def test_during_a_rotation_requests_are_signed_with_both_secrets(alice: Caller) -> None:
    async with Receiver() as receiver:
        made = await alice.subscribe(target={"kind": "webhook", "url": f"{receiver.url}/hook"})
        path = f"/v1/subscriptions/{made['id']}"
        rotated = await alice.post(f"{path}/rotate-secret")
        assert (await alice.post(f"{path}/test"))["delivered"] is True
        [request] = receiver.arrived
    for secret in (made["secret"], rotated["secret"]):
        assert Webhook(secret).verify(request.body, request.headers)


async def test_a_test_sends_a_sample_and_stores_nothing(alice: Caller) -> None:
    async with Receiver() as receiver:
        made = await alice.subscribe(
            job_id="job-9", target={"kind": "webhook", "url": f"{receiver.url}/$<JOB_ID>?e=${{EVENT}}"}
        )
        result = await alice.post(f"/v1/subscriptions/{made['id']}/test")
        [request] = receiver.arrived
    assert request.path == "/job-9?e=FINISHED"
    assert (result["delivered"], result["status"], result["error"]) == (True, 204, None)
    assert 0 < result["duration"] < 5
    assert (await alice.get("/v1/events"))["items"] == []
    assert (await alice.get("/v1/deliveries"))["items"] == []


async def test_a_test_without_an_access_token_says_why_and_shows_no_secret(alice: Caller) -> None:
    async with Receiver() as receiver, TokenServer() as server:
        auth = server.credentials(client_secret="s3cret-of-another-client")
        made = await alice.subscribe(target={"kind": "webhook", "url": receiver.url, "auth": auth})
        path = f"/v1/subscriptions/{made['id']}"
        result, shown = await alice.ask("POST", f"{path}/test"), await alice.ask("GET", path)
    assert result.json["error"] == f"no access token: {server.token_url} answered 401 invalid_client"
    assert b"s3cret" not in result.body + shown.body
    assert receiver.arrived == []


async def test_a_test_that_fails_says_how(alice: Caller) -> None:
    async def busy(_: Arrived) -> web.Response:
        return web.Response(status=503, text="come back later")

    async with Receiver(busy) as receiver:
        made = await alice.subscribe(target={"kind": "webhook", "url": f"{receiver.url}/hook"})
        result = await alice.post(f"/v1/subscriptions/{made['id']}/test")
    assert (result["delivered"], result["status"], result["body"]) == (False, 503, "come back later")
    assert "503" in result["error"]


class RivalSubscriptions:
    """The subscriptions, where somebody else saves a change before each of the first saves."""

    def __init__(self, subscriptions: SubscriptionRepository, times: int) -> None:
        self._subscriptions = subscriptions
        self._times = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._subscriptions, name)

    async def save(
        self, subscription: Subscription, caps: Caps | None = None, deliveries_per_minute: int = 0
    ) -> None:
        if self._times:
            self._times -= 1
            raise Conflict(f"{subscription.id} was changed by somebody else")
        await self._subscriptions.save(subscription, caps, deliveries_per_minute)


@pytest.mark.parametrize(("times", "status"), [(1, 200), (2, 409)])
async def test_a_change_is_repeated_once_when_somebody_else_was_faster(
    store: Store, times: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "subscriptions", RivalSubscriptions(store.subscriptions, times))
    async with serving(store) as api:
        made = await api.admin.subscribe()
        reply = await api.admin.ask("PATCH", f"/v1/subscriptions/{made['id']}", {"name": "new"})
    assert reply.status == status
