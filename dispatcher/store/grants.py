"""Grants: who may see what an owner has of a job."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import (
    ColumnElement,
    Connection,
    ScalarSelect,
    Select,
    Text,
    and_,
    column,
    or_,
    select,
    values,
)

from dispatcher.store.schema import grants, jobs

Permit = tuple[str, str, str, str]
"""Tenant, job, owner and user: the user may see what the owner has of the job."""


def owner_of(tenant: ColumnElement[str], job_id: ColumnElement[str]) -> ScalarSelect[str | None]:
    """The owner of a claimed job, null of any other.

    Only the primary key gives the order by id, so no other index of the tenant is taken, whatever the statistics say.
    """
    this = (jobs.c.tenant == tenant, jobs.c.id >= job_id, jobs.c.id <= job_id)
    found = select(jobs.c.owner).where(*this).order_by(jobs.c.id).limit(1)
    return found.correlate_except(jobs).scalar_subquery()


def granted_to(tenant: str, user: str) -> Select[str, str, str]:
    """Tenant, job and owner of what was granted to a user and holds.

    What an owner's own key granted ends when a trusted publisher names the job's owner.
    """
    # With the tenant, which stands nowhere else then: SQLite would rather go through all events of the tenant.
    return select(grants.c.tenant, grants.c.job_id, grants.c.owner).where(
        grants.c.tenant == tenant,
        grants.c.username == user,
        grants.c.granted,
        or_(grants.c.trusted, owner_of(grants.c.tenant, grants.c.job_id).is_(None)),
    )


def granted(connection: Connection, wanted: Sequence[Permit]) -> set[Permit]:
    """Which of at most MAX_VALUES permits were granted and hold."""
    columns = (grants.c.tenant, grants.c.job_id, grants.c.owner, grants.c.username)
    # Not "in": SQLite would read all grants for it.
    asked = values(*(column(one.name, Text) for one in columns)).data(list(wanted)).cte("asked")
    same = and_(*(one == asked.c[one.name] for one in columns))
    holds = (grants.c.granted, or_(grants.c.trusted, owner_of(grants.c.tenant, grants.c.job_id).is_(None)))
    found = connection.execute(select(*columns).select_from(asked).join(grants, same).where(*holds))
    return {(tenant, job_id, owner, user) for tenant, job_id, owner, user in found}
