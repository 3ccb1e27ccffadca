"""Requests for access tokens: the client credentials grant of OAuth 2.0 (RFC 6749, section 4.4)."""

from __future__ import annotations

import base64
import re
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import quote_plus, urlencode

import msgspec
from msgspec import Struct
from yarl import URL

from dispatcher.http import Exchange, Request, Response, TransportError
from dispatcher.targets.http.auth import AuthFailed, OAuth2Auth, hide_in_url

MAX_LIFETIME = 86_400.0
"""Seconds that a token is used at most, whatever the server says of it."""

UNKNOWN_LIFETIME = 3600.0
"""Seconds that a token is used of which the server does not say for how long it is valid."""

MAX_TOKEN = 16_384

_TOKEN = re.compile(r"[\x21-\x7e]+")
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_MAX_SHOWN = 200
_OTHER_WAY = (None, "invalid_client", "invalid_request")
"""Error codes that a server may have for credentials in the wrong place."""


class Issued(NamedTuple):
    """A token, and the seconds for which it is valid."""

    value: str
    lifetime: float


class _Answer(Struct, frozen=True):
    """The fields of both responses of RFC 6749, sections 5.1 and 5.2. Some servers send a number as a text, or null."""

    access_token: str | None = None
    token_type: str | None = None
    expires_in: float | str | None = None
    error: str | None = None


_decode = msgspec.json.Decoder(_Answer).decode


class TokenEndpoint:
    """The token endpoint of one client.

    The credentials go into the header, as every server has to understand it, and into the body where that is refused:
    servers register a client for one of the two, and do not say for which.
    """

    def __init__(self, exchange: Exchange, credentials: OAuth2Auth) -> None:
        self._exchange = exchange
        self._credentials = credentials
        self._url = URL(credentials.token_url)
        self._in_body = False
        self.shown = hide_in_url(credentials.token_url)[:_MAX_SHOWN]
        """Its address as an error may name it."""

    async def ask(self) -> Issued:
        """A new token. Raises AuthFailed."""
        response = await self._post(self._in_body)
        if self._refuses_client(response):
            other = await self._post(not self._in_body)
            if not self._refuses_client(other):
                response, self._in_body = other, not self._in_body
        return self._issued(response)

    async def _post(self, in_body: bool) -> Response:
        client = self._credentials
        fields = {"grant_type": "client_credentials", "scope": client.scope, "audience": client.audience}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if in_body:
            fields |= {"client_id": client.client_id, "client_secret": client.client_secret}
        else:
            pair = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        body = urlencode({name: value for name, value in fields.items() if value is not None})
        try:
            return await self._exchange.send(Request.build("POST", self._url, headers, body.encode()))
        except TransportError as error:
            raise AuthFailed(f"no access token from {self.shown}: {error}") from error

    def _refuses_client(self, response: Response) -> bool:
        if response.status == HTTPStatus.UNAUTHORIZED:
            return True
        return response.status == HTTPStatus.BAD_REQUEST and self._code(_answer(response)) in _OTHER_WAY

    def _issued(self, response: Response) -> Issued:
        answer = _answer(response)
        if response.status != HTTPStatus.OK or not answer.access_token:
            raise self._failure(response, answer)
        if (answer.token_type or "bearer").lower() != "bearer":
            raise AuthFailed(f"no access token from {self.shown}: expected one of type Bearer")
        if len(answer.access_token) > MAX_TOKEN or not _TOKEN.fullmatch(answer.access_token):
            raise AuthFailed(
                f"no access token from {self.shown}: expected at most {MAX_TOKEN} visible ASCII characters"
            )
        return Issued(answer.access_token, _lifetime(answer.expires_in))

    def _failure(self, response: Response, answer: _Answer) -> AuthFailed:
        code = self._code(answer)
        said = f"answered {response.status}" if code is None else f"answered {response.status} {code}"
        if response.status == HTTPStatus.OK and code is None:
            said += ", and expected is JSON with access_token (RFC 6749, section 5.1)"
        elif 300 <= response.status < 400:
            said += ": redirects are not followed"
        return AuthFailed(f"no access token: {self.shown} {said}")

    def _code(self, answer: _Answer) -> str | None:
        """The error code of RFC 6749, section 5.2, unless it is none or repeats the secret."""
        code = answer.error or ""
        return code if _CODE.fullmatch(code) and self._credentials.client_secret not in code else None


def _answer(response: Response) -> _Answer:
    if not response.complete:
        return _Answer()
    try:
        return _decode(response.body)
    except (msgspec.DecodeError, RecursionError):
        return _Answer()


def _lifetime(expires_in: float | str | None) -> float:
    try:
        seconds = UNKNOWN_LIFETIME if expires_in is None else float(expires_in)
    except ValueError:
        return UNKNOWN_LIFETIME
    # Not a number fails both comparisons.
    return min(seconds, MAX_LIFETIME) if seconds >= 0 else 0.0
