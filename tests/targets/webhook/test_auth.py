"""Credentials that are asked for at each attempt, so that a token can be renewed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from aiohttp import web

from dispatcher.domain.digests import Gathered
from dispatcher.targets.http.auth import Auth, AuthFailed, BearerAuth, StaticAuth
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.webhook.config import WebhookTarget
from dispatcher.targets.webhook.sender import WebhookSender
from tests.factories import make_event, make_subscription
from tests.receiver import Arrived, Receiver

DELIVERY = "dlv_01900000000070008000000000000000"


class Tokens:
    """An `Auth` with another token at each attempt, or a failure."""

    fixed = None
    header_names = ("Authorization",)

    def __init__(self, *found: str | AuthFailed) -> None:
        self._found: Iterator[str | AuthFailed] = iter(found)
        self.asked: list[float] = []

    async def headers(self, now: float) -> Mapping[str, str]:
        self.asked.append(now)
        found = next(self._found)
        if isinstance(found, AuthFailed):
            raise found
        return {"Authorization": f"Bearer {found}"}

    async def renewed(self, refused: Mapping[str, str], now: float) -> Mapping[str, str] | None:
        return None


def sender(egress: Egress, receiver: Receiver, auth: Auth, **fields: object) -> WebhookSender:
    target = WebhookTarget(receiver.url, **fields)  # type: ignore[arg-type]  # each test names real fields
    return WebhookSender(egress, target, make_subscription(target={"kind": "webhook"}), auth)


async def test_each_attempt_has_the_token_of_its_time(egress: Egress, receiver: Receiver) -> None:
    auth = Tokens("token-one", "token-two")
    sending = sender(egress, receiver, auth)
    for number in (1, 2):
        assert (await sending.send(make_event(), DELIVERY, number)).error is None

    assert [one.headers["authorization"] for one in receiver.arrived] == [
        "Bearer token-one",
        "Bearer token-two",
    ]
    assert auth.asked == sorted(auth.asked)


async def test_a_digest_asks_for_a_token_too(egress: Egress, receiver: Receiver) -> None:
    sending = sender(egress, receiver, Tokens("token-one"))
    await sending.send_digest([Gathered(DELIVERY, make_event(), None)], 1)

    assert [one.headers["authorization"] for one in receiver.arrived] == ["Bearer token-one"]


async def test_without_a_token_nothing_is_sent_and_that_counts_as_a_failure_of_the_destination(
    egress: Egress, receiver: Receiver
) -> None:
    sending = sender(egress, receiver, Tokens(AuthFailed("no token: the server answered 503"), "token-two"))
    failed = await sending.send(make_event(), DELIVERY, 1)

    assert receiver.arrived == []
    assert failed.error == "no token: the server answered 503"
    assert (failed.permanent, failed.is_destination_failure, failed.destination_down) == (False, True, False)
    assert (await sending.send(make_event(), DELIVERY, 2)).error is None


async def test_a_token_that_cannot_stand_in_a_header_is_not_sent(egress: Egress, receiver: Receiver) -> None:
    failed = await sender(egress, receiver, Tokens("a\r\nX: b")).send(make_event(), DELIVERY, 1)

    assert receiver.arrived == []
    assert "the header 'Authorization' cannot be sent" in (failed.error or "")


async def test_a_renewed_token_is_hidden_where_the_receiver_repeats_it(
    egress: Egress, receiver: Receiver
) -> None:
    async def echo(arrived: Arrived) -> web.Response:
        return web.Response(status=401, text=f"no such token: {arrived.headers['authorization']}")

    receiver.answer = echo
    result = await sender(egress, receiver, Tokens("token-one")).send(make_event(), DELIVERY, 1)

    assert result.body == "no such token: ***"


async def test_headers_that_never_change_are_not_asked_for(
    egress: Egress, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def asked(*_: object) -> Mapping[str, str]:
        raise AssertionError("asked for fixed headers")

    monkeypatch.setattr(StaticAuth, "headers", asked)
    await sender(egress, receiver, StaticAuth(BearerAuth("a-token"))).send(make_event(), DELIVERY, 1)

    assert [one.headers["authorization"] for one in receiver.arrived] == ["Bearer a-token"]


async def test_what_the_auth_sets_a_format_does_not(egress: Egress, receiver: Receiver) -> None:
    class OwnDate(Tokens):
        header_names = ("ce-subject",)

        async def headers(self, now: float) -> Mapping[str, str]:
            return {"ce-subject": "by the auth"}

    await sender(egress, receiver, OwnDate(), format="binary").send(make_event(), DELIVERY, 1)

    assert [one.headers.get("ce-subject") for one in receiver.arrived] == ["by the auth"]
