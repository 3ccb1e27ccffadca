"""Subscriptions in the shape of Tapis v3: showing, changing and removing them."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import UNSET
from msgspec.structs import replace

from dispatcher.compat.envelope import CompatResponse
from dispatcher.compat.tapis_v3 import listing, search, search_sql
from dispatcher.compat.tapis_v3 import request_models as models
from dispatcher.compat.tapis_v3.create import BASE
from dispatcher.compat.tapis_v3.envelope import V3Request
from dispatcher.compat.tapis_v3.event_model import native_id
from dispatcher.compat.tapis_v3.repository import TapisSubscription
from dispatcher.compat.tapis_v3.target_mapping import DesiredState, changed_members, end_of
from dispatcher.compat.tapis_v3.views import SEARCHED, Details, details_of, selected, view
from dispatcher.domain.errors import Conflict, InvalidInput, NotFound
from dispatcher.domain.events import utc_now
from dispatcher.domain.subscriptions import Subscription


async def get_subscriptions(request: V3Request) -> CompatResponse:
    """A list, by `search`."""
    wanted = search.from_text(request.query.get("search", ""), SEARCHED)
    return await listing.listed(request, wanted, listing.owner_or_any(request.caller, request.query))


async def search_by_query(request: V3Request) -> CompatResponse:
    """A list, by further query parameters."""
    wanted = search.from_query(request.query, SEARCHED)
    return await listing.listed(request, wanted, listing.owner_in(request.caller, request.query))


async def search_by_body(request: V3Request) -> CompatResponse:
    """A list, by a condition in SQL."""
    wanted = search_sql.from_sql(" ".join(request.read(models.Search).search), SEARCHED)
    return await listing.listed(request, wanted, listing.owner_in(request.caller, request.query))


async def get_by_name(request: V3Request) -> CompatResponse:
    """One of the caller's, or of the owner in `ownedBy`."""
    return await _shown(request, await by_name(request))


async def get_by_uuid(request: V3Request) -> CompatResponse:
    """One by its UUID."""
    return await _shown(request, await _by_uuid(request))


async def patch_by_name(request: V3Request) -> CompatResponse:
    """Change some of it."""
    change = request.read(models.PatchSubscription)
    models.check_filters(change.type_filter, change.delivery_targets)

    def changed(named: TapisSubscription, details: Details) -> tuple[TapisSubscription, Details]:
        if change.type_filter is not UNSET:
            details = replace(details, type_filter=change.type_filter)
        if change.description is not UNSET:
            details = replace(details, description=change.description)
        if change.subject_filter is not UNSET:
            named = replace(named, subject_filter=change.subject_filter)
        return named, details

    targets = None if change.delivery_targets is UNSET else change.delivery_targets
    named = await _save(request, changed, targets)
    return _updated(request, named)


async def put_by_name(request: V3Request) -> CompatResponse:
    """Replace all but its name, owner, TTL and whether it is enabled."""
    new = request.read(models.PutSubscription)
    models.check_filters(new.type_filter, new.delivery_targets)

    def changed(named: TapisSubscription, details: Details) -> tuple[TapisSubscription, Details]:
        details = replace(details, type_filter=new.type_filter, description=new.description)
        return replace(named, subject_filter=new.subject_filter), details

    return _updated(request, await _save(request, changed, new.delivery_targets))


async def is_enabled(request: V3Request) -> CompatResponse:
    """Whether its events are delivered."""
    named = await by_name(request)
    members = await request.repository.members([named])
    enabled = view(named, members, request.services.kinds)["enabled"]
    return CompatResponse(message=f"the subscription {named.name} was found", result={"aBool": enabled})


async def enable(request: V3Request) -> CompatResponse:
    """Let its events be delivered again, also to a target that was stopped by its receiver's 410."""
    named = await _save(request, lambda named, details: (named, replace(details, enabled=True)), resume=True)
    request.services.engine.wake()
    return _count(1, f"the subscription {named.name} is enabled")


async def disable(request: V3Request) -> CompatResponse:
    """Deliver no events from now on; what waits is cancelled."""
    named = await _save(request, lambda named, details: (named, replace(details, enabled=False)))
    return _count(1, f"the subscription {named.name} is disabled")


async def update_ttl(request: V3Request) -> CompatResponse:
    """Let it live so many minutes from now on; 0 for no end."""
    minutes = models.check_ttl(listing.number(request.path, "ttlMinutes", 0, -(10**9)))

    def changed(named: TapisSubscription, details: Details) -> tuple[TapisSubscription, Details]:
        return replace(named, expires_at=end_of(minutes)), replace(details, ttl_minutes=minutes)

    named = await _save(request, changed)
    return _count(1, f"the subscription {named.name} has a TTL of {minutes} minutes")


async def delete_by_name(request: V3Request) -> CompatResponse:
    """Remove one; none of that name is no error."""
    try:
        named = await by_name(request)
    except NotFound:
        return _count(0, "there was no such subscription")
    return await remove(request, named)


async def delete_by_uuid(request: V3Request) -> CompatResponse:
    """Remove one by its UUID; none with it is no error."""
    try:
        named = await _by_uuid(request)
    except NotFound:
        return _count(0, "there was no such subscription")
    return await remove(request, named)


async def delete_by_subject(request: V3Request) -> CompatResponse:
    """Remove all whose subject filter is this subject."""
    tapis, caller, subject = request.repository, request.caller, request.path["subject"]
    owner = listing.owner_or_any(caller, request.query)
    removed = 0
    while found := await tapis.listed(caller.key.tenant, owner, subject):
        removed += sum([await tapis.remove(named) for named in found])
    return _count(removed, f"{removed} subscriptions for the subject were removed")


async def remove(request: V3Request, named: TapisSubscription) -> CompatResponse:
    """Remove one with its members."""
    removed = await request.repository.remove(named)
    return _count(int(removed), f"the subscription {named.name} was removed")


async def by_name(request: V3Request) -> TapisSubscription:
    """The one that the path names. Raises NotFound."""
    owner = listing.owner_in(request.caller, request.query)
    named = await request.repository.by_name(request.caller.key.tenant, owner, request.path["name"])
    if named is None:
        raise NotFound(f"{owner} has no subscription with the name {request.path['name'][:188]!r}")
    return named


async def _by_uuid(request: V3Request) -> TapisSubscription:
    uuid, caller = request.path["uuid"], request.caller
    key = native_id("sub", uuid)
    if key is None:
        raise InvalidInput("uuid", f"expected a UUID, got {uuid[:80]!r}")
    named = await request.repository.by_id(caller.key.tenant, key)
    if named is None or (named.owner != caller.key.owner and not caller.trusted):
        raise NotFound(f"there is no subscription with the UUID {uuid}")
    return named


async def _shown(request: V3Request, named: TapisSubscription) -> CompatResponse:
    chosen = selected(request.query.get("select"), "allAttributes")
    members = await request.repository.members([named])
    return CompatResponse(
        message=f"the subscription {named.name} was found",
        result=view(named, members, request.services.kinds, chosen),
    )


Change = Callable[[TapisSubscription, Details], tuple[TapisSubscription, Details]]


async def _save(
    request: V3Request, change: Change, targets: models.Targets | None = None, *, resume: bool = False
) -> TapisSubscription:
    """Store what `change` makes of the one that the path names; once more when somebody else was faster."""
    try:
        return await _save_once(request, change, targets, resume)
    except Conflict:
        return await _save_once(request, change, targets, resume)


async def _save_once(
    request: V3Request, change: Change, targets: models.Targets | None, resume: bool
) -> TapisSubscription:
    tapis, before = request.repository, await by_name(request)
    named, details = change(before, details_of(before))
    wish = DesiredState(
        key=named.id,
        name=named.name,
        type_filter=details.type_filter,
        subject_filter=named.subject_filter,
        expires_at=named.expires_at,
        enabled=details.enabled,
        resume=resume,
    )
    members = await _present(request, before)
    changed, added, order = await changed_members(request, wish, members, targets)
    named = replace(named, members=order, document=replace(details, updated=utc_now()).encoded())
    quotas = request.services.quotas
    caps, per_minute = await quotas.caps(request.caller.key), quotas.defaults.deliveries_per_minute
    await tapis.save(named, changed=changed, added=added, caps=caps, deliveries_per_minute=per_minute)
    return named


async def _present(request: V3Request, named: TapisSubscription) -> list[Subscription]:
    members = await request.repository.members([named])
    return [members[key] for key in named.members if key in members]


def _updated(request: V3Request, named: TapisSubscription) -> CompatResponse:
    return CompatResponse(
        message=f"the subscription {named.name} was updated",
        result={"url": f"{request.base}{BASE}/{named.name}"},
    )


def _count(changes: int, message: str) -> CompatResponse:
    return CompatResponse(message=message, result={"changes": changes})
