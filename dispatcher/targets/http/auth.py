"""Authentication of HTTP targets: credentials, the headers that carry them, and how all else leaves them out."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Annotated, Protocol, TypeAlias

import msgspec
from msgspec import Meta, Struct

from dispatcher.domain.errors import InvalidInput

HIDDEN = "***"
"""What is shown in the place of a credential."""

_SECRET_NAME = re.compile(r"auth|cookie|credential|key|pass|pwd|secret|sig(nature)?$|token", re.IGNORECASE)
_PARAMETER = re.compile(r"(?<=[?&])([^=&#]*)=([^&#]+)")
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_PRINTABLE = re.compile(r"[\x20-\x7e]+")
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Shorter ones would tear holes into texts that have nothing to do with them.
_MIN_SCRUBBED = 4

_Text = Annotated[str, Meta(min_length=1, max_length=8192)]


class _Credential(Struct, frozen=True, forbid_unknown_fields=True, tag_field="type"):
    def __repr__(self) -> str:
        return f"{type(self).__name__}({HIDDEN})"


class BearerAuth(_Credential, frozen=True, tag="bearer"):
    """`Authorization: Bearer <token>` (RFC 6750)."""

    token: _Text


class BasicAuth(_Credential, frozen=True, tag="basic"):
    """`Authorization: Basic …` (RFC 7617), in UTF-8."""

    user: _Text
    password: Annotated[str, Meta(max_length=8192)]


class HeaderAuth(_Credential, frozen=True, tag="header"):
    """A header of any name."""

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    value: _Text


class OAuth2Auth(_Credential, frozen=True, tag="oauth2"):
    """`Authorization: Bearer <token>` with a token of OAuth 2.0 for the client itself (RFC 6749, section 4.4).

    It is asked for at `token_url`, renewed before it expires, and once when the receiver responds with 401. `scope`
    are names with spaces between them. `audience` is for servers that want to be informed for whom the token is.
    """

    token_url: Annotated[str, Meta(min_length=1, max_length=2048)]
    client_id: Annotated[str, Meta(min_length=1, max_length=1024)]
    client_secret: _Text
    scope: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None
    audience: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None


StaticCredentials: TypeAlias = BearerAuth | BasicAuth | HeaderAuth
"""What is the same at each attempt."""

Credentials: TypeAlias = StaticCredentials | OAuth2Auth
"""What stands in a target's `auth`."""


class AuthFailed(Exception):
    """There are no headers for an attempt; the message says why, without a secret. The attempt can be repeated."""


class Auth(Protocol):
    """Authenticates the requests of one target."""

    @property
    def fixed(self) -> Mapping[str, str] | None:
        """The headers when all attempts have the same: they are serialized once, and `headers` is not called."""
        ...

    @property
    def header_names(self) -> Collection[str]:
        """The headers that it sets, which nothing else may set."""
        ...

    async def headers(self, now: float) -> Mapping[str, str]:
        """The headers of an attempt at `now` (unix seconds). Raises AuthFailed.

        It may wait, as for a new token, and limits that itself: an attempt takes that much longer.
        """
        ...

    async def renewed(self, refused: Mapping[str, str], now: float) -> Mapping[str, str] | None:
        """Other headers for the same attempt, after the receiver responded with 401 to these; None: there are none.

        Raises AuthFailed. Not called where the headers are `fixed`.
        """
        ...


class StaticAuth:
    """Credentials that stand in the target."""

    def __init__(self, credentials: StaticCredentials) -> None:
        self.fixed: Mapping[str, str] = dict([_header(credentials)])
        self.header_names = tuple(self.fixed)

    async def headers(self, now: float) -> Mapping[str, str]:
        """The same at any time."""
        return self.fixed

    async def renewed(self, refused: Mapping[str, str], now: float) -> None:
        """None: there are no others."""


def auth_of(credentials: Credentials | None, oauth2: Callable[[OAuth2Auth], Auth]) -> Auth | None:
    """What authenticates with these credentials; `oauth2` makes it for those of OAuth 2.0."""
    if isinstance(credentials, OAuth2Auth):
        return oauth2(credentials)
    return None if credentials is None else StaticAuth(credentials)


def header_name(credentials: Credentials) -> str:
    """The name of the header that carries them."""
    return credentials.name if isinstance(credentials, HeaderAuth) else "Authorization"


def _header(auth: StaticCredentials) -> tuple[str, str]:
    if isinstance(auth, BearerAuth):
        return "Authorization", f"Bearer {auth.token}"
    if isinstance(auth, BasicAuth):
        return "Authorization", f"Basic {base64.b64encode(f'{auth.user}:{auth.password}'.encode()).decode()}"
    return auth.name, auth.value


def check_auth(auth: Credentials, field: str) -> None:
    """Raise InvalidInput, naming the part of `field` that cannot stand in a header, but not its value."""
    if isinstance(auth, BearerAuth):
        check_token(auth.token, f"{field}.token")
    elif isinstance(auth, BasicAuth):
        refuse_hidden(auth.password, f"{field}.password")
        if ":" in auth.user:
            raise InvalidInput(f"{field}.user", 'expected no ":", which ends the user (RFC 7617)')
    elif isinstance(auth, OAuth2Auth):
        check_url(auth.token_url, f"{field}.token_url")
        refuse_hidden(auth.client_secret, f"{field}.client_secret")
        if auth.scope is not None:
            _check(
                _SCOPE, auth.scope, f"{field}.scope", "names of scopes with one space between them (RFC 6749)"
            )
    else:
        check_header_name(auth.name, f"{field}.name")
        refuse_hidden(auth.value, f"{field}.value")
        _check(_PRINTABLE, auth.value, f"{field}.value", "printable ASCII characters")


def check_token(token: str, field: str) -> None:
    """Raise InvalidInput when it cannot stand after "Bearer " in a header."""
    refuse_hidden(token, field)
    _check(_VISIBLE, token, field, "visible ASCII characters without spaces")


def refuse_hidden(value: str, field: str) -> None:
    """Raise InvalidInput when somebody sends back what was shown instead of a credential."""
    if value == HIDDEN:
        raise InvalidInput(field, f"{HIDDEN} only stands for a credential where it is shown: expected itself")


def check_url(url: str, field: str) -> None:
    """Raise InvalidInput when a parameter that looks secret has the value that is shown instead of it."""
    for name, value in _PARAMETER.findall(url):
        if looks_secret(name):
            refuse_hidden(value, field)


def check_header_name(name: str, field: str) -> None:
    """Raise InvalidInput when no header can have this name (RFC 9110, section 5.6.2)."""
    if not _HEADER_NAME.fullmatch(name):
        raise InvalidInput(field, f"{name!a} is no header name: expected letters, digits and !#$%&'*+-.^_`|~")


def looks_secret(name: str) -> bool:
    """Whether a header or parameter of this name is likely to hold a credential."""
    return _SECRET_NAME.search(name) is not None


def hide_in_url(url: str) -> str:
    """The URL with the values of parameters that look secret hidden."""
    return _PARAMETER.sub(lambda p: f"{p[1]}={HIDDEN if looks_secret(p[1]) else p[2]}", url)


def hide_in_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers with the values of those that look secret hidden."""
    return {name: HIDDEN if looks_secret(name) else value for name, value in headers.items()}


def hide_in_auth(auth: Credentials) -> dict[str, object]:
    """What may be shown of it."""
    if isinstance(auth, BearerAuth):
        return {"type": "bearer", "token": HIDDEN}
    if isinstance(auth, BasicAuth):
        return {"type": "basic", "user": auth.user, "password": HIDDEN}
    if isinstance(auth, OAuth2Auth):
        shown: dict[str, object] = msgspec.to_builtins(auth)
        return shown | {"token_url": hide_in_url(auth.token_url), "client_secret": HIDDEN}
    return {"type": "header", "name": auth.name, "value": HIDDEN}


def secrets_in(url: str, headers: Mapping[str, str], auth: Credentials | None) -> tuple[str, ...]:
    """The credentials that a receiver may repeat in its answer, the longest first."""
    found = {value for name, value in _PARAMETER.findall(url) if looks_secret(name)}
    found |= {value for name, value in headers.items() if looks_secret(name)}
    if isinstance(auth, OAuth2Auth):
        found.add(auth.client_secret)
    elif auth is not None:
        found |= with_token(_header(auth)[1])
    if isinstance(auth, BasicAuth):
        found.add(auth.password)
    return scrubbable(found)


def with_token(value: str) -> set[str]:
    """A header's value, and what stands behind its scheme."""
    return {value, value.rpartition(" ")[2]}


def scrubbable(secrets: Iterable[str]) -> tuple[str, ...]:
    """Those that can be taken out of a text without tearing holes into the rest, the longest first."""
    return tuple(sorted((text for text in secrets if len(text) >= _MIN_SCRUBBED), key=len, reverse=True))


def _check(pattern: re.Pattern[str], value: str, field: str, expected: str) -> None:
    if not pattern.fullmatch(value):
        raise InvalidInput(field, f"expected {expected}")
