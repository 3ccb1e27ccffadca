"""What people ask of jobs: one, a list of them, whose they are, and who may see what an owner has of one.

A job that a trusted publisher gave to somebody is claimed, and stands in `jobs`. Of any other the row there holds what
trusted publishers said without naming an owner, for admins; beside it stands in `unclaimed_jobs` what each owner said.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, Text, column, or_, select, tuple_, values

from dispatcher.domain.jobs import Job
from dispatcher.store.filters import JobFilter, Page, Window
from dispatcher.store.grants import Permit, granted, granted_to, owner_of
from dispatcher.store.job_changes import JobKey
from dispatcher.store.lists import (
    MAX_VALUES,
    Branch,
    Condition,
    below,
    chunks,
    limit_of,
    newest,
    page,
    rows_of,
    walk,
)
from dispatcher.store.mapping import JOB, UNCLAIMED_JOB, Row, job_of, safe, safe_filter, safe_or_none
from dispatcher.store.schema import grants, jobs, unclaimed_jobs
from dispatcher.store.session import Repository

WALKS = 2
"""So often some of what owners said is looked at for a page: most may have been claimed since. It then ends early."""

_unclaimed = unclaimed_jobs.c


class JobRepository(Repository):
    """Jobs, as their events tell of them."""

    async def get(self, tenant: str, job_id: str, visible_to: str | None = None) -> Job | None:
        """One job; with `visible_to` only as this owner may see it.

        One that is not claimed is what this owner says of it, or somebody who granted it to the owner; without
        `visible_to` what trusted publishers say, or else the first who said anything.
        """
        return await self._read(find_job, safe(tenant), safe(job_id), safe_or_none(visible_to))

    async def page(self, which: JobFilter, window: Window) -> Page[Job]:
        """Jobs by their first event, newest first; the cursor is that event's key."""
        return await self._read(_page, safe_filter(which), window)

    async def owners(self, tenant: str, job_ids: Collection[str]) -> Mapping[str, str]:
        """Whose these jobs are, of those that are claimed: a trusted publisher gave them to somebody."""
        wanted = sorted({(safe(tenant), safe(job_id)) for job_id in job_ids})
        found = await self._read(owners, wanted) if wanted else {}
        return {job_id: owner for (_, job_id), owner in found.items()}

    async def is_known(self, tenant: str, job_id: str, publisher: str | None) -> bool:
        """Whether a trusted publisher, or `publisher` with the own key, has said anything of a job."""
        return await self._read(_is_known, safe(tenant), safe(job_id), safe_or_none(publisher))

    async def granted(self, wanted: Iterable[Permit]) -> set[Permit]:
        """Of which of these (tenant, job, owner, user) the user may see what the owner has of the job, by a grant."""
        found: set[Permit] = set()
        asked = [(safe(tenant), safe(job), safe(owner), safe(user)) for tenant, job, owner, user in wanted]
        for some in chunks(asked):
            found |= await self._read(granted, some)
        return found


def owners(connection: Connection, wanted: Sequence[JobKey]) -> dict[JobKey, str]:
    """Whose these jobs are, of those that are claimed."""
    found: dict[JobKey, str] = {}
    for some in chunks(wanted):
        asked = values(column("tenant", Text), column("id", Text)).data(list(some)).cte("asked")
        whose = select(asked.c.tenant, asked.c.id, owner_of(asked.c.tenant, asked.c.id))
        rows = connection.execute(whose).all()
        found |= {(tenant, job_id): owner for tenant, job_id, owner in rows if owner is not None}
    return found


def _is_known(connection: Connection, tenant: str, job_id: str, publisher: str | None) -> bool:
    queries = [select(jobs.c.id).where(jobs.c.tenant == tenant, jobs.c.id == job_id)]
    if publisher is not None:
        this = (_unclaimed.tenant == tenant, _unclaimed.id == job_id, _unclaimed.owner == publisher)
        queries.append(select(_unclaimed.id).where(*this))
    return any(connection.execute(one).first() is not None for one in queries)


def find_job(connection: Connection, tenant: str, job_id: str, visible_to: str | None) -> Job | None:
    """See `JobRepository.get`."""
    found = rows_of(connection, select(*JOB).where(jobs.c.tenant == tenant, jobs.c.id == job_id))
    job = job_of(found[0]) if found else None
    if job is not None and job.owner is not None:
        permit = (tenant, job_id, job.owner, visible_to or "")
        visible = visible_to in (None, job.owner) or granted(connection, [permit])
        return job if visible else None
    if job is not None and visible_to is None:
        return job
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


def _page(connection: Connection, which: JobFilter, window: Window) -> Page[Job]:
    """A page of jobs: of those that are claimed, and of what owners say of others."""
    first, limit = jobs.c.first_event, limit_of(window) + 1
    conditions = _conditions(which, jobs.c.owner, jobs.c.status)
    branches = _visible(which, jobs.c.tenant, jobs.c.id, jobs.c.owner, conditions)
    if len(branches) == 1:
        found = walk(connection, first, branches[0], below(window, "evt")).with_only_columns(*JOB)
        found = found.limit(limit)
    else:
        ids = newest(connection, first, limit, *branches, below=below(window, "evt"))
        found = select(*JOB).where(jobs.c.tenant == which.tenant, first.in_(ids)).order_by(first.desc())
    apart, end = _unclaimed_jobs(connection, which, window, limit)
    rows = rows_of(connection, found) + apart
    rows.sort(key=lambda row: str(row["first_event"]), reverse=True)
    if end is not None:
        rows = [row for row in rows if row["first_event"] >= end]
        if len(rows) < limit:
            return Page([job_of(row) for row in rows], end)
    return page(rows[:limit], window, "first_event", job_of)


def _unclaimed_jobs(
    connection: Connection, which: JobFilter, window: Window, limit: int
) -> tuple[list[Row], str | None]:
    """What owners say of jobs that are not claimed, of some of the newest; and where these end if more may follow."""
    first, cursor = _unclaimed.first_event, below(window, "evt")
    conditions = _conditions(which, _unclaimed.owner, _unclaimed.status)
    branches = _visible(which, _unclaimed.tenant, _unclaimed.id, _unclaimed.owner, conditions)
    found: list[Row] = []
    for _ in range(WALKS):
        walked: dict[str, Row] = {}
        for branch in branches:
            rows = walk(connection, first, branch, cursor).with_only_columns(*UNCLAIMED_JOB).limit(MAX_VALUES)
            walked |= {row["first_event"]: row for row in rows_of(connection, rows)}
        newest_ = [walked[key] for key in sorted(walked, reverse=True)[:MAX_VALUES]]
        claimed = owners(connection, [(which.tenant, row["id"]) for row in newest_])
        found += [row for row in newest_ if (which.tenant, row["id"]) not in claimed]
        if len(newest_) < MAX_VALUES:
            return found[:limit], None
        if len(found) >= limit:
            return found[:limit], None
        cursor = newest_[-1]["first_event"]
    return found, cursor


def _conditions(which: JobFilter, owner: ColumnElement[str], status: ColumnElement[str]) -> list[Condition]:
    """What is asked besides who may see it."""
    wanted = [] if which.owner is None or which.visible_to is None else [owner == which.owner]
    return wanted if which.status is None else [*wanted, status == which.status]


def _visible(
    which: JobFilter,
    tenant: ColumnElement[str],
    job_id: ColumnElement[str],
    owner: ColumnElement[str],
    conditions: Sequence[Condition],
) -> list[Branch]:
    if which.visible_to is None:
        if which.owner is not None:
            return [Branch([*conditions, tenant == which.tenant], owner, which.owner)]
        return [Branch(conditions, tenant, which.tenant)]
    permitted = tuple_(tenant, job_id, owner).in_(granted_to(which.tenant, which.visible_to))
    # Not as the lead: it may stand in the conditions too.
    own = Branch([*conditions, tenant == which.tenant, owner == which.visible_to])
    return [own, Branch([*conditions, permitted])]
