"""API keys over HTTP, for admins: a key's text is shown once, when it is made."""

from __future__ import annotations

from msgspec import convert
from msgspec.structs import asdict

from dispatcher.api.query_models import ListQuery
from dispatcher.api.request_models import NewKey
from dispatcher.api.response_lists import KeyList
from dispatcher.api.response_models import KeyView
from dispatcher.api.routing import Call, NoQuery
from dispatcher.api.secret_models import KeyWithText
from dispatcher.domain.errors import Forbidden, InvalidInput, NotFound
from dispatcher.domain.events import DEFAULT_TENANT, utc_now
from dispatcher.domain.ids import is_id, new_id
from dispatcher.domain.keys import ApiKey, hash_key, new_key_text
from dispatcher.domain.subscriptions import EVERY_OWNER


async def create_key(call: Call[NoQuery, NewKey]) -> KeyWithText:
    """Make a key. Its text, `key`, is shown only here."""
    new = call.body
    if new.owner == EVERY_OWNER:
        raise InvalidInput("owner", f"expected a name; {EVERY_OWNER} means every owner")
    tenant = new.tenant or call.caller.tenant
    if _reach(call.caller) not in (None, tenant):
        raise Forbidden(
            f"keys of the tenant {tenant} are made by its own admins, or by those of {DEFAULT_TENANT}"
        )
    text = new_key_text()
    key = ApiKey(
        id=new_id("key"),
        name=new.name,
        owner=new.owner,
        tenant=tenant,
        scopes=tuple(dict.fromkeys(new.scopes)),
        created_at=utc_now(),
    )
    await call.services.store.keys.add(key, hash_key(text))
    return KeyWithText(**asdict(key), key=text)


async def list_keys(call: Call[ListQuery, None]) -> KeyList:
    """Keys, newest first. Admins of the tenant `default` see those of every tenant."""
    page = await call.services.store.keys.page(_reach(call.caller), call.query.window)
    return KeyList(convert(page.items, list[KeyView], from_attributes=True), page.next)


async def delete_key(call: Call[NoQuery, None]) -> None:
    """Remove a key; it works no longer from this moment."""
    key_id = call.path["id"]
    if not is_id("key", key_id) or not await call.services.store.keys.remove(_reach(call.caller), key_id):
        raise NotFound(f"there is no key {key_id[:80]!r}")


def _reach(caller: ApiKey) -> str | None:
    """The tenant whose keys an admin manages; None for all, because somebody must make the others' first."""
    return None if caller.tenant == DEFAULT_TENANT else caller.tenant
