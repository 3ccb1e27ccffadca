"""Tables of events, and of the jobs that they are about."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Integer, LargeBinary, Table, Text

from dispatcher.store.column_types import Digest, Id, Moment
from dispatcher.store.schema.metadata import metadata

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
