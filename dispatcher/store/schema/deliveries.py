"""Tables of deliveries, and of what is noted of them on their way."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, LargeBinary, Table, Text, text

from dispatcher.store.column_types import DELIVERED, DELIVERING, Digest, Id, Moment, StateCode
from dispatcher.store.schema.metadata import metadata, partial_index

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
    partial_index("deliveries_due", "destination", "due_at", where="due_at is not null"),
    partial_index("deliveries_queued", "destination", "subscription_id", where="due_at is not null"),
    partial_index("deliveries_listed", "listed_as", "tenant", "id", where="listed_as is not null"),
    partial_index("deliveries_waiting", "subscription_id", "due_at", where=f"listed_as < {DELIVERING}"),
    # Only of what failed: what waits would pay for them on its way to being delivered.
    partial_index(
        "deliveries_failed_of", "tenant", "subscriber", "listed_as", "id", where=f"listed_as > {DELIVERED}"
    ),
    partial_index(
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

oauth_tokens = Table(
    "oauth_tokens",
    metadata,
    Column("key", Digest, primary_key=True, comment="A keyed hash of the credentials that a token is for."),
    Column("sealed", LargeBinary, comment="The token and its times; null until there is one."),
    Column("busy_until", Moment, comment="When others may ask for a token, whatever became of it."),
    Column("useful_until", Moment, nullable=False, comment="When the row can go."),
    Index("oauth_tokens_by_end", "useful_until"),
    comment="Access tokens of OAuth 2.0: all processes use the same.",
    sqlite_with_rowid=False,
)
