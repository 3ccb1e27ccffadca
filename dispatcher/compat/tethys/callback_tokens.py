"""Who may call back about a job without an API key: the holder of the token for that job.

A token is `<key id>.<signature>`: it stands for a key with which one may publish, for one job, and works as long as the
key does. So it can be given to a job's own script, which could not keep the key.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Sequence

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_SIGNATURE = 18  # bytes


class CallbackTokens:
    """Makes and checks tokens; signed with the first of `keys`, what any of them signed is good.

    `loopback`: calls from this machine need none.
    """

    def __init__(self, keys: Sequence[str] = (), loopback: bool = False) -> None:
        self.loopback = loopback
        self._keys = [_derived(key) for key in keys]

    def token(self, key_id: str, job_id: str) -> str:
        """The token of the holder of this key for this job."""
        return f"{key_id}.{_sign(self._keys[0], key_id, job_id)}"

    def key_id(self, token: str, job_id: str) -> str | None:
        """The key that a token stands for, or None when it is not one for this job."""
        key_id, _, signature = token.rpartition(".")
        good = [_sign(key, key_id, job_id) for key in self._keys]
        given = signature.encode("utf-8", "replace")
        return key_id if any(hmac.compare_digest(one.encode(), given) for one in good) else None


def _derived(key: str) -> bytes:
    # The use is part of the derivation: these signatures tell nothing about the key that seals.
    info = b"dispatcher: callbacks of jobs"
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(key.encode())


def _sign(key: bytes, key_id: str, job_id: str) -> str:
    named = f"{key_id}\0{job_id}".encode("utf-8", "replace")
    return urlsafe_b64encode(hmac.digest(key, named, "sha256")[:_SIGNATURE]).decode()
