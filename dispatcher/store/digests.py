"""Digests in the store: who leads each group, and which deliveries wait for it.

A leader is an ordinary delivery with a due time. Its members are held, and end as it ends. A lock on the row of the
group keeps those who accept and those who send from missing each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from msgspec import Struct
from sqlalchemy import ColumnElement, Connection, Row, case, delete, insert, select, update

from dispatcher.domain.deliveries import OpenDelivery, State
from dispatcher.domain.digests import MAX_MEMBERS, DigestPolicy, Gathered, Group, group_id
from dispatcher.domain.events import Event, utc_now
from dispatcher.store import attempt_state, dialect
from dispatcher.store.lists import chunks, rows_of
from dispatcher.store.mapping import EVENT
from dispatcher.store.schema import attempts, deliveries, digest_members, digests, events
from dispatcher.store.session import Repository

AT_ONCE = 200
"""Leaders that one repair looks at in one transaction."""

_group = digests.c
_member = digest_members.c
_delivery = deliveries.c


class Wanted(Struct, frozen=True):
    """A new delivery that is to go into a digest of its group; `held` when its subscription is paused."""

    group: bytes
    delivery_id: str
    subscription_id: str
    policy: DigestPolicy
    most: int
    size: int
    held: bool


class Placing(Struct, frozen=True):
    """What follows for a batch: the groups as they are then, the members with their leaders, everybody's due time."""

    groups: Mapping[bytes, Group]
    members: Sequence[tuple[str, str, str]]
    due: Mapping[str, datetime | None]


class DigestRepository(Repository):
    """Digests that gather; storing deliveries and recording outcomes see to them by themselves."""

    async def take(self, leader: str) -> list[Gathered]:
        """Close the digest that a claimed delivery leads, and return its members, the oldest first.

        None of them when it leads none. They end as it ends; what comes now goes into the next digest.
        """
        return await self._write(_take, leader)

    async def repair(self, after: str | None) -> str | None:
        """End the members of some leaders after `after` that ended in a crash; where to go on, None at the end."""
        return await self._write(_repair, after)


def wanted(new: Sequence[OpenDelivery]) -> list[Wanted]:
    """Those of these deliveries that go into digests."""
    return [
        Wanted(
            one.group or group_id(one.subscription.id, ()),
            one.id,
            one.subscription.id,
            policy,
            policy.max_rows if one.subscription.kind == "webhook" else MAX_MEMBERS,
            len(one.event.document),
            one.due_at is None,
        )
        for one in new
        if (policy := one.subscription.digest) is not None
    ]


def placing(new: Sequence[Wanted], groups: Mapping[bytes, Group], now: datetime) -> Placing:
    """Put each into the digest that gathers in its group, or let it lead a new one. `groups` are changed."""
    members: list[tuple[str, str, str]] = []
    due: dict[str, datetime | None] = {}
    for one in new:
        group = groups[one.group]
        leader = group.place(one.delivery_id, one.size, one.policy, one.most, now)
        if leader is None:
            due[one.delivery_id] = None if one.held else group.due_at
        else:
            due[one.delivery_id] = None
            members.append((leader, one.delivery_id, one.subscription_id))
    return Placing(groups, members, due)


def enter(connection: Connection, new: Sequence[OpenDelivery]) -> None:
    """Put new deliveries into their digests. On SQLite; on PostgreSQL it is part of the hot statements."""
    going = wanted(new)
    if not going:
        return
    groups = {one.group: locked(connection, one.group, one.subscription_id) for one in going}
    keep(connection, placing(going, groups, utc_now()))


def locked(connection: Connection, key: bytes, subscription_id: str) -> Group:
    """Where a group stands, which no one else changes before this transaction ends."""
    row = {"id": key, "subscription_id": subscription_id, "members": 0, "bytes": 0}
    columns = (_group.leader, _group.due_at, _group.sent_at, _group.members, _group.bytes)
    this = select(*columns).where(_group.id == key).with_for_update()
    # Again when it was purged in between.
    while (found := connection.execute(this).one_or_none()) is None:
        connection.execute(dialect.insert(connection, digests).values(row).on_conflict_do_nothing())
    return Group(*found)


def keep(connection: Connection, placed: Placing) -> None:
    """Write what follows for a batch."""
    for key, group in placed.groups.items():
        values = {name: getattr(group, name) for name in group.__struct_fields__}
        connection.execute(update(digests).where(_group.id == key).values(values))
    rows = [
        dict(zip(("leader", "delivery_id", "subscription_id"), row, strict=True)) for row in placed.members
    ]
    for some in chunks(rows):
        connection.execute(insert(digest_members), list(some))
    by_time: defaultdict[datetime | None, list[str]] = defaultdict(list)
    for delivery_id, due_at in placed.due.items():
        by_time[due_at].append(delivery_id)
    for due_at, ids in by_time.items():
        for some_ids in chunks(ids):
            waits = (_delivery.id.in_(some_ids), _delivery.state == State.PENDING)
            connection.execute(update(deliveries).where(*waits).values(due_at=due_at))


def _take(connection: Connection, leader: str) -> list[Gathered]:
    open_group = select(_group.id).where(_group.leader == leader).with_for_update()
    found = connection.execute(open_group).scalar()
    if found is not None:
        closed = update(digests).where(_group.id == found)
        connection.execute(closed.values(leader=None, due_at=None, sent_at=utc_now(), members=0, bytes=0))
    of_leader = _member.leader == leader
    wanted_ids = select(_member.delivery_id).where(of_leader).order_by(_member.delivery_id).limit(MAX_MEMBERS)
    ids = list(connection.execute(wanted_ids).scalars())
    noted = attempt_state.of(connection, ids)
    return [Gathered(key, event, noted.get(key)) for key, event in _events(connection, ids)]


def finish_members(connection: Connection, leaders: Collection[str]) -> int:
    """Let the members of these leaders that have ended end in the same way, each with that attempt. How many."""
    count = 0
    for leader in leaders:
        row = connection.execute(select(deliveries).where(_delivery.id == leader)).one_or_none()
        ids = list(connection.execute(select(_member.delivery_id).where(_member.leader == leader)).scalars())
        if row is None:
            _release(connection, ids)
        elif row.state.final:
            count += _end_like(connection, row, ids)
        else:
            continue
        connection.execute(delete(digest_members).where(_member.leader == leader))
    return count


def remove_member(connection: Connection, delivery_id: str) -> None:
    """Take a delivery out of its digest, because it goes by itself or has ended; when it led, another leads now."""
    # The lock waits for those who are storing members: so these are seen below.
    gathering = select(_group.due_at).where(_group.leader == delivery_id).with_for_update()
    due_at = connection.execute(gathering).scalar()
    connection.execute(delete(digest_members).where(_member.delivery_id == delivery_id))
    of_leader = select(_member.delivery_id).where(_member.leader == delivery_id)
    successor = connection.execute(of_leader.order_by(_member.delivery_id).limit(1)).scalar()
    connection.execute(
        update(digests)
        .where(_group.leader == delivery_id)
        .values(leader=successor, due_at=None if successor is None else due_at)
    )
    if successor is not None:
        connection.execute(delete(digest_members).where(_member.delivery_id == successor))
        connection.execute(
            update(digest_members).where(_member.leader == delivery_id).values(leader=successor)
        )
        waits = (_delivery.id == successor, _delivery.state == State.PENDING)
        connection.execute(update(deliveries).where(*waits).values(due_at=due_at or utc_now()))


def members_of(connection: Connection, leaders: Sequence[str], which: ColumnElement[bool]) -> list[str]:
    """Those `which` are members of these leaders."""
    joined = digest_members.join(deliveries, _delivery.id == _member.delivery_id)
    these = select(_delivery.id).select_from(joined).where(which)
    return [
        key
        for some in chunks(leaders)
        for key in connection.execute(these.where(_member.leader.in_(some))).scalars()
    ]


def remove_members(connection: Connection, delivery_ids: Sequence[str]) -> None:
    """Take those that have ended out of their digests; of each that they led another member leads now."""
    running = (State.PENDING, State.DELIVERING)
    ended: list[str] = []
    for some in chunks(delivery_ids):
        these = select(_delivery.id).where(_delivery.id.in_(some), _delivery.state.not_in(running))
        ended += connection.execute(these).scalars()
    for some in chunks(ended):
        connection.execute(delete(digest_members).where(_member.delivery_id.in_(some)))
    for some in chunks(ended):
        leading = select(_member.leader).where(_member.leader.in_(some))
        gathering = select(_group.leader).where(_group.leader.in_(some))
        for leader in connection.execute(leading.union(gathering)).scalars().all():
            remove_member(connection, leader)


def disband(connection: Connection, subscription_id: str) -> int:
    """Forget the digests of a subscription: nothing of it waits, or what does goes by itself. How many members."""
    gone = connection.execute(
        delete(digest_members).where(_member.subscription_id == subscription_id)
    ).rowcount
    connection.execute(delete(digests).where(_group.subscription_id == subscription_id))
    return gone


def _repair(connection: Connection, after: str | None) -> str | None:
    following = select(_member.leader).order_by(_member.leader).limit(1)
    first = following if after is None else following.where(_member.leader > after)
    names = select(first.scalar_subquery().label("key")).cte("leaders", recursive=True)
    nxt = following.where(_member.leader > names.c.key).scalar_subquery()
    every = names.union_all(select(nxt).where(names.c.key.is_not(None)))
    some = select(every.c.key).where(every.c.key.is_not(None)).limit(AT_ONCE)
    leaders = list(connection.execute(some).scalars())
    finish_members(connection, leaders)
    return leaders[-1] if len(leaders) == AT_ONCE else None


def _events(connection: Connection, delivery_ids: Sequence[str]) -> list[tuple[str, Event]]:
    found: list[tuple[str, Event]] = []
    for some in chunks(delivery_ids):
        joined = deliveries.join(events, events.c.key == _delivery.event_key)
        statement = select(_delivery.id.label("delivery_id"), *EVENT).select_from(joined)
        rows = rows_of(connection, statement.where(_delivery.id.in_(some)).order_by(_delivery.id))
        found += [
            (row["delivery_id"], Event(**{name: row[name] for name in Event.__struct_fields__}))
            for row in rows
        ]
    return found


def _release(connection: Connection, ids: Sequence[str]) -> None:
    for some in chunks(ids):
        waits = (_delivery.id.in_(some), _delivery.state == State.PENDING, _delivery.due_at.is_(None))
        connection.execute(update(deliveries).where(*waits).values(due_at=utc_now()))


def _end_like(connection: Connection, leader: Row[tuple[object, ...]], ids: Sequence[str]) -> int:
    last = (attempts.c.delivery_id == leader.id, attempts.c.number == leader.attempts)
    attempt = [dict(row) for row in rows_of(connection, select(attempts).where(*last))]
    # Who was tried alone before has attempts of the same numbers.
    number = case((_delivery.attempts < leader.attempts, leader.attempts), else_=_delivery.attempts + 1)
    values = {
        "state": leader.state,
        "listed_as": None if leader.state is State.DELIVERED else leader.state,
        "attempts": number if attempt else _delivery.attempts,
        "ended_at": leader.ended_at,
        "reason": leader.reason,
        "due_at": None,
    }
    count = 0
    for some in chunks(ids):
        waits = (_delivery.id.in_(some), _delivery.state == State.PENDING)
        ended = update(deliveries).where(*waits).values(values).returning(_delivery.id, _delivery.attempts)
        these = connection.execute(ended).all()
        copies = [{**one, "delivery_id": key, "number": at} for one in attempt for key, at in these]
        if copies:
            connection.execute(insert(attempts), copies)
        if leader.state is State.EXHAUSTED:
            _hand_on_memo(connection, leader.id, [key for key, _ in these])
        count += len(these)
    return count


def _hand_on_memo(connection: Connection, leader: str, members: Sequence[str]) -> None:
    """Keep for members what is known of their leader: who has the message must not get it again by hand."""
    noted = attempt_state.of(connection, [leader, *members])
    if leader in noted:
        attempt_state.note(connection, {key: noted[leader] for key in members if key not in noted})
