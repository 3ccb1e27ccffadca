"""Who is calling: API keys, their scopes, and the key of the first start."""

from __future__ import annotations

import hmac
import re
from datetime import UTC, datetime

from dispatcher.api.problems import unauthorized
from dispatcher.api.services import Services
from dispatcher.domain.errors import Forbidden
from dispatcher.domain.events import DEFAULT_TENANT, utc_now
from dispatcher.domain.ids import new_id
from dispatcher.domain.keys import ApiKey, Scope, hash_key, new_key_text
from dispatcher.store.filters import Window
from dispatcher.store.store import Store

_BEARER = re.compile(r"bearer +(.+)", re.IGNORECASE)
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)

SETTINGS_KEY = ApiKey(
    id="settings", name="settings", owner="admin", tenant=DEFAULT_TENANT, scopes=("admin",), created_at=_NEVER
)
"""What the admin key of the settings may do."""

ANONYMOUS = ApiKey(id="none", name="none", owner="", tenant=DEFAULT_TENANT, scopes=(), created_at=_NEVER)
"""Who calls what needs no key."""


async def authorize(authorization: str | None, scope: Scope, services: Services) -> ApiKey:
    """The key of a request. Raises Refusal (401) without a good one, Forbidden when it lacks the scope."""
    key = await authenticate(authorization, services)
    if not key.may(scope):
        raise Forbidden(
            f"this needs a key with the scope {scope}; {key.id} has {', '.join(key.scopes) or 'none'}"
        )
    return key


async def authenticate(authorization: str | None, services: Services) -> ApiKey:
    """The key in an `Authorization: Bearer` header. Raises Refusal (401)."""
    if authorization is None:
        raise unauthorized("a key is needed: Authorization: Bearer <key>")
    found = _BEARER.fullmatch(authorization.strip())
    if found is None:
        raise unauthorized("the Authorization header is not understood; expected: Bearer <key>")
    text = found[1]
    if services.admin_key is not None and _same(text, services.admin_key):
        return SETTINGS_KEY
    # Keys that we make are ASCII, and what aiohttp could not decode has no hash.
    key = await services.store.keys.by_digest(hash_key(text)) if text.isascii() else None
    if key is None:
        raise unauthorized("this key is not known: it was mistyped or removed")
    return key


async def ensure_admin_key(store: Store, configured: str | None) -> str | None:
    """Make an admin key when none is configured and none is stored. Its text, which is known only now."""
    if configured is not None or (await store.keys.page(None, Window(limit=1))).items:
        return None
    text = new_key_text()
    key = ApiKey(
        id=new_id("key"),
        name="first start",
        owner="admin",
        tenant=DEFAULT_TENANT,
        scopes=("admin",),
        created_at=utc_now(),
    )
    await store.keys.add(key, hash_key(text))
    return text


def _same(text: str, secret: str) -> bool:
    return hmac.compare_digest(text.encode("utf-8", "surrogateescape"), secret.encode())
