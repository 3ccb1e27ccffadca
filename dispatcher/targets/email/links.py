"""Links for recipients: to get no more mails of a subscription, and to say that mails are welcome. They need no key.

A token holds the subscription, a digest of the address and a signature: 48 characters, so that a header with it is one
line. Anyone who has the mail has the link; no one can make one for somebody else.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Literal

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec import Struct

Purpose = Literal["unsubscribe", "confirm"]
PATHS: dict[Purpose, str] = {"unsubscribe": "/u", "confirm": "/c"}

_ID, _ADDRESS, _SIGNATURE = 16, 8, 12
_LENGTH = 4 * (_ID + _ADDRESS + _SIGNATURE) // 3


class Whom(Struct, frozen=True):
    """What a good token names: a subscription, and the digest of one of its recipients' addresses."""

    subscription_id: str
    digest: bytes

    def means(self, key: str) -> bool:
        """Whether this is the address with this key (`Address.key`)."""
        return hmac.compare_digest(_digest(key), self.digest)


class Links:
    """Makes links below `base` (a URL without a path; None: there are none) and reads their tokens.

    Signed with the first of `keys`; what any of them signed is taken.
    """

    def __init__(self, base: str | None, keys: Sequence[str]) -> None:
        self._base = base
        self._keys = [_derived(key) for key in keys]

    @property
    def available(self) -> bool:
        """Whether there are links."""
        return self._base is not None

    @property
    def base(self) -> str:
        """What they begin with, empty when there are none."""
        return self._base or ""

    def link(self, purpose: Purpose, subscription_id: str, key: str) -> str | None:
        """The link for the recipient with this key (`Address.key`), None without a base."""
        if self._base is None:
            return None
        named = bytes.fromhex(subscription_id.removeprefix("sub_")) + _digest(key)
        token = urlsafe_b64encode(named + _sign(self._keys[0], purpose, named)).decode()
        return f"{self._base}{PATHS[purpose]}/{token}"

    def read(self, purpose: Purpose, token: str) -> Whom | None:
        """Whom a token names; None when it was not made here, or for another purpose."""
        if len(token) != _LENGTH or not token.isascii():
            return None
        try:
            raw = urlsafe_b64decode(token)
        except ValueError:
            return None
        named, signature = raw[: _ID + _ADDRESS], raw[_ID + _ADDRESS :]
        if not any(hmac.compare_digest(_sign(key, purpose, named), signature) for key in self._keys):
            return None
        return Whom(f"sub_{named[:_ID].hex()}", named[_ID:])


def _derived(key: str) -> bytes:
    # The use is part of the derivation: these signatures tell nothing about the key that seals.
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"dispatcher: links in mails").derive(
        key.encode()
    )


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=_ADDRESS).digest()


def _sign(key: bytes, purpose: Purpose, named: bytes) -> bytes:
    return hmac.digest(key, purpose.encode() + b"\0" + named, "sha256")[:_SIGNATURE]
