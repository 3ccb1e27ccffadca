"""Quotas over HTTP, for admins: what an owner may use, and what is set in place of the defaults."""

from __future__ import annotations

from msgspec.structs import asdict

from dispatcher.api.query_models import QuotasQuery
from dispatcher.api.response_lists import QuotaList, QuotaView
from dispatcher.api.routing import Call, NoQuery
from dispatcher.domain.errors import NotFound
from dispatcher.domain.events import check_text
from dispatcher.domain.quotas import QuotaOverride
from dispatcher.store.filters import Window


async def list_quotas(call: Call[QuotasQuery, None]) -> QuotaList:
    """Owners for whom an admin has set quotas, by name."""
    tenant, quotas = call.caller.tenant, call.services.quotas
    page = await call.services.store.quotas.overrides(tenant, Window(call.query.limit, call.query.cursor))
    items = [
        QuotaView(owner=owner, **asdict(override.over(quotas.defaults))) for owner, override in page.items
    ]
    return QuotaList(items, page.next)


async def get_quota(call: Call[NoQuery, None]) -> QuotaView:
    """What an owner may use: the defaults, and in their place what an admin has set."""
    owner = _owner(call.path["owner"])
    override = await call.services.store.quotas.override(call.caller.tenant, owner) or QuotaOverride()
    return QuotaView(owner=owner, **asdict(override.over(call.services.quotas.defaults)))


async def set_quota(call: Call[NoQuery, QuotaOverride]) -> QuotaView:
    """Set what an owner may use. What is null or left out is the default; 0 is no limit.

    It counts everywhere within seconds. What exists stays, also when it is more than that.
    """
    owner = _owner(call.path["owner"])
    await call.services.store.quotas.set_override(call.caller.tenant, owner, call.body)
    return QuotaView(owner=owner, **asdict(call.body.over(call.services.quotas.defaults)))


async def reset_quota(call: Call[NoQuery, None]) -> None:
    """Reset an owner's quotas to the defaults."""
    owner = _owner(call.path["owner"])
    if not await call.services.store.quotas.remove_override(call.caller.tenant, owner):
        raise NotFound(f"no quotas are set for {owner!r}: the defaults count")


def _owner(name: str) -> str:
    return check_text("owner", name)
