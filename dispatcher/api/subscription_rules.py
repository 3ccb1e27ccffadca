"""What a subscription must fulfil before it is stored, and what of its target is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
from msgspec import Struct

from dispatcher.api.access import only_owner
from dispatcher.domain.destinations import RateLimit
from dispatcher.domain.errors import Forbidden, InvalidInput
from dispatcher.domain.event_names import check_patterns
from dispatcher.domain.events import utc_now
from dispatcher.domain.filter_checks import check_attributes, check_selection, doubtful_names
from dispatcher.domain.keys import ApiKey
from dispatcher.domain.selections import Selection
from dispatcher.domain.subscriptions import EVERY_OWNER, Subscription
from dispatcher.domain.targets import DigestKind, TargetKind
from dispatcher.domain.times import parse_time
from dispatcher.store.filters import EventFilter, Window
from dispatcher.store.store import Store

Kinds = Mapping[str, TargetKind]

MAX_DOCUMENT = 16 * 1024
"""Bytes of JSON that metadata and filters may have."""

LATEST_EVENTS = 100
"""Events in which an attribute is looked for that may be a slip."""

MAX_TARGET = 128 * 1024
"""Bytes of JSON that a target may have."""

MAX_DEPTH = 32
"""How deep they may be nested, so that nothing that reads them later can run out of stack."""

_RECIPIENT = "token_url"
"""In an object with this field credentials go there."""


def checked_events(patterns: Sequence[str]) -> tuple[str, ...]:
    """The patterns, each once. Raises InvalidInput."""
    check_patterns(patterns)
    return tuple(dict.fromkeys(patterns))


async def checked_filters(
    caller: ApiKey, filters: Sequence[Mapping[str, object]], store: Store
) -> tuple[Mapping[str, object], ...]:
    """The filters. Raises InvalidInput."""
    check_document("filters", filters, MAX_DOCUMENT)
    doubtful = doubtful_names(filters)
    check_attributes(filters, await _seen(doubtful, caller, store) if doubtful else ())
    return tuple(filters)


async def _seen(names: set[str], caller: ApiKey, store: Store) -> set[str]:
    """Those of these attributes that the latest events have which the caller may see."""
    which = EventFilter(tenant=caller.tenant, visible_to=only_owner(caller))
    page = await store.events.page(which, Window(LATEST_EVENTS))
    return {name for event in page.items for name in names if name in event.attributes}


def check_passable(subscription: Subscription) -> Subscription:
    """The subscription itself. Raises InvalidInput when no event can be of those that it means and pass its filters."""
    check_selection(Selection.of(subscription))
    return subscription


def checked_metadata(metadata: Mapping[str, object]) -> Mapping[str, object]:
    """The metadata. Raises InvalidInput."""
    check_document("metadata", metadata, MAX_DOCUMENT)
    return metadata


def checked_rate_limit(limit: RateLimit | None) -> RateLimit | None:
    """The limit. Raises InvalidInput when it is too slow."""
    if limit is not None:
        limit.check()
    return limit


def checked_end(expires_at: datetime | None) -> datetime | None:
    """When it ends, in UTC. Raises InvalidInput unless that is to come."""
    if expires_at is None:
        return None
    end = parse_time("expires_at", expires_at)
    if end <= utc_now():
        raise InvalidInput("expires_at", f"expected a time in the future, got {expires_at.isoformat()}")
    return end


def checked_owner(caller: ApiKey, named: str | None) -> str:
    """Whose jobs are meant. Raises Forbidden when a key that is no admin's names another than its own."""
    if caller.admin:
        return named or EVERY_OWNER
    if named not in (None, caller.owner):
        raise Forbidden(
            f"owner: expected {caller.owner!r}, the owner of the key; only an admin may name another"
        )
    return caller.owner


def subscriber_of(maker: str, owner: str) -> str:
    """Whose a subscription to the jobs of `owner` is: of his who made it, or `*`, the admins'.

    An admin may have lesser keys of the same owner. They must not reach what tells of other owners' jobs.
    """
    return maker if owner == maker else EVERY_OWNER


async def check_job(caller: ApiKey, job_id: str | None, store: Store) -> None:
    """Raise Forbidden when the job is known as somebody else's who has not granted it."""
    if job_id is None or caller.admin:
        return
    owner = (await store.jobs.owners(caller.tenant, [job_id])).get(job_id)
    if owner in (None, caller.owner):
        return
    if await store.jobs.get(caller.tenant, job_id, caller.owner) is None:
        raise Forbidden(
            f"job_id: job {job_id!r} belongs to somebody else, who has not granted it to {caller.owner!r} "
            "(a PERMISSION_GRANT event does)"
        )


def checked_target(target: Struct, kinds: Kinds) -> tuple[dict[str, object], str]:
    """The target as it is stored, and its destination. Raises InvalidInput."""
    kind = kinds[str(target.__struct_config__.tag)]
    document: dict[str, object] = msgspec.to_builtins(target)
    check_document("target", document, MAX_TARGET)
    return document, kind.check(target)


def check_digest(subscription: Subscription, kinds: Kinds) -> Subscription:
    """The subscription itself. Raises InvalidInput when its events cannot be gathered as it says."""
    if subscription.digest is None:
        return subscription
    subscription.digest.check()
    if subscription.ordered:
        raise InvalidInput("digest", "expected null with `ordered`: what is gathered goes out in one message")
    if not subscription.persistent:
        raise InvalidInput("digest", "expected null when `persistent` is false: there is one delivery only")
    kind = kinds.get(subscription.kind)
    if not isinstance(kind, DigestKind):
        able = ", ".join(name for name, other in kinds.items() if isinstance(other, DigestKind))
        raise InvalidInput(
            "digest", f"a target of kind {subscription.kind} tells of one event; these of many: {able}"
        )
    kind.check_digest(msgspec.convert(subscription.target, kind.spec))
    return subscription


def changed_target(target: Struct, stored: Subscription, kinds: Kinds) -> tuple[dict[str, object], str]:
    """The same for a target that replaces a stored one: what comes back as shown keeps its credentials.

    They are bound to their destination, and to the token endpoint that they are for: no one who may change a
    subscription can have them sent elsewhere.
    """
    new = _plain_json(target)
    if target.__struct_config__.tag != stored.kind or stored.kind not in kinds:
        return checked_target(target, kinds)
    kept = _with_hidden(new, _plain_json(shown_target(stored.target, kinds)), stored.target)
    document, destination = checked_target(msgspec.convert(kept, kinds[stored.kind].spec), kinds)
    if kept != new and destination != stored.destination:
        raise InvalidInput(
            "target",
            f"its destination is {destination} and no longer {stored.destination}: "
            "expected the credentials themselves instead of what is shown for them",
        )
    return document, destination


def shown_target(target: Mapping[str, object], kinds: Kinds) -> Mapping[str, object]:
    """A stored target without its credentials; only its kind when it is not known which they are."""
    kind = kinds.get(str(target["kind"]))
    try:
        return {"kind": target["kind"]} if kind is None else kind.redact(msgspec.convert(target, kind.spec))
    except msgspec.ValidationError:
        return {"kind": target["kind"]}


def _with_hidden(new: object, shown: object, stored: object) -> object:
    """`new` with the stored value wherever it says the same as what was shown in its place."""
    if isinstance(new, dict) and isinstance(shown, dict) and isinstance(stored, Mapping):
        if new.get(_RECIPIENT) != shown.get(_RECIPIENT):
            return new
        return {name: _with_hidden(value, shown.get(name), stored.get(name)) for name, value in new.items()}
    if isinstance(new, list) and isinstance(shown, list) and isinstance(stored, Sequence):
        same = len(new) == len(shown) == len(stored)
        return [_with_hidden(*values) for values in zip(new, shown, stored, strict=True)] if same else new
    return stored if isinstance(new, str) and isinstance(stored, str) and new == shown else new


def _plain_json(value: object) -> object:
    return msgspec.json.decode(msgspec.json.encode(value))


def check_document(field: str, document: object, limit: int) -> None:
    """Raise InvalidInput when its JSON is nested too deeply or longer than `limit` bytes."""
    level = [document]
    for _ in range(MAX_DEPTH):
        level = [child for node in level for child in _children(node)]
        if not level:
            break
    else:
        raise InvalidInput(field, f"expected JSON that is nested at most {MAX_DEPTH} deep")
    size = len(msgspec.json.encode(document))
    if size > limit:
        raise InvalidInput(field, f"expected at most {limit} bytes of JSON, got {size}")


def _children(node: object) -> Sequence[object]:
    if isinstance(node, Mapping):
        return list(node.values())
    return node if isinstance(node, (list, tuple)) else ()
