"""Who said what of a job: trusted publishers, and owners' own keys.

Revision ID: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Column

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.Uuid().with_variant(sa.LargeBinary(16), "sqlite")
MOMENT = sa.TIMESTAMP(timezone=True).with_variant(sa.BigInteger(), "sqlite")
TEXT = sa.Text()

NOW = {"sqlite": "cast(strftime('%s', 'now') as integer) * 1000000", "postgresql": "now()"}
LEAST = {"sqlite": "min", "postgresql": "least"}

# A process of the version before writes here what it learns; it counts as the grant of the job's owner.
_FUNCTION = """
create function grant_of_permission() returns trigger language plpgsql as $$
begin
    insert into grants as known (tenant, job_id, owner, username, granted, trusted, at)
    select new.tenant, new.job_id, j.owner, new.username, new.granted, true, least(new.at, now())
    from jobs j where j.tenant = new.tenant and j.id = new.job_id and j.owner is not null
    on conflict (tenant, job_id, owner, username) do update
        set granted = excluded.granted, trusted = true, at = excluded.at
        where not known.trusted or excluded.at >= known.at;
    return null;
end
$$
"""
_TRIGGER = """
create trigger grant_of_permission after insert or update on permissions
    for each row execute function grant_of_permission()
"""


def upgrade() -> None:
    """Add what the schema has beyond the last revision, and take over what is there."""
    op.add_column("events", Column("published_by", TEXT))
    _unclaimed_jobs()
    _grants()
    _take_over(op.get_bind().dialect.name)


def _unclaimed_jobs() -> None:
    op.create_table(
        "unclaimed_jobs",
        Column("tenant", TEXT, primary_key=True),
        Column("id", TEXT, primary_key=True),
        Column("owner", TEXT, primary_key=True),
        Column("first_event", ID, nullable=False),
        Column("last_event", ID, nullable=False),
        Column("updated_at", MOMENT, nullable=False),
        Column("status_at", MOMENT),
        Column("submitted_at", MOMENT),
        Column("started_at", MOMENT),
        Column("ended_at", MOMENT),
        Column("events", sa.Integer(), nullable=False),
        Column("status", TEXT),
        Column("message", TEXT),
        Column("name", TEXT),
        Column("app_id", TEXT),
        Column("system", TEXT),
        comment="What owners' own keys say of jobs that no trusted publisher has given to anybody.",
        postgresql_with={"fillfactor": 70},
    )
    op.create_index("unclaimed_jobs_of_tenant", "unclaimed_jobs", ["tenant", "first_event"])
    op.create_index("unclaimed_jobs_of_owner", "unclaimed_jobs", ["tenant", "owner", "first_event"])


def _grants() -> None:
    op.create_table(
        "grants",
        Column("tenant", TEXT, primary_key=True),
        Column("job_id", TEXT, primary_key=True),
        Column(
            "owner", TEXT, primary_key=True, comment="Who granted: what is theirs of the job may be seen."
        ),
        Column("username", TEXT, primary_key=True),
        Column("granted", sa.Boolean(), nullable=False),
        Column(
            "trusted",
            sa.Boolean(),
            nullable=False,
            comment="By a trusted publisher or the owner of a claimed job; others end when the job is claimed.",
        ),
        Column("at", MOMENT, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("grants_to_user", "grants", ["tenant", "username", "granted", "job_id", "owner"])


def _take_over(dialect: str) -> None:
    # Each job that is there counts as claimed, and each permission as its owner's.
    op.execute(
        f"""
        insert into grants (tenant, job_id, owner, username, granted, trusted, at)
        select p.tenant, p.job_id, j.owner, p.username, p.granted, true, {LEAST[dialect]}(p.at, {NOW[dialect]})
        from permissions p join jobs j on j.tenant = p.tenant and j.id = p.job_id
        where j.owner is not null
        """  # noqa: S608 - constants
    )
    # Who published and did not subscribe was a job service. They keep `publish` for processes of the version before.
    op.execute(
        """
        update api_keys set scopes = scopes || ' publish:any'
        where ' ' || scopes || ' ' like '% publish %' and ' ' || scopes || ' ' not like '% subscribe %'
            and ' ' || scopes || ' ' not like '% admin %'
        """
    )
    if dialect == "postgresql":
        op.execute(_FUNCTION)
        op.execute(_TRIGGER)
