"""Access tokens of OAuth 2.0 for targets: all processes use one, and one of them renews it before it expires.

The token is in the store (docs/decisions/0042), and in the memory of each process while it is valid.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from weakref import WeakValueDictionary

import msgspec
from msgspec import Struct

from dispatcher.domain.errors import StoreUnavailable
from dispatcher.domain.targets import OAuthTokens
from dispatcher.targets.http.auth import HIDDEN, AuthFailed, OAuth2Auth
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.http.token_endpoint import Issued, TokenEndpoint

MAX_MARGIN = 60.0
"""Seconds before its end from which on a token is renewed, or a fifth of its lifetime where that is less."""

MIN_AGE = 10.0
"""Seconds: a younger token that a receiver refuses is not renewed, because another one would not help."""

RETRY_INTERVAL = 5.0
"""Seconds between two attempts to renew a token that is still valid; less where it is valid for a short time."""

POLL_INTERVAL = 0.2
"""Seconds between two looks at whether another process has got a token."""


class Token(Struct, frozen=True):
    """An access token with its times (unix seconds)."""

    value: str
    issued_at: float
    renew_at: float
    expires_at: float

    @classmethod
    def of(cls, issued: Issued, now: float) -> Token:
        """The token that was issued `now`."""
        ends = now + issued.lifetime
        return cls(issued.value, now, ends - min(MAX_MARGIN, issued.lifetime / 5), ends)

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.value}"}

    def __repr__(self) -> str:
        return f"Token({HIDDEN})"


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Token).decode


class OAuth2:
    """Makes what authenticates with OAuth 2.0; those with the same credentials share a token.

    Requests for tokens go through the same egress as deliveries: the same guard, proxy and trust. Without a
    store (where nothing is delivered) a token is in memory only.
    """

    def __init__(self, egress: Egress, store: OAuthTokens | None) -> None:
        self._timeout = egress.timeout
        self._exchange = egress.client(egress.timeout / 3)
        self._store = store or _NoStore()
        self._known: WeakValueDictionary[OAuth2Auth, ClientCredentials] = WeakValueDictionary()

    def auth(self, credentials: OAuth2Auth) -> ClientCredentials:
        """What authenticates with these."""
        known = self._known.get(credentials)
        if known is None:
            endpoint = TokenEndpoint(self._exchange, credentials)
            known = ClientCredentials(credentials, endpoint, self._store, self._timeout)
            self._known[credentials] = known
        return known

    async def close(self) -> None:
        """Stop asking, and close connections."""
        for one in list(self._known.values()):
            await one.close()
        await self._exchange.close()


class ClientCredentials:
    """An `Auth`: the token of one client. Half of `timeout` (seconds) is what an attempt waits for it at most."""

    fixed = None
    header_names = ("Authorization",)

    def __init__(
        self, credentials: OAuth2Auth, endpoint: TokenEndpoint, store: OAuthTokens, timeout: float
    ) -> None:
        self._key = msgspec.json.encode(credentials)
        self._endpoint = endpoint
        self._store = store
        self._timeout = timeout
        self._token: Token | None = None
        self._refused = ""
        self._asking: asyncio.Task[Token] | None = None
        self._next_renewal = 0.0

    async def headers(self, now: float) -> Mapping[str, str]:
        """The token at `now`. Near its end it is renewed meanwhile, and waited for when it has expired."""
        token = self._token
        if token is None or now >= token.expires_at:
            token = await self._next_token()
        elif now >= token.renew_at and now >= self._next_renewal:
            self._next_renewal = now + min(RETRY_INTERVAL, (token.expires_at - token.renew_at) / 4)
            self._renewal()
        return token.headers

    async def renewed(self, refused: Mapping[str, str], now: float) -> Mapping[str, str] | None:
        """A newer token than the one that was refused, unless that one is so new that it would be of no use."""
        token = self._token
        if token is None or token.headers == refused:
            if token is not None:
                if now - token.issued_at < MIN_AGE and now < token.renew_at:
                    return None
                self._refused = token.value
            token = await self._next_token()
        return None if token.headers == refused else token.headers

    async def close(self) -> None:
        """Stop asking."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait({self._asking})

    async def _next_token(self) -> Token:
        """The token that is asked for, once for all attempts that wait; the end of one of them does not end it."""
        return await asyncio.shield(self._renewal())

    def _renewal(self) -> asyncio.Task[Token]:
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
            self._asking.add_done_callback(self._asked)
        return self._asking

    def _asked(self, task: asyncio.Task[Token]) -> None:
        self._asking = None
        if not task.cancelled() and task.exception() is None:
            self._token = task.result()
            # Else another process is renewing it.
            if self._token.renew_at > time.time():
                self._next_renewal = 0.0

    async def _ask(self) -> Token:
        try:
            async with asyncio.timeout(self._timeout / 2):
                return await self._next()
        except TimeoutError:
            raise AuthFailed(
                f"no access token from {self._endpoint.shown} within {self._timeout / 2:g} s"
            ) from None

    async def _next(self) -> Token:
        """The token of another process, or a new one when it is this one's turn to ask. Raises StoreUnavailable."""
        while True:
            stored = await self._stored()
            if stored is not None and time.time() < stored.renew_at:
                return stored
            if await self._store.begin(self._key, self._timeout):
                break
            if stored is not None and time.time() < stored.expires_at:
                return stored  # it is being renewed
            await asyncio.sleep(POLL_INTERVAL)
        return await self._ask_endpoint()

    async def _ask_endpoint(self) -> Token:
        token = None
        try:
            # It may have come between the look and the turn.
            stored = await self._stored()
            if stored is not None and time.time() < stored.renew_at:
                return stored
            token = Token.of(await self._endpoint.ask(), time.time())
            return token
        finally:
            await self._finish(token)

    async def _finish(self, token: Token | None) -> None:
        until = datetime.fromtimestamp(time.time() if token is None else token.expires_at, UTC)
        try:
            await self._store.finish(self._key, None if token is None else _encode(token), until)
        except StoreUnavailable:
            if token is None:
                raise
            # It is good here; the others ask when this process's turn has ended.

    async def _stored(self) -> Token | None:
        found = await self._store.read(self._key)
        token = None if found is None else _decode(found)
        return None if token is None or token.value == self._refused else token


class _NoStore:
    """For one process."""

    async def read(self, credentials: bytes) -> None:
        return None

    async def begin(self, credentials: bytes, seconds: float) -> bool:
        return True

    async def finish(self, credentials: bytes, token: bytes | None, until: datetime) -> None: ...
