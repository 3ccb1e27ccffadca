"""Subscriptions in the shape of Tapis v3: showing, changing and removing them."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import UNSET
from msgspec.structs import replace

from dispatcher.compat.tapis_v3 import documents as given
from dispatcher.compat.tapis_v3 import lists, search, sql
from dispatcher.compat.tapis_v3.envelope import Answered, Asked
from dispatcher.compat.tapis_v3.event_model import native_id
from dispatcher.compat.tapis_v3.making import BASE
from dispatcher.compat.tapis_v3.members import Wish, changed_members, end_of
from dispatcher.compat.tapis_v3.views import Details, details_of, selected, view
from dispatcher.domain.errors import Conflict, InvalidInput, NotFound
from dispatcher.domain.events import utc_now
from dispatcher.domain.subscriptions import Subscription
from dispatcher.store.tapis_v3 import Named


async def get_subscriptions(asked: Asked) -> Answered:
    """A list, by `search`."""
    wanted = search.from_text(asked.query.get("search", ""))
    return await lists.listed(asked, wanted, lists.owner_or_any(asked.caller, asked.query))


async def search_by_query(asked: Asked) -> Answered:
    """A list, by further query parameters."""
    wanted = search.from_query(asked.query)
    return await lists.listed(asked, wanted, lists.owner_in(asked.caller, asked.query))


async def search_by_body(asked: Asked) -> Answered:
    """A list, by a condition in SQL."""
    wanted = sql.from_sql(" ".join(asked.read(given.SearchSubscriptions).search))
    return await lists.listed(asked, wanted, lists.owner_in(asked.caller, asked.query))


async def get_by_name(asked: Asked) -> Answered:
    """One of the caller's, or of the owner in `ownedBy`."""
    return await _shown(asked, await by_name(asked))


async def get_by_uuid(asked: Asked) -> Answered:
    """One by its UUID."""
    return await _shown(asked, await _by_uuid(asked))


async def patch_by_name(asked: Asked) -> Answered:
    """Change some of it."""
    change = asked.read(given.PatchSubscription)
    given.check_filters(change.type_filter, change.delivery_targets)

    def changed(named: Named, details: Details) -> tuple[Named, Details]:
        if change.type_filter is not UNSET:
            details = replace(details, type_filter=change.type_filter)
        if change.description is not UNSET:
            details = replace(details, description=change.description)
        if change.subject_filter is not UNSET:
            named = replace(named, subject_filter=change.subject_filter)
        return named, details

    targets = None if change.delivery_targets is UNSET else change.delivery_targets
    named = await _save(asked, changed, targets)
    return _updated(asked, named)


async def put_by_name(asked: Asked) -> Answered:
    """Replace all but its name, owner, TTL and whether it is enabled."""
    new = asked.read(given.PutSubscription)
    given.check_filters(new.type_filter, new.delivery_targets)

    def changed(named: Named, details: Details) -> tuple[Named, Details]:
        details = replace(details, type_filter=new.type_filter, description=new.description)
        return replace(named, subject_filter=new.subject_filter), details

    return _updated(asked, await _save(asked, changed, new.delivery_targets))


async def is_enabled(asked: Asked) -> Answered:
    """Whether its events are delivered."""
    named = await by_name(asked)
    members = await asked.services.store.tapis.members([named])
    enabled = view(named, members, asked.services.kinds)["enabled"]
    return Answered(message=f"the subscription {named.name} was found", result={"aBool": enabled})


async def enable(asked: Asked) -> Answered:
    """Let its events be delivered again, also to a target that was stopped by its receiver's 410."""
    named = await _save(asked, lambda named, details: (named, replace(details, enabled=True)), resume=True)
    asked.services.engine.wake()
    return _count(1, f"the subscription {named.name} is enabled")


async def disable(asked: Asked) -> Answered:
    """Deliver no events from now on; what waits is cancelled."""
    named = await _save(asked, lambda named, details: (named, replace(details, enabled=False)))
    return _count(1, f"the subscription {named.name} is disabled")


async def update_ttl(asked: Asked) -> Answered:
    """Let it live so many minutes from now on; 0 for no end."""
    minutes = given.check_ttl(lists.number(asked.path, "ttlMinutes", 0, -(10**9)))

    def changed(named: Named, details: Details) -> tuple[Named, Details]:
        return replace(named, expires_at=end_of(minutes)), replace(details, ttl_minutes=minutes)

    named = await _save(asked, changed)
    return _count(1, f"the subscription {named.name} has a TTL of {minutes} minutes")


async def delete_by_name(asked: Asked) -> Answered:
    """Remove one; none of that name is no error."""
    try:
        named = await by_name(asked)
    except NotFound:
        return _count(0, "there was no such subscription")
    return await remove(asked, named)


async def delete_by_uuid(asked: Asked) -> Answered:
    """Remove one by its UUID; none with it is no error."""
    try:
        named = await _by_uuid(asked)
    except NotFound:
        return _count(0, "there was no such subscription")
    return await remove(asked, named)


async def delete_by_subject(asked: Asked) -> Answered:
    """Remove all whose subject filter is this subject."""
    tapis, caller, subject = asked.services.store.tapis, asked.caller, asked.path["subject"]
    owner = lists.owner_or_any(caller, asked.query)
    removed = 0
    while found := await tapis.listed(caller.key.tenant, owner, subject):
        removed += sum([await tapis.remove(named) for named in found])
    return _count(removed, f"{removed} subscriptions for the subject were removed")


async def remove(asked: Asked, named: Named) -> Answered:
    """Remove one with its members."""
    removed = await asked.services.store.tapis.remove(named)
    return _count(int(removed), f"the subscription {named.name} was removed")


async def by_name(asked: Asked) -> Named:
    """The one that the path names. Raises NotFound."""
    owner = lists.owner_in(asked.caller, asked.query)
    named = await asked.services.store.tapis.by_name(asked.caller.key.tenant, owner, asked.path["name"])
    if named is None:
        raise NotFound(f"{owner} has no subscription with the name {asked.path['name'][:188]!r}")
    return named


async def _by_uuid(asked: Asked) -> Named:
    uuid, caller = asked.path["uuid"], asked.caller
    key = native_id("sub", uuid)
    if key is None:
        raise InvalidInput("uuid", f"expected a UUID, got {uuid[:80]!r}")
    named = await asked.services.store.tapis.by_id(caller.key.tenant, key)
    if named is None or (named.owner != caller.key.owner and not caller.trusted):
        raise NotFound(f"there is no subscription with the UUID {uuid}")
    return named


async def _shown(asked: Asked, named: Named) -> Answered:
    chosen = selected(asked.query.get("select"), "allAttributes")
    members = await asked.services.store.tapis.members([named])
    return Answered(
        message=f"the subscription {named.name} was found",
        result=view(named, members, asked.services.kinds, chosen),
    )


Change = Callable[[Named, Details], tuple[Named, Details]]


async def _save(
    asked: Asked, change: Change, targets: given.Targets | None = None, *, resume: bool = False
) -> Named:
    """Store what `change` makes of the one that the path names; once more when somebody else was faster."""
    try:
        return await _save_once(asked, change, targets, resume)
    except Conflict:
        return await _save_once(asked, change, targets, resume)


async def _save_once(asked: Asked, change: Change, targets: given.Targets | None, resume: bool) -> Named:
    tapis, before = asked.services.store.tapis, await by_name(asked)
    named, details = change(before, details_of(before))
    wish = Wish(
        key=named.id,
        name=named.name,
        type_filter=details.type_filter,
        subject_filter=named.subject_filter,
        expires_at=named.expires_at,
        enabled=details.enabled,
        resume=resume,
    )
    members = await _present(asked, before)
    changed, added, order = await changed_members(asked, wish, members, targets)
    named = replace(named, members=order, document=replace(details, updated=utc_now()).encoded())
    quotas = asked.services.quotas
    caps, per_minute = await quotas.caps(asked.caller.key), quotas.defaults.deliveries_per_minute
    await tapis.save(named, changed=changed, added=added, caps=caps, deliveries_per_minute=per_minute)
    return named


async def _present(asked: Asked, named: Named) -> list[Subscription]:
    members = await asked.services.store.tapis.members([named])
    return [members[key] for key in named.members if key in members]


def _updated(asked: Asked, named: Named) -> Answered:
    return Answered(
        message=f"the subscription {named.name} was updated",
        result={"url": f"{asked.base}{BASE}/{named.name}"},
    )


def _count(changes: int, message: str) -> Answered:
    return Answered(message=message, result={"changes": changes})
