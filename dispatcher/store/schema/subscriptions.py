"""Tables of subscriptions, of where they deliver to, and of what owners may use."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, LargeBinary, Table, Text, text

from dispatcher.store.column_types import Id, Moment
from dispatcher.store.schema.metadata import metadata, partial_index

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
    partial_index(
        "subscriptions_to_match", "match_key", where="removed_at is null and status in ('active', 'paused')"
    ),
    partial_index("subscriptions_of_tenant", "tenant", "id", where="removed_at is null"),
    partial_index("subscriptions_of_subscriber", "tenant", "subscriber", "id", where="removed_at is null"),
    partial_index(
        "subscriptions_of_job", "tenant", "job_id", "id", where="removed_at is null and job_id is not null"
    ),
    partial_index("subscriptions_to", "tenant", "destination", where="removed_at is null"),
    partial_index(
        "subscriptions_of_subscriber_to", "tenant", "subscriber", "destination", where="removed_at is null"
    ),
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
    partial_index(
        "destinations_to_watch",
        "key",
        where="open_until is not null or paused_at is not null or per_second is not null",
    ),
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
    partial_index("breakers_open", "key", where="open_until is not null"),
    partial_index("breakers_late", "open_until", where="open_until is not null"),
    partial_index("breakers_closed", "changed_at", where="open_until is null"),
    partial_index("breakers_alone", "destination", where="alone and open_until is not null"),
    comment="Breakers of subscriptions and owners within a destination.",
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
