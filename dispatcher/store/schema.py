"""The tables, alike in SQLite and PostgreSQL.

There are no foreign keys. Batches are written in one statement that keeps the rows consistent by itself, a
check per row would cost as much as the row, and what is old can be dropped with its partition.

In PostgreSQL events, deliveries and attempts are partitioned by time, see `dispatcher.store.partitions`.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

from dispatcher.store.columns import DELIVERED, DELIVERING, Digest, Id, Moment, StateCode

metadata = MetaData()

identities = Table(
    "identities",
    metadata,
    Column("digest", Digest, primary_key=True),
    Column("event_key", Id("evt"), nullable=False),
    comment="Which events are there: duplicates are found here.",
    sqlite_with_rowid=False,
)

events = Table(
    "events",
    metadata,
    Column("key", Id("evt"), primary_key=True),
    Column("time", Moment, nullable=False),
    Column("accepted_at", Moment, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("job_id", Text, nullable=False),
    Column("owner", Text),
    Column("job_owner", Text, comment="The event's owner, or else the job's as far as it was known then."),
    Column("document", LargeBinary, nullable=False),
    Column("published_by", Text),
    Index("events_of_tenant", "tenant", "key"),
    Index("events_of_job", "tenant", "job_id", "key"),
    Index("events_of_owner", "tenant", "job_owner", "key"),
    postgresql_partition_by="RANGE (key)",
)

jobs = Table(
    "jobs",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("first_event", Id("evt"), nullable=False),
    Column("last_event", Id("evt"), nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("status_at", Moment),
    Column("submitted_at", Moment),
    Column("started_at", Moment),
    Column("ended_at", Moment),
    Column("events", Integer, nullable=False),
    Column("owner", Text),
    Column("status", Text),
    Column("message", Text),
    Column("name", Text),
    Column("app_id", Text),
    Column("system", Text),
    Index("jobs_of_tenant", "tenant", "first_event"),
    Index("jobs_of_owner", "tenant", "owner", "first_event"),
    postgresql_with={"fillfactor": 70},
)

unclaimed_jobs = Table(
    "unclaimed_jobs",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("owner", Text, primary_key=True),
    Column("first_event", Id("evt"), nullable=False),
    Column("last_event", Id("evt"), nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("status_at", Moment),
    Column("submitted_at", Moment),
    Column("started_at", Moment),
    Column("ended_at", Moment),
    Column("events", Integer, nullable=False),
    Column("status", Text),
    Column("message", Text),
    Column("name", Text),
    Column("app_id", Text),
    Column("system", Text),
    Index("unclaimed_jobs_of_tenant", "tenant", "first_event"),
    Index("unclaimed_jobs_of_owner", "tenant", "owner", "first_event"),
    comment="What owners' own keys say of jobs that no trusted publisher has given to anybody.",
    postgresql_with={"fillfactor": 70},
)

grants = Table(
    "grants",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("job_id", Text, primary_key=True),
    Column("owner", Text, primary_key=True, comment="Who granted: what is theirs of the job may be seen."),
    Column("username", Text, primary_key=True),
    Column("granted", Boolean, nullable=False),
    Column(
        "trusted",
        Boolean,
        nullable=False,
        comment="By a trusted publisher or the owner of a claimed job; others end when the job is claimed.",
    ),
    Column("at", Moment, nullable=False),
    Index("grants_to_user", "tenant", "username", "granted", "job_id", "owner"),
    sqlite_with_rowid=False,
)

# Version 0.1.0 keeps its grants here; in PostgreSQL a trigger takes them over.
permissions = Table(
    "permissions",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("job_id", Text, primary_key=True),
    Column("username", Text, primary_key=True),
    Column("granted", Boolean, nullable=False),
    Column("at", Moment, nullable=False),
    Index("permissions_of_user", "tenant", "username", "granted", "job_id"),
    sqlite_with_rowid=False,
)


def _partial(name: str, *columns: str, where: str) -> Index:
    return Index(name, *columns, postgresql_where=text(where), sqlite_where=text(where))


subscriptions = Table(
    "subscriptions",
    metadata,
    Column("id", Id("sub"), primary_key=True),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("removed_at", Moment),
    Column("revision", Integer, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("subscriber", Text, nullable=False),
    Column("match_key", Text, nullable=False),
    Column("job_id", Text),
    Column("destination", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("status_reason", Text),
    Column("details", LargeBinary, nullable=False, comment="JSON: the rest, but for what is secret."),
    Column("sealed", LargeBinary, nullable=False, comment="Target and signing secrets; empty once removed."),
    _partial(
        "subscriptions_to_match", "match_key", where="removed_at is null and status in ('active', 'paused')"
    ),
    _partial("subscriptions_of_tenant", "tenant", "id", where="removed_at is null"),
    _partial("subscriptions_of_subscriber", "tenant", "subscriber", "id", where="removed_at is null"),
    _partial(
        "subscriptions_of_job", "tenant", "job_id", "id", where="removed_at is null and job_id is not null"
    ),
    _partial("subscriptions_to", "tenant", "destination", where="removed_at is null"),
    _partial(
        "subscriptions_of_subscriber_to", "tenant", "subscriber", "destination", where="removed_at is null"
    ),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Id("dlv"), primary_key=True),
    Column("event_key", Id("evt"), nullable=False),
    Column("subscription_id", Id("sub"), nullable=False),
    Column("due_at", Moment, comment="Null while it is held, has ended, or goes straight."),
    Column("ended_at", Moment),
    Column("since", Moment, comment="When somebody sent it again, with restarted_after."),
    Column("claimed_by", Integer, comment="The process that is delivering it."),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("restarted_after", Integer, nullable=False, server_default=text("0")),
    Column("state", StateCode, nullable=False),
    Column(
        "listed_as", StateCode, comment="The state; null on the way straight from acceptance to delivered."
    ),
    Column("tenant", Text, nullable=False),
    Column("subscriber", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("reason", Text),
    Index("deliveries_of_event", "event_key"),
    Index("deliveries_of_subscription", "subscription_id", "id"),
    Index("deliveries_of_tenant", "tenant", "id"),
    Index("deliveries_of_subscriber", "tenant", "subscriber", "id"),
    Index("deliveries_of_destination", "tenant", "destination", "id"),
    # A delivery that succeeds at once is never in these, so that no index changes with its state: PostgreSQL
    # then keeps the new version of the row in its page (HOT). The fill factor of the partitions leaves room for it.
    _partial("deliveries_due", "destination", "due_at", where="due_at is not null"),
    _partial("deliveries_queued", "destination", "subscription_id", where="due_at is not null"),
    _partial("deliveries_listed", "listed_as", "tenant", "id", where="listed_as is not null"),
    _partial("deliveries_waiting", "subscription_id", "due_at", where=f"listed_as < {DELIVERING}"),
    # Only of what failed: what waits would pay for them on its way to being delivered.
    _partial(
        "deliveries_failed_of", "tenant", "subscriber", "listed_as", "id", where=f"listed_as > {DELIVERED}"
    ),
    _partial(
        "deliveries_failed_to", "tenant", "destination", "listed_as", "id", where=f"listed_as > {DELIVERED}"
    ),
    sqlite_with_rowid=False,
    postgresql_partition_by="RANGE (id)",
)

claims = Table(
    "claims",
    metadata,
    Column("delivery_id", Id("dlv"), primary_key=True),
    Column("process", Integer, nullable=False),
    comment="What processes have claimed of that which waited; see oldest_claim for the others.",
    sqlite_with_rowid=False,
)

attempts = Table(
    "attempts",
    metadata,
    Column("delivery_id", Id("dlv"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("started_at", Moment, nullable=False),
    Column("duration", Double, nullable=False, comment="Seconds."),
    Column("status", Integer),
    Column("request", Text, nullable=False),
    Column("error", Text),
    Column("answer", Text),
    postgresql_partition_by="RANGE (delivery_id)",
)

turns = Table(
    "turns",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("subscription_id", Id("sub"), nullable=False),
    Column("delivery_id", Id("dlv"), nullable=False),
    Column("job_id", Text, nullable=False),
    Column("not_before", Moment, comment="When it may go at the earliest, for the quota of its owner."),
    Index("turns_of_job", "subscription_id", "job_id", "seq"),
    Index("turns_of_delivery", "delivery_id", unique=True),
    comment="Who comes when: the deliveries of ordered subscriptions that have not ended. "
    "The first of a job may go.",
    sqlite_autoincrement=True,
)

expansions = Table(
    "expansions",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("queue", Digest, nullable=False),
    Column("event_key", Id("evt"), nullable=False),
    Column("candidates", Digest, nullable=False),
    Column("claimed_until", Moment, comment="Until when a process is about to carry it out."),
    Column("remaining", Integer, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("job_id", Text, nullable=False),
    Column("wanted", LargeBinary, nullable=False, comment="Which of the candidates: a bitmap."),
    Index("expansions_of_queue", "queue", "seq"),
    Index("expansions_of_job", "tenant", "job_id"),
    Index("expansions_of_event", "event_key"),
    Index("expansions_of_candidates", "candidates"),
    comment="Orders to make further deliveries of an event, one for up to 500 subscriptions.",
    sqlite_autoincrement=True,
)

expansion_candidates = Table(
    "expansion_candidates",
    metadata,
    Column("id", Digest, primary_key=True),
    Column("subscriptions", LargeBinary, nullable=False, comment="Their ids, 16 bytes each."),
    comment="Subscriptions that orders name, listed once for all orders of a batch.",
    sqlite_with_rowid=False,
)

memos = Table(
    "memos",
    metadata,
    Column("delivery_id", Id("dlv"), primary_key=True),
    Column("memo", Text, nullable=False),
    comment="What target kinds noted for the next attempt.",
    sqlite_with_rowid=False,
)

digests = Table(
    "digests",
    metadata,
    Column("id", Digest, primary_key=True, comment="Of the subscription and the values that it groups by."),
    Column("subscription_id", Id("sub"), nullable=False),
    Column("leader", Id("dlv"), comment="The first delivery of the digest that gathers now."),
    Column("due_at", Moment, comment="When that goes."),
    Column("sent_at", Moment, comment="When the last one went."),
    Column("members", Integer, nullable=False),
    Column("bytes", Integer, nullable=False),
    Index("digests_of_subscription", "subscription_id"),
    Index("digests_of_leader", "leader"),
    sqlite_with_rowid=False,
)

digest_members = Table(
    "digest_members",
    metadata,
    Column("delivery_id", Id("dlv"), primary_key=True),
    Column("leader", Id("dlv"), nullable=False),
    Column("subscription_id", Id("sub"), nullable=False),
    Index("digest_members_of_leader", "leader", "delivery_id"),
    Index("digest_members_of_subscription", "subscription_id", "delivery_id"),
    comment="Deliveries that wait for the leader of their digest, and end as it ends.",
    sqlite_with_rowid=False,
)

destinations = Table(
    "destinations",
    metadata,
    Column("key", Text, primary_key=True),
    Column("open_until", Moment, comment="Null while the breaker is closed."),
    Column("opened_at", Moment),
    Column("paused_at", Moment),
    Column("per_second", Double),
    Column("burst", Integer),
    Column("openings", Integer, nullable=False, server_default=text("0")),
    Column("reason", Text),
    Column("paused_reason", Text),
    Column("asked", Boolean, comment="Whether receivers asked to wait; then no answer in between closes it."),
    Column("changed_at", Moment, comment="When one of the above changed last."),
    Index("destinations_by_change", "changed_at"),
    _partial(
        "destinations_to_watch",
        "key",
        where="open_until is not null or paused_at is not null or per_second is not null",
    ),
    sqlite_with_rowid=False,
)

target_statuses = Table(
    "target_statuses",
    metadata,
    Column("key", Digest, primary_key=True, comment="Of what keeps the state, such as a portal's job."),
    Column("delivered", Id("evt"), comment="The latest event that arrived there."),
    Column("busy_delivery", Id("dlv"), comment="The delivery that is on its way there."),
    Column("busy_until", Moment, comment="When others may go, whatever became of it."),
    Column("updated_at", Moment, nullable=False),
    Index("target_statuses_by_age", "updated_at"),
    comment="What targets that keep state were sent last: an earlier status never follows a later one.",
    sqlite_with_rowid=False,
)

breakers = Table(
    "breakers",
    metadata,
    Column("key", Text, primary_key=True, comment="A subscription's id, or an owner and a destination."),
    Column("open_until", Moment, comment="Null while it is closed."),
    Column("opened_at", Moment),
    Column("changed_at", Moment, nullable=False),
    Column("openings", Integer, nullable=False),
    Column("asked", Boolean, nullable=False),
    Column("alone", Boolean, nullable=False, comment="Nothing else arrives at the destination."),
    Column("destination", Text, nullable=False),
    Column("reason", Text),
    Index("breakers_by_change", "changed_at"),
    Index("breakers_of_destination", "destination"),
    _partial("breakers_open", "key", where="open_until is not null"),
    _partial("breakers_late", "open_until", where="open_until is not null"),
    _partial("breakers_closed", "changed_at", where="open_until is null"),
    _partial("breakers_alone", "destination", where="alone and open_until is not null"),
    comment="Breakers of subscriptions and owners within a destination.",
    sqlite_with_rowid=False,
)

quotas = Table(
    "quotas",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("owner", Text, primary_key=True),
    Column("limits", LargeBinary, nullable=False, comment="JSON: what counts in place of the defaults."),
    Column("updated_at", Moment, nullable=False),
    comment="What admins allow owners.",
    sqlite_with_rowid=False,
)

usage = Table(
    "usage",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("owner", Text, primary_key=True),
    Column("day", Integer, primary_key=True, autoincrement=False, comment="Days since 1970, UTC."),
    Column("bytes", BigInteger, nullable=False),
    Index("usage_by_day", "day"),
    comment="How many bytes of events owners' own keys published.",
    sqlite_with_rowid=False,
)

rates = Table(
    "rates",
    metadata,
    Column("key", Text, primary_key=True, comment="A subscription's id or a destination."),
    Column(
        "full_at", Double, nullable=False, comment="When what was granted is paid for; seconds since 1970."
    ),
    sqlite_with_rowid=False,
)

processes = Table(
    "processes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("pid", Integer, nullable=False),
    Column("started_at", Moment, nullable=False),
    Column("lease_until", Moment, nullable=False),
    Column(
        "oldest_claim", Id("dlv"), nullable=False, comment="No delivery below it was claimed on acceptance."
    ),
    Column("host", Text, nullable=False),
    sqlite_autoincrement=True,
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Id("key"), primary_key=True),
    Column("created_at", Moment, nullable=False),
    Column("digest", Text, nullable=False),
    Column("tenant", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("scopes", Text, nullable=False, comment="Separated by spaces."),
    Index("api_keys_by_digest", "digest", unique=True),
    Index("api_keys_of_tenant", "tenant", "id"),
)

tapis_subscriptions = Table(
    "tapis_subscriptions",
    metadata,
    Column("id", Id("sub"), primary_key=True),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("tenant", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("subject_filter", Text, nullable=False),
    Column(
        "members", Text, nullable=False, comment="Ids of subscriptions, one a target, separated by spaces."
    ),
    Column("document", LargeBinary, nullable=False, comment="JSON: the rest, without addresses."),
    Index("tapis_subscriptions_by_name", "tenant", "owner", "name", unique=True),
    Index("tapis_subscriptions_by_subject", "tenant", "subject_filter"),
    comment="Subscriptions as Tapis v3 knows them: a name and several targets.",
)

tapis_series = Table(
    "tapis_series",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("series", Text, primary_key=True),
    Column("count", Integer, nullable=False),
    Column("updated_at", Moment, comment="When the last one was; null when version 0.1.0 counted it."),
    comment="How many events of a series of Tapis v3 were published.",
    sqlite_with_rowid=False,
)

tapis_notifications = Table(
    "tapis_notifications",
    metadata,
    Column("subscription_id", Id("sub"), primary_key=True),
    Column("uuid", Text, primary_key=True),
    Column("received_at", Moment, nullable=False),
    Column("document", LargeBinary, nullable=False),
    comment="What test sequences of Tapis v3 got.",
    sqlite_with_rowid=False,
)

mail_consents = Table(
    "mail_consents",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("subscriber", Text, primary_key=True),
    Column("address", Text, primary_key=True),
    Column("asked_at", Moment, comment="When it was asked to confirm."),
    Column("asking_until", Moment, comment="Until when somebody is about to ask."),
    Column("confirmed_at", Moment),
    Column("refused_at", Moment, comment="When the relay refused it for good."),
    Column("refusal", Text),
    comment="Which addresses want the mails of whose subscriptions, and which can have none.",
    sqlite_with_rowid=False,
)

mail_unsubscribed = Table(
    "mail_unsubscribed",
    metadata,
    Column("subscription_id", Id("sub"), primary_key=True),
    Column("address", Text, primary_key=True),
    Column("at", Moment, nullable=False),
    sqlite_with_rowid=False,
)

mail_counts = Table(
    "mail_counts",
    metadata,
    Column("name", Text, primary_key=True),
    Column("began", Moment, primary_key=True),
    Column("count", Integer, nullable=False),
    Index("mail_counts_by_age", "began"),
    comment="How many mails of a kind there were in a period.",
    sqlite_with_rowid=False,
)
