"""Requests for tokens: where the credentials stand, which responses are none, and what a failure says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import msgspec
import pytest
from aiohttp import web

from dispatcher.http import Exchange, HttpClient
from dispatcher.targets.http.auth import AuthFailed, OAuth2Auth
from dispatcher.targets.http.token_endpoint import MAX_TOKEN, UNKNOWN_LIFETIME, Issued, TokenEndpoint
from dispatcher.targets.ssrf_guard import Guard
from tests.http.requests import LOOPBACK
from tests.http.servers import answering, hang, raw_server
from tests.targets.http.token_server import CLIENT_SECRET, Place, TokenServer, answers, refusal


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    """Yield a client that gives up after 0.5 s."""
    client = HttpClient(Guard(LOOPBACK), timeout=0.5)
    yield client
    await client.close()


@pytest.fixture
async def server() -> AsyncIterator[TokenServer]:
    """Yield an authorization server."""
    async with TokenServer() as server:
        yield server


def endpoint(exchange: Exchange, server: TokenServer, **fields: str) -> TokenEndpoint:
    return TokenEndpoint(exchange, msgspec.convert(server.credentials(**fields), OAuth2Auth))


async def failure(exchange: Exchange, server: TokenServer, **fields: str) -> str:
    """What the failure of a request says that must fail."""
    with pytest.raises(AuthFailed) as caught:
        await endpoint(exchange, server, **fields).ask()
    return str(caught.value)


@pytest.mark.parametrize(("place", "requests"), [("header", 2), ("body", 3)])
async def test_credentials_go_where_the_server_wants_them_which_is_remembered(
    exchange: Exchange, place: Place, requests: int
) -> None:
    async with TokenServer(place) as server:
        asked = endpoint(exchange, server)
        assert [await asked.ask() for _ in range(2)] == [Issued("token-1", 3600), Issued("token-2", 3600)]

        assert len(server.arrived) == requests


async def test_a_wrong_secret_is_tried_in_both_places_and_no_further(
    exchange: Exchange, server: TokenServer
) -> None:
    said = await failure(exchange, server, client_secret="another secret")

    assert said == f"no access token: {server.token_url} answered 401 invalid_client"
    assert len(server.arrived) == 2


async def test_what_has_nothing_to_do_with_the_credentials_is_tried_once(
    exchange: Exchange, server: TokenServer
) -> None:
    server.replace = answers(lambda: refusal(400, "invalid_scope"))
    said = await failure(exchange, server, scope="nothing")

    assert said == f"no access token: {server.token_url} answered 400 invalid_scope"
    assert len(server.arrived) == 1


async def test_what_is_null_is_not_there(exchange: Exchange, server: TokenServer) -> None:
    answer = {"access_token": "abc", "token_type": None, "expires_in": None, "error": None, "scope": None}
    server.replace = answers(_json(answer))

    assert await endpoint(exchange, server).ask() == Issued("abc", UNKNOWN_LIFETIME)


def _json(document: object, status: int = 200) -> Callable[[], web.Response]:
    return lambda: web.json_response(document, status=status)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (_json({"access_token": "abc", "token_type": "mac"}), "expected one of type Bearer"),
        (_json({"access_token": ""}), "answered 200, and expected is JSON with access_token"),
        (_json({"access_token": 7}), "answered 200, and expected is JSON with access_token"),
        (_json([1, 2]), "answered 200, and expected is JSON with access_token"),
        (_json({"error": "bad_verification_code"}), "answered 200 bad_verification_code"),
        (_json({"access_token": "a b"}), "visible ASCII characters"),
        (_json({"access_token": "a\r\nX: b"}), "visible ASCII characters"),
        (_json({"access_token": "a" * (MAX_TOKEN + 1)}), f"at most {MAX_TOKEN}"),
        (_json({"access_token": "abc", "padding": "x" * 65536}), "answered 200, and expected is JSON"),
        (lambda: web.Response(text="<html>"), "answered 200, and expected is JSON"),
        (lambda: web.Response(text="[" * 50_000), "answered 200, and expected is JSON"),
        (lambda: web.Response(status=302, headers={"Location": "/"}), "answered 302: redirects are not"),
        (lambda: web.Response(status=503, text="<html>"), "answered 503"),
        (lambda: refusal(400, f"wrong_{CLIENT_SECRET}"), "answered 400"),
        (lambda: refusal(400, "a\r\nb"), "answered 400"),
        (lambda: refusal(403, "x" * 65), "answered 403"),
    ],
)
async def test_what_is_no_token_is_said_with_the_endpoint_and_without_the_secret(
    exchange: Exchange, server: TokenServer, answer: Callable[[], web.Response], said: str
) -> None:
    server.replace = answers(answer)
    found = await failure(exchange, server)

    assert found.startswith(
        f"no access token{' from' if 'expected one' in said or 'most' in found else ':'} "
    )
    assert server.token_url in found
    assert said in found
    assert CLIENT_SECRET not in found
    assert len(found) < 200


async def test_a_secret_that_looks_like_an_error_code_is_not_repeated(
    exchange: Exchange, server: TokenServer
) -> None:
    server.replace = None
    server.answer = lambda _: answers(lambda: refusal(401, "hunter22"))()
    assert "hunter22" not in await failure(exchange, server, client_secret="hunter22")


async def test_a_secret_in_the_address_is_not_shown(exchange: Exchange, server: TokenServer) -> None:
    server.answer = lambda _: answers(lambda: refusal(503, "temporarily_unavailable"))()
    said = await failure(exchange, server, token_url=f"{server.token_url}?policy=a&api_key=hunter22")

    assert f"{server.token_url}?policy=a&api_key=*** answered 503" in said


async def test_an_endpoint_that_does_not_answer_is_given_up(exchange: Exchange, server: TokenServer) -> None:
    async with raw_server(answering(then=hang)) as url:
        said = await failure(exchange, server, token_url=f"{url}/token")
    assert said == f"no access token from {url}/token: no answer within 0.5 s"


async def test_an_endpoint_that_cannot_be_reached_is_named(exchange: Exchange, server: TokenServer) -> None:
    said = await failure(exchange, server, token_url="http://127.0.0.1:1/token")
    assert said.startswith("no access token from http://127.0.0.1:1/token: ")
