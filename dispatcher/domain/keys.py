"""API keys: who is calling, for which tenant, and what they may do."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime
from typing import Literal

from msgspec import Struct

Scope = Literal["publish", "publish:any", "subscribe", "admin"]


class ApiKey(Struct, frozen=True, kw_only=True):
    """A key as it is known after its making: the key itself is not stored, only its hash."""

    id: str
    name: str
    owner: str
    tenant: str
    scopes: tuple[Scope, ...]
    created_at: datetime

    @property
    def admin(self) -> bool:
        """Whether it may do everything in its tenant."""
        return "admin" in self.scopes

    @property
    def trusted(self) -> bool:
        """Whether it may say of any owner what happens to their jobs; other keys speak for their own owner only."""
        return self.admin or "publish:any" in self.scopes

    def may(self, scope: Scope) -> bool:
        """Whether it has this scope; an admin has all, and who may publish for any owner may publish."""
        return self.admin or scope in self.scopes or (scope == "publish" and self.trusted)


def new_key_text() -> str:
    """A new key, to be shown once: 256 random bits behind a prefix that a secret scanner can find."""
    return f"dspk_{secrets.token_urlsafe(32)}"


def hash_key(text: str) -> str:
    """What is stored of a key. A plain hash is enough, because the key itself is random and long."""
    return hashlib.sha256(text.encode()).hexdigest()
