"""Subscriptions as Tapis v3 shows them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec
from msgspec import Struct

from dispatcher.api.subscription_rules import Kinds, shown_target
from dispatcher.compat.tapis_v3.conditions import Searched
from dispatcher.compat.tapis_v3.event_model import uuid_of
from dispatcher.compat.tapis_v3.repository import TapisSubscription
from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.subscriptions import Subscription

SUMMARY = ("owner", "name", "typeFilter", "subjectFilter")
ATTRIBUTES = (
    *("tenant", "name", "description", "owner", "enabled", "typeFilter", "subjectFilter", "deliveryTargets"),
    *("ttlMinutes", "uuid", "expiry", "created", "updated"),
)
SEARCHED = Searched(
    {
        "name": "text",
        "owner": "text",
        "tenant": "text",
        "description": "text",
        "typeFilter": "text",
        "subjectFilter": "text",
        "uuid": "text",
        "expiry": "time",
        "created": "time",
        "updated": "time",
        "enabled": "flag",
        "ttlMinutes": "number",
    }
)

_encode = msgspec.json.Encoder().encode


class Details(Struct, frozen=True, kw_only=True):
    """What is stored of a subscription besides its name, subject and members.

    `start_count` is how many events a test sequence began with; None for what is no test sequence.
    """

    type_filter: str
    ttl_minutes: int
    enabled: bool
    updated: datetime
    description: str | None = None
    start_count: int | None = None

    def encoded(self) -> bytes:
        """As it is stored."""
        return _encode(self)


_decode_details = msgspec.json.Decoder(Details).decode


def details_of(named: TapisSubscription) -> Details:
    """What is stored of a subscription."""
    return _decode_details(named.document)


def attributes(named: TapisSubscription) -> dict[str, object]:
    """All that can be searched for and sorted by."""
    details = details_of(named)
    return {
        "tenant": named.tenant,
        "name": named.name,
        "description": details.description,
        "owner": named.owner,
        "enabled": details.enabled,
        "typeFilter": details.type_filter,
        "subjectFilter": named.subject_filter,
        "ttlMinutes": details.ttl_minutes,
        "uuid": uuid_of(named.id),
        "expiry": named.expires_at,
        "created": named.created_at,
        "updated": details.updated,
    }


def view(
    named: TapisSubscription,
    members: Mapping[str, Subscription],
    kinds: Kinds,
    selected: Iterable[str] = ATTRIBUTES,
) -> dict[str, object]:
    """The attributes that were selected, without those that have no value.

    It is enabled as long as one of its members is: a receiver that answers 410 disables its own.
    """
    mine = [members[key] for key in named.members if key in members]
    shown = attributes(named)
    shown["enabled"] = shown["enabled"] and any(one.status == "active" for one in mine)
    shown["deliveryTargets"] = [target_of(one, kinds) for one in mine]
    return {name: shown[name] for name in ATTRIBUTES if name in selected and shown[name] is not None}


def target_of(subscription: Subscription, kinds: Kinds) -> dict[str, object]:
    """The delivery target that a subscription stands for, credentials in its address hidden."""
    shown = shown_target(subscription.target, kinds)
    to = shown.get("to")
    if subscription.kind == "email":
        return {
            "deliveryMethod": "EMAIL",
            "deliveryAddress": to[0] if isinstance(to, list | tuple) and to else "",
        }
    return {"deliveryMethod": "WEBHOOK", "deliveryAddress": str(shown.get("url", ""))}


def selected(
    select: str | None, default: str, every: Sequence[str] = ATTRIBUTES, summary: Sequence[str] = SUMMARY
) -> tuple[str, ...]:
    """The attributes that `select` names; the name is always among them. Raises InvalidInput."""
    groups = {"allAttributes": every, "summaryAttributes": summary}
    found = {"name"}
    for word in (select or default).split(","):
        name = word.strip()
        if name not in every and name not in groups:
            known = ", ".join((*groups, *every))
            raise InvalidInput("select", f"there is no attribute {name[:80]!r}; known are {known}")
        found.update(groups.get(name, (name,)))
    return tuple(found)
