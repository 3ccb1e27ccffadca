"""Signatures of webhook requests by Standard Webhooks (https://www.standardwebhooks.com), schemes `v1` and `v1a`.

What is signed is `{webhook-id}.{webhook-timestamp}.{body}`: in v1 with HMAC-SHA256, in v1a with ed25519. The private
key of v1a is made from the secret, so there is one thing to keep and to rotate; who only has the public key can verify
signatures and make none. `dispatcher.client.Webhook` verifies them.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets as random_secrets
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"

_PREFIX = "whsec_"
_PUBLIC_PREFIX = "whpk_"
_SCHEME = "v1"
_PUBLIC_SCHEME = "v1a"
# What the private key of v1a is made from, with the secret as key of an HMAC. Another text would make other keys.
_SEED_TEXT = b"dispatcher ed25519"


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


def _content(delivery_id: str, timestamp: str, body: bytes) -> bytes:
    return f"{delivery_id}.{timestamp}.".encode() + body


def _signature(keyed: HMAC, content: bytes) -> str:
    mac = keyed.copy()
    mac.update(content)
    return f"{_SCHEME},{_base64(mac.finalize())}"


def _base64(signature: bytes) -> str:
    return binascii.b2a_base64(signature, newline=False).decode()


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
