"""Verifying webhooks (https://www.standardwebhooks.com): schemes `v1` (HMAC-SHA256) and `v1a` (ed25519).

What is signed is `{webhook-id}.{webhook-timestamp}.{body}`. During a rotation a request has several signatures, and
one that fits is enough.
"""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

import msgspec
from msgspec import Struct

from dispatcher.client.errors import BadSignature

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"

TOLERANCE = 300.0
"""Seconds: how far a request's timestamp may be from the receiver's clock."""

_SECRET_PREFIX, _PUBLIC_PREFIX = "whsec_", "whpk_"
_SCHEME, _PUBLIC_SCHEME = "v1", "v1a"

MAX_SIGNATURES = 16
"""Signatures that are looked at. A rotation has two; each that is looked at costs time before anything is verified."""

Check = Callable[[Sequence[str], bytes], bool]
"""Whether one of the signatures, `v1,…` or `v1a,…`, is that of the signed content."""


class HasItems(Protocol):
    """Headers as a mapping, or as the message of http.server or of a framework."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Names and values."""
        ...


Headers = HasItems | Iterable[tuple[str, str]]


class WebhookMessage(Struct, frozen=True):
    """A webhook that was verified. `id` stays the same over all attempts: what came with it before is a repeat."""

    id: str
    timestamp: int
    body: bytes

    def json(self) -> Any:
        """The body, decoded: the CloudEvent unless the target has another body."""
        return msgspec.json.decode(self.body)


class Webhook:
    """Verifies requests of one subscription.

    >>> webhook = Webhook("whsec_…")
    >>> message = webhook.verify(body, headers)

    In the place of a secret may stand a public key (`whpk_…`); of several one has to fit. `tolerance` is in seconds.
    Raises ValueError for a malformed secret or key.
    """

    def __init__(
        self, *secrets: str, tolerance: float = TOLERANCE, clock: Callable[[], float] = time.time
    ) -> None:
        if not secrets:
            raise ValueError("expected at least one secret")
        self._schemes = [_PUBLIC_SCHEME if _is_public(secret) else _SCHEME for secret in secrets]
        self._checks = [_check_of(secret) for secret in secrets]
        self._tolerance = tolerance
        self._clock = clock

    def verify(self, body: bytes | bytearray | memoryview | str, headers: Headers) -> WebhookMessage:
        """The webhook, when `body` came with these headers, signed with one of the secrets not long ago.

        `body` must be the bytes that came, not JSON that was decoded and encoded. Raises BadSignature, also for a body
        and headers of other types.
        """
        content = _content(body)
        by_name = _by_name(headers)
        id, timestamp = _header(by_name, ID_HEADER), _header(by_name, TIMESTAMP_HEADER)
        signatures = _header(by_name, SIGNATURE_HEADER).split(" ", MAX_SIGNATURES)[:MAX_SIGNATURES]
        seconds = self._checked_time(timestamp)
        signed = f"{id}.{timestamp}.".encode() + content
        if not any(check(signatures, signed) for check in self._checks):
            raise BadSignature(_mismatch(signatures, self._schemes))
        return WebhookMessage(id, seconds, content)

    def _checked_time(self, timestamp: str) -> int:
        # Fifteen digits are more than any time has, and keep int() cheap.
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 15):
            raise BadSignature(f"{TIMESTAMP_HEADER} is no number of seconds since 1970")
        age = self._clock() - int(timestamp)
        if abs(age) > self._tolerance:
            raise BadSignature(
                f"{TIMESTAMP_HEADER} is {abs(age):.0f} s in the {'past' if age > 0 else 'future'}, expected at "
                f"most {self._tolerance:g} s: a repeat of an old request, or one of the clocks is wrong"
            )
        return int(timestamp)


def verify(secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: float) -> None:
    """Raise BadSignature unless `body` came with these headers, signed with one of the secrets not long before `now`.

    `Webhook` does the same with the clock of the machine. ValueError: a secret or key is malformed.
    """
    Webhook(*secrets, clock=lambda: now).verify(body, headers)


def _content(body: object) -> bytes:
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body)
    if not isinstance(body, str):
        raise BadSignature(f"expected the body as the bytes that came, got {type(body).__name__}")
    try:
        return body.encode()
    except UnicodeEncodeError:
        raise BadSignature("expected the body as the bytes that came, got a text that is no UTF-8") from None


def _by_name(headers: Headers) -> dict[str, object]:
    """Values by names in lower case; the last one of a name."""
    items = getattr(headers, "items", None)
    try:
        pairs = cast(Iterable[tuple[object, object]], headers if items is None else items())
        return {name.lower(): value for name, value in pairs if isinstance(name, str)}
    except (TypeError, ValueError):
        raise BadSignature("expected the headers as a mapping or as pairs of name and value") from None


def _is_public(secret: str) -> bool:
    return secret.startswith(_PUBLIC_PREFIX)


def _check_of(secret: str) -> Check:
    return _public_check(_public_key(secret)) if _is_public(secret) else _secret_check(_secret_key(secret))


def _secret_check(key: bytes) -> Check:
    def fits(signatures: Sequence[str], content: bytes) -> bool:
        expected = f"{_SCHEME},{base64.b64encode(hmac.digest(key, content, 'sha256')).decode()}".encode()
        return any(hmac.compare_digest(signature.encode(), expected) for signature in signatures)

    return fits


def _public_check(key: Ed25519PublicKey) -> Check:
    from cryptography.exceptions import InvalidSignature

    def one_fits(signature: str, content: bytes) -> bool:
        scheme, _, encoded = signature.partition(",")
        if scheme != _PUBLIC_SCHEME:
            return False
        try:
            key.verify(base64.b64decode(encoded, validate=True), content)
        except (InvalidSignature, ValueError):
            return False
        return True

    return lambda signatures, content: any(one_fits(signature, content) for signature in signatures)


def _secret_key(secret: str) -> bytes:
    prefix, encoded = secret[: len(_SECRET_PREFIX)], secret[len(_SECRET_PREFIX) :]
    try:
        key = base64.b64decode(encoded, validate=True)
    except ValueError:
        key = b""
    if prefix != _SECRET_PREFIX or not 24 <= len(key) <= 64:
        raise ValueError(f"expected a secret of {_SECRET_PREFIX} and 24 to 64 bytes in base64")
    return key


def _public_key(key: str) -> Ed25519PublicKey:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "a public key needs the extra v1a: pip install 'dispatcher[v1a]'", name="cryptography"
        ) from None
    try:
        return Ed25519PublicKey.from_public_bytes(
            base64.b64decode(key.removeprefix(_PUBLIC_PREFIX), validate=True)
        )
    except ValueError:
        raise ValueError(f"expected a public key of {_PUBLIC_PREFIX} and 32 bytes in base64") from None


def _header(headers: Mapping[str, object], name: str) -> str:
    value = headers.get(name)
    if value is None or value == "":
        raise BadSignature(f"the header {name} is missing")
    if not isinstance(value, str):
        raise BadSignature(f"expected the header {name} as text, got {type(value).__name__}")
    if not (value.isascii() and value.isprintable()):
        raise BadSignature(f"the header {name} has characters that no sender puts there")
    return value


def _mismatch(signatures: Sequence[str], schemes: Sequence[str]) -> str:
    wanted = sorted(set(schemes))
    if not any(signature.partition(",")[0] in wanted for signature in signatures):
        return f"{SIGNATURE_HEADER} holds no signature of scheme {' or '.join(wanted)}"
    return f"no signature in {SIGNATURE_HEADER} fits: another secret, or a body that was changed on its way"
