"""Signatures of webhook requests by Standard Webhooks (https://www.standardwebhooks.com), schemes `v1` and `v1a`.

What is signed is `{webhook-id}.{webhook-timestamp}.{body}`: in v1 with HMAC-SHA256, in v1a with ed25519. A receiver
calls `verify` with the secrets or the public keys that it knows. The private key of v1a is made from the secret, so
there is one thing to keep and to rotate; who only has the public key can check signatures and make none.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets as random_secrets
from collections.abc import Mapping, Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from dispatcher.domain.errors import DispatcherError

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"

TOLERANCE = 300
"""Seconds: how far a request's timestamp may be from the receiver's clock."""

_PREFIX = "whsec_"
_PUBLIC_PREFIX = "whpk_"
_SCHEME = "v1"
_PUBLIC_SCHEME = "v1a"
# What the private key of v1a is made from, with the secret as key of an HMAC. Another text would make other keys.
_SEED_TEXT = b"dispatcher ed25519"


class BadSignature(DispatcherError):
    """A request is not signed with any of the secrets, or not now; the message says which."""


def new_secret() -> str:
    """A new secret: `whsec_` and 32 random bytes in base64."""
    return _PREFIX + base64.b64encode(random_secrets.token_bytes(32)).decode()


def public_key(secret: str) -> str:
    """The key, `whpk_…`, that checks the signatures v1a made with this secret. ValueError: it is malformed."""
    return _PUBLIC_PREFIX + base64.b64encode(_private(secret).public_key().public_bytes_raw()).decode()


class Signer:
    """Signs with each of the secrets, the newest first: during a rotation a receiver may know either."""

    def __init__(self, secrets: Sequence[str], *, asymmetric: bool = False) -> None:
        """With `asymmetric` there is a v1a beside each v1. ValueError: there is no secret, or one is malformed."""
        if not secrets:
            raise ValueError("expected at least one secret")
        # A copy of one that has its key already costs half of one that is made for each message.
        self._keyed = tuple(HMAC(_key(secret), SHA256()) for secret in secrets)
        self._private = tuple(_private(secret) for secret in secrets) if asymmetric else ()

    def headers(self, delivery_id: str, unix_seconds: int, body: bytes) -> dict[str, str]:
        """The three headers of one attempt; the id stays the same over all attempts, the time does not."""
        return {
            ID_HEADER: delivery_id,
            TIMESTAMP_HEADER: str(unix_seconds),
            SIGNATURE_HEADER: self._signatures(_content(delivery_id, str(unix_seconds), body)),
        }

    def lines(self, delivery_id: str, unix_seconds: int, body: bytes) -> bytes:
        """The same headers, as they go out."""
        signatures = self._signatures(_content(delivery_id, str(unix_seconds), body))
        return (
            f"{ID_HEADER}: {delivery_id}\r\n{TIMESTAMP_HEADER}: {unix_seconds}\r\n"
            f"{SIGNATURE_HEADER}: {signatures}\r\n"
        ).encode()

    def _signatures(self, content: bytes) -> str:
        signatures = [_signature(keyed, content) for keyed in self._keyed]
        signatures += [f"{_PUBLIC_SCHEME},{_base64(private.sign(content))}" for private in self._private]
        return " ".join(signatures)


def verify(secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: float) -> None:
    """Raise BadSignature unless `body` came with these headers, signed with one of the secrets not long ago.

    In the place of a secret may stand a public key (`whpk_…`). `now` is the receiver's time in unix seconds.
    ValueError: a secret or key is malformed.
    """
    keys = [_key(secret) for secret in secrets if not secret.startswith(_PUBLIC_PREFIX)]
    public = [_public(key) for key in secrets if key.startswith(_PUBLIC_PREFIX)]
    by_name = {name.lower(): value for name, value in headers.items()}
    delivery_id = _header(by_name, ID_HEADER)
    timestamp = _header(by_name, TIMESTAMP_HEADER)
    signatures = _header(by_name, SIGNATURE_HEADER)
    _check_time(timestamp, now)
    content = _content(delivery_id, timestamp, body)
    expected = [_signature(HMAC(key, SHA256()), content).encode() for key in keys]
    given = signatures.split(" ")
    if any(hmac.compare_digest(one.encode(), other) for one in given for other in expected):
        return
    if not any(_fits(key, signature, content) for key in public for signature in given):
        schemes = [scheme for scheme, known in ((_SCHEME, keys), (_PUBLIC_SCHEME, public)) if known]
        raise BadSignature(_mismatch(given, schemes))


def _content(delivery_id: str, timestamp: str, body: bytes) -> bytes:
    return f"{delivery_id}.{timestamp}.".encode() + body


def _signature(keyed: HMAC, content: bytes) -> str:
    mac = keyed.copy()
    mac.update(content)
    return f"{_SCHEME},{_base64(mac.finalize())}"


def _base64(signature: bytes) -> str:
    return binascii.b2a_base64(signature, newline=False).decode()


def _fits(key: Ed25519PublicKey, signature: str, content: bytes) -> bool:
    scheme, _, encoded = signature.partition(",")
    if scheme != _PUBLIC_SCHEME:
        return False
    try:
        key.verify(base64.b64decode(encoded, validate=True), content)
    except (InvalidSignature, ValueError):
        return False
    return True


def _key(secret: str) -> bytes:
    prefix, encoded = secret[: len(_PREFIX)], secret[len(_PREFIX) :]
    try:
        key = base64.b64decode(encoded, validate=True)
    except ValueError:
        key = b""
    if prefix != _PREFIX or not 24 <= len(key) <= 64:
        raise ValueError(f"expected a secret of {_PREFIX} and 24 to 64 bytes in base64")
    return key


def _private(secret: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hmac.digest(_key(secret), _SEED_TEXT, "sha256"))


def _public(key: str) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(
            base64.b64decode(key.removeprefix(_PUBLIC_PREFIX), validate=True)
        )
    except ValueError:
        raise ValueError(f"expected a public key of {_PUBLIC_PREFIX} and 32 bytes in base64") from None


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


def _mismatch(given: Sequence[str], schemes: Sequence[str]) -> str:
    if not any(signature.partition(",")[0] in schemes for signature in given):
        return f"{SIGNATURE_HEADER} holds no signature of scheme {' or '.join(schemes)}"
    return f"no signature in {SIGNATURE_HEADER} fits: another secret, or a body that was changed on its way"
