"""Webhooks with tokens of a real authorization server, which the receiver asks whether a token is valid."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from urllib.parse import quote_plus

import msgspec
import pytest
from aiohttp import ClientSession, encode_basic_auth, web

from dispatcher.domain.ids import new_id
from dispatcher.domain.targets import AttemptResult
from dispatcher.store.encryption import Sealer
from dispatcher.targets.http import oauth2
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.ssrf_guard import Guard
from dispatcher.targets.webhook.kind import WebhookKind, WebhookTarget
from tests.factories import make_event, make_subscription
from tests.http.requests import LOOPBACK
from tests.receiver import Arrived, Receiver
from tests.servers.oidc_provider import OidcProvider
from tests.stores import prepared_store

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]

SECRET = "a s3cret: with+what/has=to&be%encoded"
BASIC, POST, CHECKER = "registered for basic", "registered-for-post", "the-receiver"
PERSON = "for-people-only"
LIFETIME = 10


def _client(client_id: str, method: str) -> dict[str, object]:
    return {
        "client_id": client_id,
        "client_secret": SECRET,
        "grant_types": ["client_credentials"],
        "redirect_uris": [],
        "response_types": [],
        "token_endpoint_auth_method": method,
        "scope": "jobs:read jobs:write",
    }


@pytest.fixture(scope="module")
def provider() -> Iterator[OidcProvider]:
    """Yield an authorization server whose tokens are valid for ten seconds."""
    clients = [
        _client(BASIC, "client_secret_basic"),
        _client(POST, "client_secret_post"),
        _client(CHECKER, "client_secret_post"),
        _client(PERSON, "client_secret_basic")
        | {"grant_types": ["authorization_code"], "redirect_uris": ["https://a.example/"]}
        | {"response_types": ["code"]},
    ]
    with OidcProvider(clients, LIFETIME) as running:
        yield running


class Checking:
    """A receiver that asks the server about each token (RFC 7662); `found` is what it said."""

    def __init__(self, provider: OidcProvider) -> None:
        self._url = provider.url
        self.found: list[dict[str, object]] = []
        self.tokens: list[str] = []

    async def answer(self, arrived: Arrived) -> web.Response:
        token = arrived.headers["authorization"].removeprefix("Bearer ")
        document = await self._introspect(token)
        self.tokens.append(token)
        self.found.append(document)
        return web.Response(status=204 if document["active"] else 401)

    async def _introspect(self, token: str) -> dict[str, object]:
        form = {"token": token, "client_id": CHECKER, "client_secret": SECRET}
        url = f"{self._url}/token/introspection"
        async with ClientSession() as session, session.post(url, data=form) as answer:
            assert answer.status == 200
            return msgspec.json.decode(await answer.read(), type=dict[str, object])


@pytest.fixture
async def checking(provider: OidcProvider) -> Checking:
    """Return what decides about tokens."""
    return Checking(provider)


@pytest.fixture
async def receiver(checking: Checking) -> AsyncIterator[Receiver]:
    """Yield a receiver that asks it."""
    async with Receiver(checking.answer) as receiver:
        yield receiver


class Deliveries:
    """Attempts of one subscription, each in the next process of two."""

    def __init__(self, kinds: list[WebhookKind], url: str, auth: dict[str, object]) -> None:
        target = {"kind": "webhook", "url": url, "auth": auth}
        kinds[0].check(msgspec.convert(target, WebhookTarget))
        self._senders = [kind.sender(make_subscription(target=target)) for kind in kinds]

    async def attempt(self, number: int) -> AttemptResult:
        sender = self._senders[number % len(self._senders)]
        return await sender.send(make_event(), new_id("dlv"), 1)


@pytest.fixture
async def kinds(sqlite_url: str) -> AsyncIterator[list[WebhookKind]]:
    """Yield the kinds of two processes over one store."""
    async with prepared_store(sqlite_url, Sealer(["the key of these tests, long enough"])) as store:
        kinds = [WebhookKind(Egress(Guard(LOOPBACK)), tokens=store.oauth_tokens) for _ in range(2)]
        yield kinds
        for kind in kinds:
            await kind.close()


def _auth(provider: OidcProvider, client: str, **fields: object) -> dict[str, object]:
    auth = {
        "type": "oauth2",
        "token_url": f"{provider.url}/token",
        "client_id": client,
        "client_secret": SECRET,
    }
    return auth | fields


@pytest.mark.parametrize("client", [BASIC, POST])
async def test_a_token_is_valid_and_for_the_scope_in_both_ways_to_register(
    provider: OidcProvider, receiver: Receiver, checking: Checking, kinds: list[WebhookKind], client: str
) -> None:
    deliveries = Deliveries(kinds, receiver.url, _auth(provider, client, scope="jobs:write"))
    results = [await deliveries.attempt(number) for number in range(4)]

    assert [one.error for one in results] == [None] * 4
    assert len(set(checking.tokens)) == 1
    assert {(one["client_id"], one["scope"]) for one in checking.found} == {(client, "jobs:write")}


async def test_tokens_are_renewed_before_they_end_so_that_none_is_refused(
    provider: OidcProvider, receiver: Receiver, checking: Checking, kinds: list[WebhookKind]
) -> None:
    deliveries = Deliveries(kinds, receiver.url, _auth(provider, BASIC, audience="https://hook.example"))
    results: list[AttemptResult] = []
    ends = asyncio.get_running_loop().time() + 2.5 * LIFETIME
    while asyncio.get_running_loop().time() < ends:
        results.append(await deliveries.attempt(len(results)))

    assert {one.error for one in results} == {None}
    assert all(one["active"] for one in checking.found)
    assert 3 <= len(set(checking.tokens)) <= 5


async def test_a_revoked_token_is_replaced_within_the_attempt(
    provider: OidcProvider,
    receiver: Receiver,
    checking: Checking,
    kinds: list[WebhookKind],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(oauth2, "MIN_AGE", 0)
    deliveries = Deliveries(kinds, receiver.url, _auth(provider, BASIC))
    await deliveries.attempt(0)
    await deliveries.attempt(1)
    [revoked] = set(checking.tokens)
    await _revoke(provider, revoked)
    results = [await deliveries.attempt(number) for number in range(2)]

    assert [one.error for one in results] == [None, None]
    assert len(set(checking.tokens)) == 2
    assert [one["active"] for one in checking.found] == [True, True, False, True, False, True]


async def _revoke(provider: OidcProvider, token: str) -> None:
    headers = {"Authorization": encode_basic_auth(quote_plus(BASIC), quote_plus(SECRET))}
    async with ClientSession() as session:
        answer = await session.post(
            f"{provider.url}/token/revocation", data={"token": token}, headers=headers
        )
        assert answer.status == 200


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"client_secret": "another"}, "answered 401 invalid_client"),
        ({"client_id": "not-known"}, "answered 401 invalid_client"),
        ({"client_id": PERSON}, "answered 400 invalid_request"),
        ({"token_url": "/nothing"}, "answered 404"),
    ],
)
async def test_its_refusals_are_named(
    provider: OidcProvider,
    receiver: Receiver,
    kinds: list[WebhookKind],
    fields: dict[str, str],
    said: str,
) -> None:
    if "token_url" in fields:
        fields = {"token_url": provider.url + fields["token_url"]}
    result = await Deliveries(kinds, receiver.url, _auth(provider, BASIC, **fields)).attempt(0)

    assert said in (result.error or "")
    assert receiver.arrived == []
