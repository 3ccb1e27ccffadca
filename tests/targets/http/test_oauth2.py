"""Webhooks with OAuth 2.0: which token a request has, when a new one is asked for, and by whom."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import msgspec
import pytest

from dispatcher.domain.digests import Gathered
from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.ids import new_id
from dispatcher.domain.targets import AttemptResult, OAuthTokens
from dispatcher.store.encryption import Sealer
from dispatcher.store.store import Store
from dispatcher.targets.http import oauth2
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.ssrf_guard import Guard
from dispatcher.targets.webhook.kind import WebhookKind, WebhookTarget
from dispatcher.targets.webhook.sender import WebhookSender
from tests.factories import make_event, make_subscription
from tests.http.proxy import proxy
from tests.http.requests import LOOPBACK, on_port
from tests.stores import prepared_store
from tests.targets.http.token_server import Held, Resource, TokenServer, answers, refusal

SEALER = Sealer(["the key of these tests, which is long enough"])


@pytest.fixture
async def server() -> AsyncIterator[TokenServer]:
    """Yield an authorization server."""
    async with TokenServer() as server:
        yield server


@pytest.fixture
async def resource() -> AsyncIterator[Resource]:
    """Yield a receiver that wants a token."""
    async with Resource() as resource:
        yield resource


@pytest.fixture
async def store(sqlite_url: str) -> AsyncIterator[Store]:
    """Yield an empty store."""
    async with prepared_store(sqlite_url, SEALER) as store:
        yield store


@pytest.fixture
async def kind(store: Store) -> AsyncIterator[WebhookKind]:
    """Yield the kind of a process."""
    kind = webhooks(store.oauth_tokens)
    yield kind
    await kind.close()


def webhooks(tokens: OAuthTokens) -> WebhookKind:
    """The kind of another process."""
    return WebhookKind(Egress(Guard(LOOPBACK), timeout=6), tokens=tokens)


def sender(kind: WebhookKind, url: str, server: TokenServer, **fields: str) -> WebhookSender:
    """The sender of a subscription with these credentials."""
    target = {"kind": "webhook", "url": url, "auth": server.credentials(**fields)}
    kind.check(msgspec.convert(target, WebhookTarget))
    return kind.sender(make_subscription(target=target))


async def attempt(sending: WebhookSender) -> AttemptResult:
    return await sending.send(make_event(), new_id("dlv"), 1)


async def test_a_request_has_a_token_that_was_asked_for_as_the_target_says(
    kind: WebhookKind, resource: Resource, server: TokenServer
) -> None:
    sending = sender(
        kind, resource.url, server, scope="jobs:read jobs:write", audience="https://hook.example"
    )
    assert (await attempt(sending)).error is None

    assert server.asked == [
        {
            "grant_type": "client_credentials",
            "scope": "jobs:read jobs:write",
            "audience": "https://hook.example",
        }
    ]
    assert resource.tokens == ["token-1"]


async def test_attempts_and_subscriptions_with_the_same_credentials_share_a_token(
    kind: WebhookKind, resource: Resource, server: TokenServer
) -> None:
    server.replace = held = Held(server)
    senders = [sender(kind, resource.url, server) for _ in range(3)]
    waiting = asyncio.gather(*(attempt(one) for one in senders for _ in range(5)))
    await held.reached.wait()
    held.released.set()

    assert [one.error for one in await waiting] == [None] * 15
    assert server.issued == ["token-1"]
    assert set(resource.tokens) == {"token-1"}


async def test_other_scopes_have_another_token(
    kind: WebhookKind, resource: Resource, server: TokenServer
) -> None:
    for scope in ("read", "write", "read"):
        await attempt(sender(kind, resource.url, server, scope=scope))

    assert resource.tokens == ["token-1", "token-2", "token-1"]


async def test_a_digest_has_a_token_too(kind: WebhookKind, resource: Resource, server: TokenServer) -> None:
    sending = sender(kind, resource.url, server)
    result = await sending.send_digest([Gathered(new_id("dlv"), make_event(), None)], 1)

    assert (result.error, resource.tokens) == (None, ["token-1"])


async def test_a_token_is_renewed_before_it_ends_and_no_attempt_waits_for_it(
    kind: WebhookKind, resource: Resource, server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sending = sender(kind, resource.url, server)
    await attempt(sending)
    server.replace = held = Held(server)
    began = time.time()
    monkeypatch.setattr("time.time", lambda: began + 3600 - oauth2.MAX_MARGIN + 1)

    assert [(await attempt(sending)).error for _ in range(3)] == [None] * 3
    await held.reached.wait()
    assert resource.tokens == ["token-1"] * 4

    held.released.set()
    async with asyncio.timeout(10):
        while resource.tokens[-1] != "token-2":
            await attempt(sending)
    assert server.issued == ["token-1", "token-2"]


async def test_each_token_is_renewed_in_time_however_soon_after_the_last_one(
    kind: WebhookKind, resource: Resource, server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.lifetime = oauth2.RETRY_INTERVAL
    sending = sender(kind, resource.url, server)
    began = time.time()
    for number in range(1, 5):
        monkeypatch.setattr("time.time", lambda number=number: began + number * 0.9 * oauth2.RETRY_INTERVAL)
        await attempt(sending)
        async with asyncio.timeout(10):
            while resource.tokens[-1] != f"token-{number}":
                await attempt(sending)

    assert server.issued == ["token-1", "token-2", "token-3", "token-4"]


async def test_a_token_that_is_still_valid_is_used_while_it_cannot_be_renewed(
    kind: WebhookKind, resource: Resource, server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sending = sender(kind, resource.url, server)
    await attempt(sending)
    server.replace = answers(lambda: refusal(503, "temporarily_unavailable"))
    began = time.time()
    monkeypatch.setattr("time.time", lambda: began + 3600 - 5)

    assert [(await attempt(sending)).error for _ in range(3)] == [None] * 3
    await server.until(lambda arrived: len(arrived) == 2)
    assert resource.tokens == ["token-1"] * 4

    monkeypatch.setattr("time.time", lambda: began + 3600 + 5)
    assert "503 temporarily_unavailable" in ((await attempt(sending)).error or "")


async def test_an_expired_token_is_not_sent(
    kind: WebhookKind, resource: Resource, server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    sending = sender(kind, resource.url, server)
    await attempt(sending)
    began = time.time()
    monkeypatch.setattr("time.time", lambda: began + 3601)
    await attempt(sending)

    assert resource.tokens == ["token-1", "token-2"]


@pytest.mark.parametrize(
    ("lifetime", "issued_again"), [(None, False), ("3600", False), ("soon", False), (0, True), (-1, True)]
)
async def test_servers_say_in_several_ways_how_long_a_token_is_valid(
    kind: WebhookKind,
    resource: Resource,
    server: TokenServer,
    lifetime: float | str | None,
    issued_again: bool,
) -> None:
    server.lifetime = lifetime
    sending = sender(kind, resource.url, server)
    results = [await attempt(sending), await attempt(sending)]

    assert [one.error for one in results] == [None, None]
    assert (len(server.issued) == 2) == issued_again


async def test_no_token_is_used_for_longer_than_a_day(
    kind: WebhookKind, resource: Resource, server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.lifetime = 1e300
    sending = sender(kind, resource.url, server)
    await attempt(sending)
    began = time.time()
    monkeypatch.setattr("time.time", lambda: began + 86_401)
    await attempt(sending)

    assert resource.tokens == ["token-1", "token-2"]


# After 401


@pytest.fixture
def at_any_age(monkeypatch: pytest.MonkeyPatch) -> None:
    """Renew a token after 401 however new it is."""
    monkeypatch.setattr(oauth2, "MIN_AGE", 0)


@pytest.mark.usefixtures("at_any_age")
async def test_after_401_the_request_is_sent_once_more_with_a_new_token(
    kind: WebhookKind, resource: Resource, server: TokenServer
) -> None:
    resource.valid = {"token-2"}
    assert (await attempt(sender(kind, resource.url, server))).error is None

    assert resource.tokens == ["token-1", "token-2"]
    first, second = resource.arrived
    assert (first.id, first.body) == (second.id, second.body)


@pytest.mark.usefixtures("at_any_age")
async def test_it_is_sent_no_more_than_twice_and_no_token_is_shown(
    kind: WebhookKind, resource: Resource, server: TokenServer
) -> None:
    resource.valid = set()
    result = await attempt(sender(kind, resource.url, server))

    assert resource.tokens == ["token-1", "token-2"]
    assert (result.status, result.error, result.body) == (401, "answered 401 Unauthorized", "refused: ***")
    assert not result.is_destination_failure


async def test_a_token_that_was_just_issued_is_not_renewed_after_401(
    kind: WebhookKind, resource: Resource, server: TokenServer
) -> None:
    resource.valid = set()
    sending = sender(kind, resource.url, server)
    assert [(await attempt(sending)).status for _ in range(3)] == [401] * 3

    assert server.issued == ["token-1"]


async def test_without_a_token_it_is_the_subscriptions_fault_and_others_do_not_see_its_endpoint(
    kind: WebhookKind, resource: Resource, server: TokenServer
) -> None:
    server.replace = answers(lambda: refusal(400, "unauthorized_client"))
    result = await attempt(sender(kind, resource.url, server))

    assert result.concerns_subscription
    assert server.token_url in (result.error or "")
    assert server.token_url not in (result.destination_error or server.token_url)
    assert resource.arrived == []


@pytest.mark.usefixtures("at_any_age")
async def test_401_stands_when_there_is_no_newer_token(
    kind: WebhookKind, resource: Resource, server: TokenServer
) -> None:
    sending = sender(kind, resource.url, server)
    await attempt(sending)
    resource.valid = set()
    server.replace = answers(lambda: refusal(400, "unauthorized_client"))
    result = await attempt(sending)

    assert result.status == 401
    assert (result.error or "").startswith("answered 401 Unauthorized; no access token: ")
    assert "400 unauthorized_client" in (result.error or "")


@pytest.mark.usefixtures("at_any_age")
async def test_401_counts_when_the_target_wants_it(
    kind: WebhookKind, resource: Resource, server: TokenServer
) -> None:
    resource.valid = set()
    target = {
        "kind": "webhook",
        "url": resource.url,
        "auth": server.credentials(),
        "success": {"status": [401]},
    }
    assert (await attempt(kind.sender(make_subscription(target=target)))).error is None
    assert resource.tokens == ["token-1"]


# Several processes


async def test_processes_have_one_token(postgres_url: str, resource: Resource, server: TokenServer) -> None:
    server.replace = held = Held(server)
    async with prepared_store(postgres_url, SEALER) as one, prepared_store(postgres_url, SEALER) as two:
        kinds = [webhooks(store.oauth_tokens) for store in (one, two)]
        senders = [sender(kind, resource.url, server) for kind in kinds]
        waiting = asyncio.gather(*map(attempt, senders))
        await held.reached.wait()
        held.released.set()
        results = await waiting
        for kind in kinds:
            await kind.close()

    assert [one.error for one in results] == [None, None]
    assert server.issued == ["token-1"]
    assert resource.tokens == ["token-1", "token-1"]


async def test_while_one_process_renews_a_token_the_others_use_the_old_one_and_seldom_look(
    store: Store, resource: Resource, server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = Counting(store.oauth_tokens)
    first, second = webhooks(store.oauth_tokens), webhooks(tokens)
    senders = [sender(kind, resource.url, server) for kind in (first, second)]
    for one in senders:
        await attempt(one)
    server.replace = held = Held(server)
    began = time.time()
    monkeypatch.setattr("time.time", lambda: began + 3600 - oauth2.MAX_MARGIN + 1)
    await attempt(senders[0])
    await held.reached.wait()
    before = tokens.looks
    await attempt(senders[1])
    await tokens.refused.wait()
    for _ in range(20):
        await attempt(senders[1])
    looks = tokens.looks - before
    held.released.set()
    for kind in (first, second):
        await kind.close()

    assert set(resource.tokens) == {"token-1"}
    assert looks == 1


async def test_a_token_of_a_short_life_is_looked_for_again_while_the_old_one_is_valid(
    store: Store, resource: Resource, server: TokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.lifetime = 10
    tokens = Counting(store.oauth_tokens)
    first, second = webhooks(store.oauth_tokens), webhooks(tokens)
    senders = [sender(kind, resource.url, server) for kind in (first, second)]
    for one in senders:
        await attempt(one)
    server.replace = held = Held(server)
    began = time.time()
    monkeypatch.setattr("time.time", lambda: began + 8.1)
    await attempt(senders[0])
    await held.reached.wait()
    await attempt(senders[1])
    await tokens.refused.wait()
    held.released.set()
    async with asyncio.timeout(10):
        while resource.tokens[-1] != "token-2":
            await attempt(senders[0])
        monkeypatch.setattr("time.time", lambda: began + 8.7)
        resource.arrived.clear()
        await attempt(senders[1])
        while resource.tokens[-1] != "token-2":
            await attempt(senders[1])
    for kind in (first, second):
        await kind.close()

    assert server.issued == ["token-1", "token-2"]


class Counting:
    """Counts how often a process looks into the store."""

    def __init__(self, tokens: OAuthTokens) -> None:
        self._tokens = tokens
        self.finish = tokens.finish
        self.looks = 0
        self.refused = asyncio.Event()

    async def begin(self, credentials: bytes, seconds: float) -> bool:
        turn = await self._tokens.begin(credentials, seconds)
        if not turn:
            self.refused.set()
        return turn

    async def read(self, credentials: bytes) -> bytes | None:
        self.looks += 1
        return await self._tokens.read(credentials)


@pytest.mark.usefixtures("at_any_age")
async def test_a_token_that_one_process_renewed_is_the_others_after_401(
    store: Store, resource: Resource, server: TokenServer
) -> None:
    kinds = [webhooks(store.oauth_tokens) for _ in range(3)]
    senders = [sender(kind, resource.url, server) for kind in kinds]
    for one in senders:
        await attempt(one)
    resource.valid = {"token-2"}
    results = [await attempt(one) for one in senders]
    for kind in kinds:
        await kind.close()

    assert [one.error for one in results] == [None] * 3
    assert server.issued == ["token-1", "token-2"]


async def test_a_process_that_starts_uses_the_token_that_is_there(
    store: Store, resource: Resource, server: TokenServer
) -> None:
    for _ in range(2):
        kind = webhooks(store.oauth_tokens)
        await attempt(sender(kind, resource.url, server))
        await kind.close()

    assert resource.tokens == ["token-1", "token-1"]


async def test_another_process_asks_when_the_first_got_none(
    store: Store, resource: Resource, server: TokenServer
) -> None:
    first, second = webhooks(store.oauth_tokens), webhooks(store.oauth_tokens)
    server.replace = answers(lambda: refusal(503, "temporarily_unavailable"))
    assert (await attempt(sender(first, resource.url, server))).error is not None
    server.replace = None
    assert (await attempt(sender(second, resource.url, server))).error is None
    for kind in (first, second):
        await kind.close()


# The store


class Away:
    """A store that is away when it should `read`, or `finish`."""

    def __init__(self, tokens: OAuthTokens, method: str) -> None:
        self._tokens = tokens
        self.begin = tokens.begin
        self.read, self.finish = tokens.read, tokens.finish
        setattr(self, method, self._fail)

    async def _fail(self, *_: object) -> None:
        raise StoreUnavailable("the database is away")


async def test_without_the_store_no_token_is_asked_for(
    store: Store, resource: Resource, server: TokenServer
) -> None:
    kind = webhooks(Away(store.oauth_tokens, "read"))
    with pytest.raises(StoreUnavailable):
        await attempt(sender(kind, resource.url, server))
    await kind.close()

    assert server.arrived == []


async def test_a_token_that_cannot_be_stored_is_used(
    store: Store, resource: Resource, server: TokenServer
) -> None:
    kind = webhooks(Away(store.oauth_tokens, "finish"))
    sending = sender(kind, resource.url, server)
    assert [(await attempt(sending)).error for _ in range(2)] == [None, None]
    await kind.close()

    assert server.issued == ["token-1"]


async def test_an_attempt_that_is_cancelled_leaves_the_token_to_the_others(
    kind: WebhookKind, resource: Resource, server: TokenServer
) -> None:
    server.replace = held = Held(server)
    sending = sender(kind, resource.url, server)
    first, second = (asyncio.create_task(attempt(sending)) for _ in range(2))
    await held.reached.wait()
    first.cancel()
    await asyncio.wait({first})
    held.released.set()

    assert (await second).error is None
    assert server.issued == ["token-1"]


async def test_closing_ends_what_asks_and_lets_other_processes_ask(
    store: Store, resource: Resource, server: TokenServer
) -> None:
    server.replace = held = Held(server)
    kind = webhooks(store.oauth_tokens)
    sending = sender(kind, resource.url, server)
    waiting = asyncio.create_task(attempt(sending))
    await held.reached.wait()
    await kind.close()
    await asyncio.wait({waiting})
    server.replace = None
    other = webhooks(store.oauth_tokens)

    assert (await attempt(sender(other, resource.url, server))).error is None
    await other.close()
    held.released.set()


# The way to the token endpoint


async def test_the_token_endpoint_is_behind_the_same_guard(resource: Resource, server: TokenServer) -> None:
    """Only its name is looked up to what is blocked, so nothing is seen when the target is made."""
    allowed = [network for network in LOOPBACK if network.version == 6]
    kind = WebhookKind(Egress(Guard(allowed)))
    target = {
        "kind": "webhook",
        "url": "https://hook.example",
        "auth": server.credentials(token_url=server.token_url),
    }
    result = await attempt(kind.sender(make_subscription(target=target)))
    await kind.close()

    assert "network.allow does not name it" in (result.error or "")
    assert server.arrived == []


async def test_a_token_is_asked_for_through_the_proxy(resource: Resource, server: TokenServer) -> None:
    async with proxy({"auth.example": "127.0.0.1", "hook.example": "127.0.0.1"}) as running:
        kind = WebhookKind(Egress(Guard(), proxy=running.url))
        token_url, url = on_port(server, "auth.example") + "token", on_port(resource, "hook.example")
        result = await attempt(sender(kind, url, server, token_url=token_url))
        await kind.close()

    assert result.error is None
    assert running.asked == [f"POST {token_url}", f"POST {url}"]
