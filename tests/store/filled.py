"""A PostgreSQL database with many rows of each kind, so that a statement that reads more than it needs is seen."""

from __future__ import annotations

from typing import Literal

import asyncpg

from dispatcher.store.factory import open_store
from tests.factories import make_subscription
from tests.servers import Databases
from tests.store.conftest import SEALER
from tests.store.questions import ROWS

Statistics = Literal["empty", "stale", "fresh"]
STATISTICS: tuple[Statistics, ...] = ("empty", "stale", "fresh")
FEW = 40
"""Rows that were there when statistics were made that are stale since."""

SUBSCRIPTIONS = """
insert into subscriptions
select sub_id(g), created_at, updated_at, null, null, 1, tenant, 's' || g % 1000,
    case when g % 2 = 0 then 'default' || chr(31) || 'job:job-' || g else 'default' || chr(31) || 'owner:o' || g end,
    case when g % 2 = 0 then 'job-' || g end, 'https://h' || g % 100 || ':443', 'active', null, details, sealed
from generate_series($2::int, $3::int) g, subscriptions where id = $1;
"""
OTHERS = """
insert into identities select evt_id(g), evt_id(g) from generate_series({low}, {high}) g;
insert into events select evt_id(g), now(), now(), 'default', g, '/jobs', 'job.FINISHED', 'FINISHED',
    'job-' || g / 4, 'o' || g % 5000, 'o' || g % 5000, '{{}}' from generate_series({low}, {high}) g;
insert into jobs (tenant, id, first_event, last_event, updated_at, events, owner, status)
    select 'default', 'job-' || g, evt_id(4 * g), evt_id(4 * g), now(), 4, 'o' || g % 5000, 'FINISHED'
    from generate_series({low}, {high}) g;
insert into unclaimed_jobs (tenant, id, owner, first_event, last_event, updated_at, events, status)
    select 'default', case when g % 3 = 0 then 'mine-' else 'job-' end || g, case when g % 3 = 0 then 'o' || g % 5000
        else 'early' end, evt_id(4 * g), evt_id(4 * g), now(), 4, 'FINISHED'
    from generate_series({low}, {high}) g;
insert into grants
    select 'default', 'job-' || g, 'o' || g % 5000, 'u' || g % 2000, true, true, now()
    from generate_series({low}, {high}) g;
insert into deliveries (id, event_key, subscription_id, tenant, subscriber, destination, state, listed_as, due_at,
        claimed_by, attempts)
    select dlv_id(g), evt_id(g / 2), sub_id(g / 2), 'default', 's' || g % 1000,
        'https://h' || g % 100 || ':443', coalesce(listed_as, 2), listed_as,
        case when listed_as = 0 then now() + (g - 600) * interval '1 second' end, null, 1
    from generate_series(2 * {low}, 2 * {high}) g,
        lateral (select case when g % 50 = 7 then 3 when g % 50 = 8 then 4 when g % 2 = 0 then 0 end) as l (listed_as);
insert into attempts
    select dlv_id(g), 1, now(), 0.1, 200, 'POST https://h', null, 'ok' from generate_series({low}, {high}) g;
insert into turns (subscription_id, delivery_id, job_id)
    select sub_id(g % 1000), dlv_id(2 * g), 'job-' || g / 8 from generate_series({low}, {high}) g;
insert into memos select dlv_id(2 * g), 'a memo' from generate_series({low}, {high}) g;
insert into destinations (key, open_until, changed_at)
    select 'https://h' || g || ':443', case when g < 10 then now() end, now() - g * interval '1 minute'
    from generate_series({low}, {high}) g;
insert into breakers
    select 'sub_' || replace(sub_id(g)::text, '-', ''), case when g < 10 then now() end, null,
        now() - g * interval '1 minute', 0, false, false, 'https://h' || g % 100 || ':443', null
    from generate_series({low}, {high}) g;
insert into rates
    select 'https://h' || g || ':443', extract(epoch from now()) + g from generate_series({low}, {high}) g;
insert into api_keys
    select evt_id(g), now(), 'digest' || g, 'default', 'o', 'a key', 'publish'
    from generate_series({low}, {high}) g;
insert into expansions (queue, event_key, candidates, remaining, tenant, job_id, wanted)
    select evt_id(g % 1000), evt_id(g), evt_id(g), 1, 'default', 'job-' || g, '\\x80'
    from generate_series({low}, {high}) g;
insert into expansion_candidates select evt_id(g), decode(replace(sub_id(g)::text, '-', ''), 'hex')
    from generate_series({low}, {high}) g;
insert into digests select evt_id(g), sub_id(g), dlv_id(2 * g), now(), null, 1, 1 from generate_series({low}, {high}) g;
insert into digest_members select dlv_id(2 * g + 1), dlv_id(2 * g), sub_id(g) from generate_series({low}, {high}) g;
insert into oauth_tokens select evt_id(g), null, null, now() + interval '1 day' from generate_series({low}, {high}) g;
insert into target_statuses select evt_id(g), evt_id(g), null, null, now() from generate_series({low}, {high}) g;
insert into quotas select 'default', 'o' || g, '{{}}', now() from generate_series({low}, {high}) g;
insert into usage select 'default', 'o' || g % 1000, 30000 + g / 1000, 99 from generate_series({low}, {high}) g;
insert into mail_consents (tenant, subscriber, address)
    select 'default', 's' || g % 1000, 'a' || g || '@example.org' from generate_series({low}, {high}) g;
insert into mail_unsubscribed select sub_id(g), 'a' || g || '@example.org', now() from generate_series({low}, {high}) g;
insert into mail_counts select 'to a' || g, now(), 1 from generate_series({low}, {high}) g;
insert into tapis_subscriptions
    select sub_id(g), now(), now() + interval '1 day', 'default', 'o' || g % 1000, 'name' || g, 'job-' || g, '', '{{}}'
    from generate_series({low}, {high}) g;
insert into tapis_series select 'default', 'Jobs', 'job-' || g, '1', 1 from generate_series({low}, {high}) g;
insert into tapis_notifications select sub_id(g), 'a uuid', now(), '{{}}' from generate_series({low}, {high}) g;
"""
FORGET = """
delete from pg_statistic;
update pg_class set reltuples = -1, relpages = 0, relallvisible = 0
where relnamespace = 'public'::regnamespace and relkind in ('r', 'i', 'p', 'I');
"""


async def fill(server: Databases, template: str) -> str:
    """Make a database with ROWS rows of each kind, and statistics of FEW. Its address."""
    url = await server.create_database(template=template)
    store = open_store(url, SEALER)
    await store.open()
    model = make_subscription(owner="*")
    await store.subscriptions.add(model)
    await store.close()
    connection = await asyncpg.connect(url)
    tables = await connection.fetch(
        "select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace"
    )
    for (table,) in tables:
        await connection.execute(f"alter table {table} set (autovacuum_enabled = false)")
    for prefix in ("evt", "sub", "dlv"):
        await connection.execute(
            f"create function {prefix}_id(g bigint) returns uuid immutable language sql "
            "as $$ select ('01900000' || lpad(to_hex(g), 24, '0'))::uuid $$"
        )
    for low, high in ((1, FEW), (FEW + 1, ROWS)):
        await connection.execute(SUBSCRIPTIONS, model.id[4:], low, high)
        await connection.execute(OTHERS.format(low=low, high=high))
        if high == FEW:
            await connection.execute("analyze")
    await connection.close()
    return url


async def copy(server: Databases, full: str, statistics: Statistics) -> str:
    """Copy such a database, with these statistics. Its address."""
    url = await server.create_database(template=full)
    connection = await asyncpg.connect(url)
    if statistics == "empty":
        await connection.execute(FORGET)
    if statistics == "fresh":
        await connection.execute("analyze")
    await connection.close()
    return url
