"""The hot statements on PostgreSQL. Each takes a batch as arrays and is a transaction by itself.

They run on connections whose planner only knows nested loops over indexes: a plan that is made while a table
is small would read the whole of it, and would be kept while it grows. Plans are made once: to make one for all
partitions costs several times what it takes to carry out one for a small batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dispatcher.domain.events import Event
from dispatcher.store.batches import ATTEMPT, DELIVERY, EVENT, GRANT, IDENTITY, JOB, OUTCOME
from dispatcher.store.column_types import DELIVERED, DELIVERING, PENDING
from dispatcher.store.upserts import MERGE_GRANT, MERGE_JOB, MERGE_UNCLAIMED_JOB

SETTINGS = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
}
COLD_SETTINGS = {"enable_seqscan": "off", "jit": "off"}
"""For all other statements: a partition is empty when its time begins, and a plan may be kept while it grows.

A table without an index that fits is read whole all the same, at a cost so high on paper that the statement would be
compiled for it: that takes a tenth of a second.
"""


def _unnest(name: str, columns: Mapping[str, str], first: int) -> str:
    """A table of arrays that are given as parameters from number `first` on, as `arrays.parameters` makes them."""
    arrays = ", ".join(
        f"${number}::text::text[]" if kind == "text" else f"${number}::{kind}[]"
        for number, kind in enumerate(columns.values(), first)
    )
    return f"unnest({arrays}) as {name} ({', '.join(columns)})"


def _names(columns: Iterable[str], table: str = "") -> str:
    return ", ".join(f"{table}{name}" for name in columns)


# The lock keeps others from taking this process's claims over before those that are stored here can be seen.
ME = "me as (select id, oldest_claim from processes where id = $1 for key share)"


# All columns but the last, whose grant it is.
_GRANTED = list(GRANT)[:-1]
# All columns but the last two, which decide about the state.
_DELIVERY = list(DELIVERY)[:-2]


def _insert_deliveries(first: int, events: str = "") -> str:
    # Without a lease, or below what its heartbeat says, no one would find the claim: then it is due instead.
    return f"""
    insert into deliveries
        ({_names(_DELIVERY)}, state, listed_as, claimed_by, due_at)
    select {_names(_DELIVERY)},
        case when holds then {DELIVERING} else {PENDING} end,
        case when holds then null else {PENDING} end,
        case when holds then process end,
        case when claimed and not holds then now() else due_at end
    from (
        select d.*, me.id as process, d.claimed and me.id is not null and d.id >= me.oldest_claim as holds
        from {_unnest("d", DELIVERY, first)} {events} left join me on true
    ) as delivery
    """


_E = 2 + len(IDENTITY)
_D = _E + len(EVENT)
_P = _D + len(DELIVERY)
_J = _P + len(GRANT)

# Whose the jobs are comes out of their upsert, which finds them by the primary key whatever the statistics say: a
# sub-select by tenant and id could go by another index of the tenant, and did while the table was new. It is asked for
# events that name no owner only. A tenant and an id hold no control character.
_OWNERS = "select jsonb_object_agg(tenant || chr(31) || id, owner) as by_job from merged"

ACCEPT = f"""
with {ME},
identified as (
    insert into identities ({_names(IDENTITY)}) select * from {_unnest("i", IDENTITY, 2)}
),
merged as (
    insert into jobs as old ({_names(JOB)}) select * from {_unnest("j", JOB, _J)}
    {MERGE_JOB}
    returning tenant, id, owner
),
owners as materialized ({_OWNERS}),
caused as ({_insert_deliveries(_D)}),
granted as (
    insert into grants as old ({_names(_GRANTED)}, owner)
    select distinct on (tenant, job_id, owner, username) {_names(_GRANTED)}, owner
    from (
        select {_names(_GRANTED, "g.")},
            coalesce(g.owner, (select by_job ->> (g.tenant || chr(31) || g.job_id) from owners)) as owner
        from {_unnest("g", GRANT, _P)}
    ) as named
    where owner is not null
    order by tenant, job_id, owner, username, trusted desc, at desc, granted
    {MERGE_GRANT}
)
insert into events ({_names(EVENT)})
select {_names(list(EVENT)[:-2], "e.")},
    coalesce(e.job_owner, (select by_job ->> (e.tenant || chr(31) || e.job_id) from owners)),
    e.document
from {_unnest("e", EVENT, _E)}
"""
"""Lease, identities, events, deliveries, grants, jobs. UniqueViolationError when one is there."""

LOCK_JOBS = """
select asked.tenant, asked.id, job.owner
from unnest($1::text[], $2::text[]) as asked (tenant, id)
cross join lateral (
    select owner from jobs where tenant = asked.tenant and id >= asked.id and id <= asked.id
    order by id limit 1 for no key update
) as job
"""
"""Tenants and ids, in the order in which jobs are written: whose these jobs are, and that stays so.

Only the primary key gives the order by id, so no other index of the tenant is taken, whatever the statistics say.
"""

ACCEPT_UNCLAIMED = f"""
insert into unclaimed_jobs as old ({_names(JOB)}) select * from {_unnest("j", JOB, 1)}
{MERGE_UNCLAIMED_JOB}
"""

IDENTITIES = "select digest, event_key from identities where digest = any($1::uuid[])"
"""Which of these digests are stored, with the keys of their events."""

ADD_DELIVERIES = f"""
with {ME}, event as (select key from events where key = any($3::uuid[]) for key share)
{_insert_deliveries(2, "join event on event.key = d.event_key")}
on conflict (id) do nothing
returning id
"""
"""Lease, deliveries. Those that are there are left as they are: an earlier call stored them. The others' ids.

The lock keeps their events: one that retention has just deleted gets no delivery.
"""

LOCK_TURNS = "select pg_advisory_xact_lock(hashtextextended(key, 0)) from unnest($1::text[]) as key"
"""Keys of `turns.keys_of`."""

ENTER_TURNS = """
insert into turns (subscription_id, delivery_id, job_id, not_before)
select new.subscription_id, new.delivery_id, new.job_id, new.not_before
from unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[]) with ordinality
    as new (subscription_id, delivery_id, job_id, not_before, place)
order by place
on conflict (delivery_id) do nothing
"""
"""Subscriptions, deliveries, jobs, and when each may go at the earliest, in the order of acceptance."""

HOLD = """
update deliveries set due_at = null
from (
    select held.id
    from unnest($1::uuid[]) as held (id)
    cross join lateral (
        select subscription_id, job_id, seq from turns where delivery_id = held.id limit 1
    ) as mine
    cross join lateral (
        select from turns
        where subscription_id = mine.subscription_id and job_id = mine.job_id and seq < mine.seq limit 1
    ) as earlier
) as later
where deliveries.id = later.id
"""
"""Holds those of these deliveries that are not the first of their job.

The limits keep the planner from beginning with all turns.
"""

ENTER_DIGESTS = """
insert into digests (id, subscription_id, members, bytes)
select id, subscription_id, 0, 0 from unnest($1::uuid[], $2::uuid[]) as new (id, subscription_id)
on conflict do nothing
"""
"""Groups, sorted, and their subscriptions."""

LOCK_DIGESTS = """
select id, leader, due_at, sent_at, members, bytes from digests where id = any($1::uuid[]) order by id for update
"""

KEEP_DIGESTS = """
update digests as d set leader = n.leader, due_at = n.due_at, members = n.members, bytes = n.bytes
from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::int[], $5::int[])
    as n (id, leader, due_at, members, bytes)
where d.id = n.id
"""

JOIN_DIGESTS = """
insert into digest_members (leader, delivery_id, subscription_id)
select * from unnest($1::uuid[], $2::uuid[], $3::uuid[]) on conflict do nothing
"""

SET_DUE = """
update deliveries as d set due_at = n.due_at
from unnest($1::uuid[], $2::timestamptz[]) as n (id, due_at) where d.id = n.id
"""

RESUMED = """
select id, status <> 'paused' or removed_at is not null as resumed
from subscriptions where id = any($1::uuid[]) order by id for share
"""
"""Which of these subscriptions are not paused (any more).

The lock is on the others too: it makes a resume wait until what is held is stored, and sees it then.
"""

RESUMED_DELIVERIES = """
select d.id, s.status <> 'paused' or s.removed_at is not null as resumed
from deliveries d join subscriptions s on s.id = d.subscription_id
where d.id = any($1::uuid[]) order by s.id for share of s
"""
"""The same for the subscriptions of these deliveries."""

MATCHING = """
select id, revision from subscriptions
where match_key = any($1::text[]) and removed_at is null and status in ('active', 'paused')
    and (expires_at is null or expires_at > $2)
"""
"""The subscriptions that are in use with one of these match keys, at this time."""

EVENTS = f"""
select {_names(Event.__struct_fields__)} from (
    select events.*, sum(octet_length(document)) over (order by key) - octet_length(document) as before
    from unnest($1::uuid[]) as asked (event_key) join events on key = event_key
) as found
where before < $2::bigint
"""
"""The events with these keys, as many as fit into so many bytes, and one at least.

A join looks for each in its own partition only. The length of a document stands in its row, wherever the rest is.
"""

REVISIONS = "select id, revision from subscriptions where id = any($1::uuid[]) and removed_at is null"

UNCLAIM = f"""
with lost as (delete from claims where process = $1 and delivery_id <> all($2::uuid[]) returning delivery_id)
update deliveries set state = {PENDING}, claimed_by = null
from lost where id = lost.delivery_id and claimed_by = $1 and state = {DELIVERING}
"""
"""Lease, and what its process knows to have claimed: the rest was claimed by a call whose answer was lost."""

FINISH = f"""
with tried as (
    insert into attempts ({_names(ATTEMPT)}) select * from {_unnest("a", ATTEMPT, 2 + len(OUTCOME))}
    on conflict do nothing
),
done as (delete from claims where delivery_id = any($2::uuid[]) and process = $1)
update deliveries as d
set state = o.state, listed_as = nullif(o.state, {DELIVERED}), attempts = o.attempts, claimed_by = null,
    due_at = o.due_at, ended_at = o.ended_at, reason = o.reason
from {_unnest("o", OUTCOME, 2)}
where d.id = o.id and case d.state when {DELIVERING} then d.claimed_by = $1 end
"""
"""Lease, outcomes, attempts.

As plain conditions the last two look so rare to the planner that it begins with them: it reads the whole table, and
goes through all outcomes for each row that it finds.
"""

HEARTBEAT = """
update processes set lease_until = now() + make_interval(secs => $2), oldest_claim = $3
where id = $1 returning id
"""

LOCK_LIKE_ACCEPT = """
set local lock_timeout = '4s';
lock table only events, deliveries, attempts, jobs, identities in row exclusive mode
"""
CHECK_WRITE = "update processes set lease_until = lease_until where id = $1"
