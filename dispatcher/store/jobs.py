"""What people ask of jobs: one, a list of them, whose they are, and who may see what an owner has of one.

A job that a trusted publisher gave to somebody is claimed, and stands in `jobs`. Of any other the row there holds what
trusted publishers said without naming an owner, for admins; beside it stands in `unclaimed_jobs` what each owner said.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Text, and_, column, or_, select, tuple_, values

from dispatcher.domain.jobs import Job
from dispatcher.store.contract import JobFilter, Page, Window
from dispatcher.store.job_changes import JobKey
from dispatcher.store.queries import (
    Condition,
    after,
    chunks,
    granted_to,
    limit_of,
    newest,
    owner_of,
    page,
    rows_of,
)
from dispatcher.store.rows import JOB, UNCLAIMED_JOB, job_of
from dispatcher.store.schema import grants, jobs, unclaimed_jobs

Permit = tuple[str, str, str, str]
"""Tenant, job, owner and user: the user may see what the owner has of the job."""

_unclaimed = unclaimed_jobs.c
_IS_UNCLAIMED = owner_of(_unclaimed.tenant, _unclaimed.id).is_(None)


def owners(connection: Connection, wanted: Sequence[JobKey]) -> dict[JobKey, str]:
    """Whose these jobs are, of those that are claimed."""
    found: dict[JobKey, str] = {}
    for some in chunks(wanted):
        asked = values(column("tenant", Text), column("id", Text)).data(list(some)).cte("asked")
        whose = select(asked.c.tenant, asked.c.id, owner_of(asked.c.tenant, asked.c.id))
        rows = connection.execute(whose).all()
        found |= {(tenant, job_id): owner for tenant, job_id, owner in rows if owner is not None}
    return found


def is_known(connection: Connection, tenant: str, job_id: str, publisher: str | None) -> bool:
    """Whether a trusted publisher, or `publisher` with the own key, has said anything of a job."""
    told = [select(jobs.c.id).where(jobs.c.tenant == tenant, jobs.c.id == job_id)]
    if publisher is not None:
        this = (_unclaimed.tenant == tenant, _unclaimed.id == job_id, _unclaimed.owner == publisher)
        told.append(select(_unclaimed.id).where(*this))
    return any(connection.execute(one).first() is not None for one in told)


def job(connection: Connection, tenant: str, job_id: str, visible_to: str | None) -> Job | None:
    """One job; with `visible_to` only as this owner may see it."""
    found = rows_of(connection, select(*JOB).where(jobs.c.tenant == tenant, jobs.c.id == job_id))
    told = job_of(found[0]) if found else None
    if told is not None and told.owner is not None:
        permit = (tenant, job_id, told.owner, visible_to or "")
        visible = visible_to in (None, told.owner) or granted(connection, [permit])
        return told if visible else None
    if told is not None and visible_to is None:
        return told
    return _unclaimed_job(connection, tenant, job_id, visible_to)


def _unclaimed_job(connection: Connection, tenant: str, job_id: str, visible_to: str | None) -> Job | None:
    """What owners say of a job that is not claimed: of those that may be seen the own, or else the first."""
    these = select(*UNCLAIMED_JOB).where(_unclaimed.tenant == tenant, _unclaimed.id == job_id)
    if visible_to is not None:
        granting = select(grants.c.owner).where(
            grants.c.tenant == tenant,
            grants.c.job_id == job_id,
            grants.c.username == visible_to,
            grants.c.granted,
        )
        these = these.where(or_(_unclaimed.owner == visible_to, _unclaimed.owner.in_(granting)))
    own_first = (_unclaimed.owner != (visible_to or ""), _unclaimed.first_event)
    found = rows_of(connection, these.order_by(*own_first).limit(1))
    return job_of(found[0]) if found else None


def job_page(connection: Connection, which: JobFilter, window: Window) -> Page[Job]:
    """A page of jobs: of those that are claimed, and of what owners say of others."""
    first, limit = jobs.c.first_event, limit_of(window) + 1
    seen = _visible(which, jobs.c.tenant, jobs.c.id, jobs.c.owner)
    these = _listed([*_conditions(which, window, first, jobs.c.owner, jobs.c.status)], first, limit, seen)
    told = select(*JOB).where(jobs.c.tenant == which.tenant, *these).order_by(first.desc()).limit(limit)

    first = _unclaimed.first_event
    seen = _visible(which, _unclaimed.tenant, _unclaimed.id, _unclaimed.owner)
    conditions = _conditions(which, window, first, _unclaimed.owner, _unclaimed.status)
    if len(seen) == 1:
        apart = _in_order(connection, conditions, seen[0], limit)
    else:
        these = _listed([*conditions, _IS_UNCLAIMED], first, limit, seen)
        apart = select(*UNCLAIMED_JOB).where(_unclaimed.tenant == which.tenant, *these)
        apart = apart.order_by(first.desc()).limit(limit)
    rows = rows_of(connection, told) + rows_of(connection, apart)
    rows.sort(key=lambda row: str(row["first_event"]), reverse=True)
    return page(rows[:limit], window, "first_event", job_of)


def _in_order(
    connection: Connection, conditions: Sequence[Condition], seen: Sequence[Condition], limit: int
) -> Select[Any]:
    """The newest that are not claimed, walked in the order of the index until there are enough."""
    walked = select(*UNCLAIMED_JOB).where(*conditions, *seen)
    if connection.dialect.name == "postgresql":
        # Or else it asks whose every job is before it sorts them. SQLite would read all of them for it.
        walked = walked.order_by(_unclaimed.first_event.desc()).offset(0)
    them = walked.subquery("walked").c
    unclaimed = owner_of(them.tenant, them.id).is_(None)
    return select(*them).where(unclaimed).order_by(them.first_event.desc()).limit(limit)


def _conditions(
    which: JobFilter,
    window: Window,
    first: ColumnElement[str],
    owner: ColumnElement[str],
    status: ColumnElement[str],
) -> list[Condition]:
    conditions = after(first, window, "evt")
    if which.owner is not None:
        conditions.append(owner == which.owner)
    if which.status is not None:
        conditions.append(status == which.status)
    return conditions


def _listed(
    conditions: Sequence[Condition],
    first: ColumnElement[str],
    limit: int,
    visible: Sequence[Sequence[Condition]],
) -> Sequence[Condition]:
    branches = [[*conditions, *seen] for seen in visible]
    return branches[0] if len(branches) == 1 else [first.in_(newest(first, limit, *branches))]


def _visible(
    which: JobFilter, tenant: ColumnElement[str], job_id: ColumnElement[str], owner: ColumnElement[str]
) -> list[list[Condition]]:
    if which.visible_to is None:
        return [[tenant == which.tenant]]
    permitted = tuple_(tenant, job_id, owner).in_(granted_to(which.tenant, which.visible_to))
    return [[tenant == which.tenant, owner == which.visible_to], [permitted]]


def granted(connection: Connection, wanted: Sequence[Permit]) -> set[Permit]:
    """Which of at most MAX_VALUES permits were granted and hold."""
    columns = (grants.c.tenant, grants.c.job_id, grants.c.owner, grants.c.username)
    # Not "in": SQLite would read all grants for it.
    asked = values(*(column(one.name, Text) for one in columns)).data(list(wanted)).cte("asked")
    same = and_(*(one == asked.c[one.name] for one in columns))
    holds = (grants.c.granted, or_(grants.c.trusted, owner_of(grants.c.tenant, grants.c.job_id).is_(None)))
    found = connection.execute(select(*columns).select_from(asked).join(grants, same).where(*holds))
    return {(tenant, job_id, owner, user) for tenant, job_id, owner, user in found}
