"""Tables of recipients of e-mail."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, Table, Text

from dispatcher.store.column_types import Id, Moment
from dispatcher.store.schema.metadata import metadata

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
