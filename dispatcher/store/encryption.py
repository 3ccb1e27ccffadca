"""Sealing: what is secret is stored encrypted with keys that the database does not know."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
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


def _fernet(key: str) -> Fernet:
    # The use is part of the derivation: the setting can make other keys that tell nothing about this one.
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"dispatcher: secrets in the store")
    return Fernet(urlsafe_b64encode(derived.derive(key.encode())))
