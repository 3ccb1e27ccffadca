"""An authorization server for tests: the client credentials grant, checked as strictly as RFC 6749 wants it.

It refuses credentials in two places, those in the place for which the client is not registered, and fields that are
there twice.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Literal
from urllib.parse import parse_qs, unquote_plus

import msgspec
from aiohttp import web

from tests.receiver import Arrived, Receiver

Place = Literal["header", "body"]
CLIENT, CLIENT_SECRET = "dispatcher", "s3cret: of the+client"
"""An id, and a secret that has to be encoded before it stands in a header or a form."""


class TokenServer(Receiver):
    """Issues `token-1`, `token-2`, … that are valid for `lifetime` seconds, to the client above."""

    def __init__(self, place: Place = "header", lifetime: float | str | None = 3600) -> None:
        super().__init__(self._answer)
        self.place = place
        self.lifetime = lifetime
        self.replace: Callable[[], Awaitable[web.Response]] | None = None
        """What it does in the place of issuing a token."""
        self.issued: list[str] = []
        self.asked: list[dict[str, str]] = []
        """The fields of each request that it could read, without the credentials."""
        self._numbers = count(1)

    @property
    def token_url(self) -> str:
        """The token endpoint."""
        return f"{self.url}/token"

    def credentials(self, **fields: str) -> dict[str, str]:
        """What stands in a target's `auth`."""
        return {
            "type": "oauth2",
            "token_url": self.token_url,
            "client_id": CLIENT,
            "client_secret": CLIENT_SECRET,
        } | fields

    async def _answer(self, arrived: Arrived) -> web.Response:
        assert (arrived.method, arrived.path) == ("POST", "/token")
        assert arrived.headers["content-type"] == "application/x-www-form-urlencoded"
        fields = parse_qs(arrived.body.decode(), keep_blank_values=True, strict_parsing=True)
        if any(len(values) > 1 for values in fields.values()):
            return refusal(400, "invalid_request")
        found = _credentials(arrived, fields)
        if found != {self.place: (CLIENT, CLIENT_SECRET)}:
            return refusal(401, "invalid_client")
        self.asked.append({name: value for name, [value] in fields.items() if not name.startswith("client_")})
        if fields["grant_type"] != ["client_credentials"]:
            return refusal(400, "unsupported_grant_type")
        return await (self.replace or self.issue)()

    async def issue(self) -> web.Response:
        """A token."""
        self.issued.append(f"token-{next(self._numbers)}")
        answer = {"access_token": self.issued[-1], "token_type": "bearer", "expires_in": self.lifetime}
        return web.json_response({name: value for name, value in answer.items() if value is not None})


class Resource(Receiver):
    """A receiver that wants one of the tokens which it was given; with none it takes any."""

    def __init__(self) -> None:
        super().__init__(self._check)
        self.valid: set[str] | None = None

    @property
    def tokens(self) -> list[str]:
        """The token of each request."""
        return [one.headers["authorization"].removeprefix("Bearer ") for one in self.arrived]

    async def _check(self, arrived: Arrived) -> web.Response:
        scheme, _, token = arrived.headers.get("authorization", "").partition(" ")
        assert scheme == "Bearer"
        good = self.valid is None or token in self.valid
        return web.Response(status=204 if good else 401, text=None if good else f"refused: {token}")


def refusal(status: int, code: str) -> web.Response:
    """An error of RFC 6749, section 5.2."""
    return web.Response(status=status, body=msgspec.json.encode({"error": code}))


def answers(make: Callable[[], web.Response]) -> Callable[[], Awaitable[web.Response]]:
    """What is for `TokenServer.replace`: this answer."""

    async def answer() -> web.Response:
        return make()

    return answer


class Held:
    """Holds requests for tokens until it is released; `reached` says that one is there."""

    def __init__(self, server: TokenServer) -> None:
        self._server = server
        self.reached, self.released = asyncio.Event(), asyncio.Event()

    async def __call__(self) -> web.Response:
        self.reached.set()
        await self.released.wait()
        return await self._server.issue()


def _credentials(arrived: Arrived, fields: dict[str, list[str]]) -> dict[Place, tuple[str, str]]:
    found: dict[Place, tuple[str, str]] = {}
    scheme, _, encoded = arrived.headers.get("authorization", "").partition(" ")
    if scheme == "Basic":
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        found["header"] = (unquote_plus(user), unquote_plus(password))
    if "client_secret" in fields:
        found["body"] = (fields["client_id"][0], fields["client_secret"][0])
    return found
