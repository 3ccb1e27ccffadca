"""The first schema. What the tables and columns mean stands in `dispatcher.store.schema`.

Revision ID: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.Uuid().with_variant(sa.LargeBinary(16), "sqlite")
MOMENT = sa.TIMESTAMP(timezone=True).with_variant(sa.BigInteger(), "sqlite")
CODE = sa.SmallInteger()
TEXT = sa.Text()


def upgrade() -> None:
    """Make all tables."""
    _identities_and_events()
    _jobs_and_permissions()
    _subscriptions()
    _deliveries_and_attempts()
    _turns_and_memos()
    _digests()
    _destinations_and_rates()
    _processes_and_keys()
    _tapis()
    _mail()


def _index(table: str, name: str, *columns: str, unique: bool = False, where: str | None = None) -> None:
    # In this order everywhere: where SQLite has no better reason it chooses by the order.
    condition = None if where is None else sa.text(where)
    op.create_index(name, table, columns, unique=unique, postgresql_where=condition, sqlite_where=condition)


def _identities_and_events() -> None:
    op.create_table(
        "identities",
        Column("digest", ID, primary_key=True),
        Column("event_key", ID, nullable=False),
        comment="Which events are there: duplicates are found here.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "events",
        Column("key", ID, primary_key=True),
        Column("time", MOMENT, nullable=False),
        Column("accepted_at", MOMENT, nullable=False),
        Column("tenant", TEXT, nullable=False),
        Column("id", TEXT, nullable=False),
        Column("source", TEXT, nullable=False),
        Column("type", TEXT, nullable=False),
        Column("event", TEXT, nullable=False),
        Column("job_id", TEXT, nullable=False),
        Column("owner", TEXT),
        Column(
            "job_owner", TEXT, comment="The event's owner, or else the job's as far as it was known then."
        ),
        Column("document", sa.LargeBinary(), nullable=False),
        postgresql_partition_by="RANGE (key)",
    )
    _index("events", "events_of_tenant", "tenant", "key")
    _index("events", "events_of_job", "tenant", "job_id", "key")
    _index("events", "events_of_owner", "tenant", "job_owner", "key")


def _jobs_and_permissions() -> None:
    op.create_table(
        "jobs",
        Column("tenant", TEXT, primary_key=True),
        Column("id", TEXT, primary_key=True),
        Column("first_event", ID, nullable=False),
        Column("last_event", ID, nullable=False),
        Column("updated_at", MOMENT, nullable=False),
        Column("status_at", MOMENT),
        Column("submitted_at", MOMENT),
        Column("started_at", MOMENT),
        Column("ended_at", MOMENT),
        Column("events", sa.Integer(), nullable=False),
        Column("owner", TEXT),
        Column("status", TEXT),
        Column("message", TEXT),
        Column("name", TEXT),
        Column("app_id", TEXT),
        Column("system", TEXT),
        postgresql_with={"fillfactor": 70},
    )
    _index("jobs", "jobs_of_tenant", "tenant", "first_event")
    _index("jobs", "jobs_of_owner", "tenant", "owner", "first_event")
    op.create_table(
        "permissions",
        Column("tenant", TEXT, primary_key=True),
        Column("job_id", TEXT, primary_key=True),
        Column("username", TEXT, primary_key=True),
        Column("granted", sa.Boolean(), nullable=False),
        Column("at", MOMENT, nullable=False),
        sqlite_with_rowid=False,
    )
    _index("permissions", "permissions_of_user", "tenant", "username", "granted", "job_id")


def _subscriptions() -> None:
    op.create_table(
        "subscriptions",
        Column("id", ID, primary_key=True),
        Column("created_at", MOMENT, nullable=False),
        Column("updated_at", MOMENT, nullable=False),
        Column("expires_at", MOMENT),
        Column("removed_at", MOMENT),
        Column("revision", sa.Integer(), nullable=False),
        Column("tenant", TEXT, nullable=False),
        Column("subscriber", TEXT, nullable=False),
        Column("match_key", TEXT, nullable=False),
        Column("job_id", TEXT),
        Column("destination", TEXT, nullable=False),
        Column("status", TEXT, nullable=False),
        Column("status_reason", TEXT),
        Column(
            "details", sa.LargeBinary(), nullable=False, comment="JSON: the rest, but for what is secret."
        ),
        Column(
            "sealed",
            sa.LargeBinary(),
            nullable=False,
            comment="Target and signing secrets; empty once removed.",
        ),
    )
    _index(
        "subscriptions",
        "subscriptions_to_match",
        "match_key",
        where="removed_at is null and status in ('active', 'paused')",
    )
    _index("subscriptions", "subscriptions_of_tenant", "tenant", "id", where="removed_at is null")
    _index(
        "subscriptions",
        "subscriptions_of_subscriber",
        "tenant",
        "subscriber",
        "id",
        where="removed_at is null",
    )
    _index(
        "subscriptions",
        "subscriptions_of_job",
        "tenant",
        "job_id",
        "id",
        where="removed_at is null and job_id is not null",
    )
    _index("subscriptions", "subscriptions_to", "tenant", "destination", where="removed_at is null")
    _index(
        "subscriptions",
        "subscriptions_of_subscriber_to",
        "tenant",
        "subscriber",
        "destination",
        where="removed_at is null",
    )


def _deliveries_and_attempts() -> None:
    op.create_table(
        "deliveries",
        Column("id", ID, primary_key=True),
        Column("event_key", ID, nullable=False),
        Column("subscription_id", ID, nullable=False),
        Column("due_at", MOMENT, comment="Null while it is held, has ended, or goes straight."),
        Column("ended_at", MOMENT),
        Column("since", MOMENT, comment="When somebody sent it again, with restarted_after."),
        Column("claimed_by", sa.Integer(), comment="The process that is delivering it."),
        Column("attempts", sa.Integer(), nullable=False, server_default=sa.text("0")),
        Column("restarted_after", sa.Integer(), nullable=False, server_default=sa.text("0")),
        Column("state", CODE, nullable=False),
        Column(
            "listed_as", CODE, comment="The state; null on the way straight from acceptance to delivered."
        ),
        Column("tenant", TEXT, nullable=False),
        Column("subscriber", TEXT, nullable=False),
        Column("destination", TEXT, nullable=False),
        Column("reason", TEXT),
        sqlite_with_rowid=False,
        postgresql_partition_by="RANGE (id)",
    )
    _index("deliveries", "deliveries_of_event", "event_key")
    _index("deliveries", "deliveries_of_subscription", "subscription_id", "id")
    _index("deliveries", "deliveries_of_tenant", "tenant", "id")
    _index("deliveries", "deliveries_of_subscriber", "tenant", "subscriber", "id")
    _index("deliveries", "deliveries_of_destination", "tenant", "destination", "id")
    _index("deliveries", "deliveries_due", "destination", "due_at", where="due_at is not null")
    _index("deliveries", "deliveries_listed", "listed_as", "tenant", "id", where="listed_as is not null")
    _index("deliveries", "deliveries_waiting", "subscription_id", "due_at", where="listed_as < 1")
    op.create_table(
        "claims",
        Column("delivery_id", ID, primary_key=True),
        Column("process", sa.Integer(), nullable=False),
        comment="What processes have claimed of that which waited; see oldest_claim for the others.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "attempts",
        Column("delivery_id", ID, primary_key=True),
        Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        Column("started_at", MOMENT, nullable=False),
        Column("duration", sa.Double(), nullable=False, comment="Seconds."),
        Column("status", sa.Integer()),
        Column("request", TEXT, nullable=False),
        Column("error", TEXT),
        Column("answer", TEXT),
        postgresql_partition_by="RANGE (delivery_id)",
    )


def _turns_and_memos() -> None:
    op.create_table(
        "turns",
        Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True),
        Column("subscription_id", ID, nullable=False),
        Column("delivery_id", ID, nullable=False),
        Column("job_id", TEXT, nullable=False),
        comment="Who comes when: the deliveries of ordered subscriptions that have not ended. "
        "The first of a job may go.",
        sqlite_autoincrement=True,
    )
    _index("turns", "turns_of_job", "subscription_id", "job_id", "seq")
    _index("turns", "turns_of_delivery", "delivery_id", unique=True)
    op.create_table(
        "memos",
        Column("delivery_id", ID, primary_key=True),
        Column("memo", TEXT, nullable=False),
        comment="What target kinds noted for the next attempt.",
        sqlite_with_rowid=False,
    )


def _digests() -> None:
    op.create_table(
        "digests",
        Column("id", ID, primary_key=True, comment="Of the subscription and the values that it groups by."),
        Column("subscription_id", ID, nullable=False),
        Column("leader", ID, comment="The first delivery of the digest that gathers now."),
        Column("due_at", MOMENT, comment="When that goes."),
        Column("sent_at", MOMENT, comment="When the last one went."),
        Column("members", sa.Integer(), nullable=False),
        Column("bytes", sa.Integer(), nullable=False),
        sqlite_with_rowid=False,
    )
    _index("digests", "digests_of_subscription", "subscription_id")
    _index("digests", "digests_of_leader", "leader")
    op.create_table(
        "digest_members",
        Column("delivery_id", ID, primary_key=True),
        Column("leader", ID, nullable=False),
        Column("subscription_id", ID, nullable=False),
        comment="Deliveries that wait for the leader of their digest, and end as it ends.",
        sqlite_with_rowid=False,
    )
    _index("digest_members", "digest_members_of_leader", "leader", "delivery_id")
    _index("digest_members", "digest_members_of_subscription", "subscription_id", "delivery_id")


def _destinations_and_rates() -> None:
    op.create_table(
        "destinations",
        Column("key", TEXT, primary_key=True),
        Column("open_until", MOMENT, comment="Null while the breaker is closed."),
        Column("opened_at", MOMENT),
        Column("paused_at", MOMENT),
        Column("per_second", sa.Double()),
        Column("burst", sa.Integer()),
        Column("openings", sa.Integer(), nullable=False, server_default=sa.text("0")),
        Column("reason", TEXT),
        Column("paused_reason", TEXT),
        sqlite_with_rowid=False,
    )
    _index(
        "destinations",
        "destinations_to_watch",
        "key",
        where="open_until is not null or paused_at is not null or per_second is not null",
    )
    op.create_table(
        "rates",
        Column("key", TEXT, primary_key=True, comment="A subscription's id or a destination."),
        Column(
            "full_at",
            sa.Double(),
            nullable=False,
            comment="When what was granted is paid for; seconds since 1970.",
        ),
        sqlite_with_rowid=False,
    )


def _tapis() -> None:
    op.create_table(
        "tapis_subscriptions",
        Column("id", ID, primary_key=True),
        Column("created_at", MOMENT, nullable=False),
        Column("expires_at", MOMENT),
        Column("tenant", TEXT, nullable=False),
        Column("owner", TEXT, nullable=False),
        Column("name", TEXT, nullable=False),
        Column("subject_filter", TEXT, nullable=False),
        Column(
            "members",
            TEXT,
            nullable=False,
            comment="Ids of subscriptions, one a target, separated by spaces.",
        ),
        Column("document", sa.LargeBinary(), nullable=False, comment="JSON: the rest, without addresses."),
        comment="Subscriptions as Tapis v3 knows them: a name and several targets.",
    )
    _index("tapis_subscriptions", "tapis_subscriptions_by_name", "tenant", "owner", "name", unique=True)
    _index("tapis_subscriptions", "tapis_subscriptions_by_subject", "tenant", "subject_filter")
    op.create_table(
        "tapis_series",
        Column("tenant", TEXT, primary_key=True),
        Column("source", TEXT, primary_key=True),
        Column("subject", TEXT, primary_key=True),
        Column("series", TEXT, primary_key=True),
        Column("count", sa.Integer(), nullable=False),
        comment="How many events of a series of Tapis v3 were published.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tapis_notifications",
        Column("subscription_id", ID, primary_key=True),
        Column("uuid", TEXT, primary_key=True),
        Column("received_at", MOMENT, nullable=False),
        Column("document", sa.LargeBinary(), nullable=False),
        comment="What test sequences of Tapis v3 got.",
        sqlite_with_rowid=False,
    )


def _mail() -> None:
    op.create_table(
        "mail_consents",
        Column("tenant", TEXT, primary_key=True),
        Column("subscriber", TEXT, primary_key=True),
        Column("address", TEXT, primary_key=True),
        Column("asked_at", MOMENT, comment="When it was asked to confirm."),
        Column("asking_until", MOMENT, comment="Until when somebody is about to ask."),
        Column("confirmed_at", MOMENT),
        Column("refused_at", MOMENT, comment="When the relay refused it for good."),
        Column("refusal", TEXT),
        comment="Which addresses want the mails of whose subscriptions, and which can have none.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "mail_unsubscribed",
        Column("subscription_id", ID, primary_key=True),
        Column("address", TEXT, primary_key=True),
        Column("at", MOMENT, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "mail_counts",
        Column("name", TEXT, primary_key=True),
        Column("began", MOMENT, primary_key=True),
        Column("count", sa.Integer(), nullable=False),
        comment="How many mails of a kind there were in a period.",
        sqlite_with_rowid=False,
    )
    _index("mail_counts", "mail_counts_by_age", "began")


def _processes_and_keys() -> None:
    op.create_table(
        "processes",
        Column("id", sa.Integer(), primary_key=True),
        Column("pid", sa.Integer(), nullable=False),
        Column("started_at", MOMENT, nullable=False),
        Column("lease_until", MOMENT, nullable=False),
        Column("oldest_claim", ID, nullable=False, comment="No delivery below it was claimed on acceptance."),
        Column("host", TEXT, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "api_keys",
        Column("id", ID, primary_key=True),
        Column("created_at", MOMENT, nullable=False),
        Column("digest", TEXT, nullable=False),
        Column("tenant", TEXT, nullable=False),
        Column("owner", TEXT, nullable=False),
        Column("name", TEXT, nullable=False),
        Column("scopes", TEXT, nullable=False, comment="Separated by spaces."),
    )
    _index("api_keys", "api_keys_by_digest", "digest", unique=True)
    _index("api_keys", "api_keys_of_tenant", "tenant", "id")
