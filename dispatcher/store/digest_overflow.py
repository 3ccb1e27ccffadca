"""What a recipient cannot take yet, in the store: it waits for one digest of its subscription."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct
from sqlalchemy import Connection, func, select, update

from dispatcher.domain.deliveries import Outcome, State
from dispatcher.domain.digests import MAX_MEMBERS, OVERFLOW, DigestPolicy, group_id
from dispatcher.domain.events import utc_now
from dispatcher.store import digests
from dispatcher.store.lists import chunks
from dispatcher.store.schema import deliveries, digest_members, events

_delivery, _member = deliveries.c, digest_members.c


class Late(Struct, frozen=True):
    """A pending delivery that is to go with others, and when it was to go; its event has `size` bytes."""

    delivery_id: str
    size: int
    due_at: datetime


def late(outcomes: Sequence[Outcome]) -> Mapping[str, Sequence[Late]]:
    """Those of these deliveries that are to go with others, by their subscriptions."""
    found: defaultdict[str, list[Late]] = defaultdict(list)
    for one in outcomes:
        if one.joins is not None and one.due_at is not None:
            found[one.joins.subscription_id].append(Late(one.delivery_id, one.joins.size, one.due_at))
    return found


def gather(connection: Connection, subscription_id: str, some: Sequence[Late]) -> None:
    """Let deliveries of a subscription wait for a digest that goes when the first of them was to go.

    Left alone are those that were claimed or have ended meanwhile, and those that wait for one already.
    """
    ids = [one.delivery_id for one in some]
    free = _pending(connection, ids) - _members(connection, ids)
    key = group_id(subscription_id, OVERFLOW)
    group = digests.locked(connection, key, subscription_id)
    brought = _brought(connection, ids)
    due: dict[str, datetime | None] = {}
    members: list[tuple[str, str, str]] = []
    policy, now = DigestPolicy(wait=0), utc_now()
    for one in some:
        if one.delivery_id not in free or one.delivery_id == group.leader:
            continue
        count, size = brought.get(one.delivery_id, (0, 0))
        leader = group.place(one.delivery_id, one.size + size, policy, MAX_MEMBERS, now, count=1 + count)
        if leader is None:
            group.due_at = due[one.delivery_id] = one.due_at
            continue
        due[one.delivery_id] = None
        members.append((leader, one.delivery_id, subscription_id))
        if count:
            # Those that waited for this one wait for the other one now.
            moved = update(digest_members).where(_member.leader == one.delivery_id)
            connection.execute(moved.values(leader=leader))
    digests.keep(connection, digests.Placing({key: group}, members, due))


def _pending(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Those that wait; no one can claim them meanwhile."""
    found: set[str] = set()
    for some in chunks(sorted(ids)):
        waits = select(_delivery.id).where(_delivery.id.in_(some), _delivery.state == State.PENDING)
        found.update(connection.execute(waits.order_by(_delivery.id).with_for_update()).scalars())
    return found


def _members(connection: Connection, ids: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for some in chunks(ids):
        joined = select(_member.delivery_id).where(_member.delivery_id.in_(some))
        found.update(connection.execute(joined).scalars())
    return found


def _brought(connection: Connection, leaders: Sequence[str]) -> dict[str, tuple[int, int]]:
    """How many wait for each of these, and the bytes of their events; those without any are left out."""
    joined = digest_members.join(deliveries, _delivery.id == _member.delivery_id).join(
        events, events.c.key == _delivery.event_key
    )
    weight = select(_member.leader, func.count(), func.sum(func.length(events.c.document)))
    found: dict[str, tuple[int, int]] = {}
    for some in chunks(leaders):
        these = weight.select_from(joined).where(_member.leader.in_(some)).group_by(_member.leader)
        found |= {leader: (count, int(size)) for leader, count, size in connection.execute(these)}
    return found
