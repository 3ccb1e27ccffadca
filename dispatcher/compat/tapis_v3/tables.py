"""Tables that only the interface of Tapis v3 uses."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, LargeBinary, Table, Text

from dispatcher.store.column_types import Id, Moment
from dispatcher.store.schema.metadata import metadata

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
