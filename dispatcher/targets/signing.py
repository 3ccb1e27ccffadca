"""Signatures of webhook requests by Standard Webhooks (https://www.standardwebhooks.com), scheme `v1`.

What is signed is `{webhook-id}.{webhook-timestamp}.{body}`, with HMAC-SHA256. A receiver calls `verify` with
the secrets that it knows.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets as random_secrets
from collections.abc import Mapping, Sequence

from dispatcher.domain.errors import DispatcherError

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"

TOLERANCE = 300
"""Seconds: how far a request's timestamp may be from the receiver's clock."""

_PREFIX = "whsec_"
_SCHEME = "v1"


class BadSignature(DispatcherError):
    """A request is not signed with any of the secrets, or not now; the message says which."""


def new_secret() -> str:
    """A new secret: `whsec_` and 32 random bytes in base64."""
    return _PREFIX + base64.b64encode(random_secrets.token_bytes(32)).decode()


class Signer:
    """Signs with each of the secrets, the newest first: during a rotation a receiver may know either."""

    def __init__(self, secrets: Sequence[str]) -> None:
        """Raises ValueError when there is no secret or one is malformed."""
        if not secrets:
            raise ValueError("expected at least one secret")
        self._keys = tuple(_key(secret) for secret in secrets)

    def headers(self, delivery_id: str, unix_seconds: int, body: bytes) -> dict[str, str]:
        """The three headers of one attempt; the id stays the same over all attempts, the time does not."""
        timestamp = str(unix_seconds)
        return {
            ID_HEADER: delivery_id,
            TIMESTAMP_HEADER: timestamp,
            SIGNATURE_HEADER: " ".join(_signatures(self._keys, delivery_id, timestamp, body)),
        }

    def lines(self, delivery_id: str, unix_seconds: int, body: bytes) -> bytes:
        """The same headers, as they go out."""
        signatures = " ".join(_signatures(self._keys, delivery_id, str(unix_seconds), body))
        return (
            f"{ID_HEADER}: {delivery_id}\r\n{TIMESTAMP_HEADER}: {unix_seconds}\r\n"
            f"{SIGNATURE_HEADER}: {signatures}\r\n"
        ).encode()


def verify(secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: float) -> None:
    """Raise BadSignature unless `body` came with these headers, signed with one of the secrets not long ago.

    `now` is the receiver's time in unix seconds. ValueError: a secret is malformed.
    """
    keys = [_key(secret) for secret in secrets]
    by_name = {name.lower(): value for name, value in headers.items()}
    delivery_id = _header(by_name, ID_HEADER)
    timestamp = _header(by_name, TIMESTAMP_HEADER)
    signatures = _header(by_name, SIGNATURE_HEADER)
    _check_time(timestamp, now)
    expected = [signature.encode() for signature in _signatures(keys, delivery_id, timestamp, body)]
    given = [signature.encode() for signature in signatures.split(" ")]
    if not any(hmac.compare_digest(one, other) for one in given for other in expected):
        raise BadSignature(_mismatch(signatures))


def _signatures(keys: Sequence[bytes], delivery_id: str, timestamp: str, body: bytes) -> list[str]:
    content = f"{delivery_id}.{timestamp}.".encode() + body
    digests = [hmac.digest(key, content, "sha256") for key in keys]
    return [f"{_SCHEME},{binascii.b2a_base64(digest, newline=False).decode()}" for digest in digests]


def _key(secret: str) -> bytes:
    prefix, encoded = secret[: len(_PREFIX)], secret[len(_PREFIX) :]
    try:
        key = base64.b64decode(encoded, validate=True)
    except ValueError:
        key = b""
    if prefix != _PREFIX or not 24 <= len(key) <= 64:
        raise ValueError(f"expected a secret of {_PREFIX} and 24 to 64 bytes in base64")
    return key


def _header(headers: Mapping[str, str], name: str) -> str:
    if value := headers.get(name):
        return value
    raise BadSignature(f"the header {name} is missing")


def _check_time(timestamp: str, now: float) -> None:
    # Fifteen digits are more than any time has, and keep int() cheap.
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 15):
        raise BadSignature(f"{TIMESTAMP_HEADER} is no number of seconds since 1970")
    age = now - int(timestamp)
    if abs(age) > TOLERANCE:
        raise BadSignature(
            f"{TIMESTAMP_HEADER} is {abs(age):.0f} s in the {'past' if age > 0 else 'future'}, expected at "
            f"most {TOLERANCE} s: a repeat of an old request, or one of the clocks is wrong"
        )


def _mismatch(signatures: str) -> str:
    if not any(signature.startswith(f"{_SCHEME},") for signature in signatures.split(" ")):
        return f"{SIGNATURE_HEADER} holds no signature of scheme {_SCHEME}"
    return f"no signature in {SIGNATURE_HEADER} fits: another secret, or a body that was changed on its way"
