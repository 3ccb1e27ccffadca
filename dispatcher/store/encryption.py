"""Sealing: what is secret is stored encrypted with keys that the database does not know."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dispatcher.domain.errors import SettingsError


class Sealer:
    """Seals with the first key and opens with any of them (Fernet: AES-128-CBC with HMAC-SHA256).

    Keys are texts of 32 characters or more. SettingsError when there is none.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise SettingsError("DISPATCHER_SECRETS_KEY: expected at least one key of 32 characters or more")
        self._fernet = MultiFernet([_fernet(key) for key in keys])
        self._name_key = _derived(keys[0], b"dispatcher: names of secrets in the store")

    def seal(self, secret: bytes) -> bytes:
        """`secret`, encrypted."""
        return self._fernet.encrypt(secret)

    def open(self, sealed: bytes) -> bytes:
        """What was sealed. SettingsError when none of the keys fits."""
        try:
            return self._fernet.decrypt(sealed)
        except InvalidToken:
            raise SettingsError(
                "DISPATCHER_SECRETS_KEY: no key of it opens a secret that is in the database; "
                "name the key that sealed it too, after the new one and a comma"
            ) from None

    def name(self, secret: bytes) -> bytes:
        """16 bytes under which something about `secret` is found: only who has the first key can compute them."""
        mac = HMAC(self._name_key, SHA256())
        mac.update(secret)
        return mac.finalize()[:16]


def _fernet(key: str) -> Fernet:
    return Fernet(urlsafe_b64encode(_derived(key, b"dispatcher: secrets in the store")))


def _derived(key: str, use: bytes) -> bytes:
    """Another key for each use: they tell nothing about each other."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=use).derive(key.encode())
