"""What the events of a batch say of jobs, and for whom it counts: who may speak of whose job is decided here.

What a trusted publisher says of a job counts, and so does what the job's owner says; it goes into `jobs`. What others
say with their own keys is kept apart, in `unclaimed_jobs`, one row for each owner, and counts for them alone until a
trusted publisher names the job's owner. So nothing has to be undone then: what the row in `jobs` says never came from
anybody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from dispatcher.domain.events import Event
from dispatcher.domain.jobs import Job, project_one
from dispatcher.domain.permissions import Permission, permission_of

JobKey = tuple[str, str]
"""Tenant and id."""


class Grant(Struct, frozen=True):
    """What an event says about who may see a job. `trusted`: by a trusted publisher, or the owner of a claimed job."""

    permission: Permission
    trusted: bool


class JobChanges(Struct, frozen=True):
    """The projections of jobs that a batch adds, of unclaimed ones by owner, and its grants; sorted.

    `owners` has those of claimed jobs, also of those that the batch claims.
    """

    jobs: list[Job]
    unclaimed_jobs: list[Job]
    grants: list[Grant]
    owners: Mapping[JobKey, str]


def job_changes(events: Iterable[Event], owners: Mapping[JobKey, str]) -> JobChanges:
    """What these events say.

    `owners` has those of claimed jobs, of all about which an owner's own key says something.
    """
    claimed = dict(owners)
    jobs: dict[JobKey, Job] = {}
    unclaimed: dict[tuple[str, str, str], Job] = {}
    grants: dict[tuple[str | None, ...], Grant] = {}
    for event in events:
        key, publisher = (event.tenant, event.job_id), event.published_by
        if publisher is None and event.owner is not None:
            claimed.setdefault(key, event.owner)
        counts = publisher is None or claimed.get(key) == publisher
        added = project_one(event)
        if counts:
            jobs[key] = jobs[key].merge(added) if key in jobs else added
        else:
            apart = (*key, publisher or "")
            unclaimed[apart] = unclaimed[apart].merge(added) if apart in unclaimed else added
        if (permission := permission_of(event)) is not None:
            _note(grants, Grant(permission, counts))
    return JobChanges(
        jobs=[jobs[key] for key in sorted(jobs)],
        unclaimed_jobs=[unclaimed[apart] for apart in sorted(unclaimed)],
        grants=list(grants.values()),
        owners=claimed,
    )


def _note(grants: dict[tuple[str | None, ...], Grant], new: Grant) -> None:
    """Keep the newest of equal trust for each job, owner and user."""
    permission = new.permission
    key = (permission.tenant, permission.job_id, permission.owner, permission.user)
    known = grants.get(key)
    if known is None or (new.trusted, permission.at) >= (known.trusted, known.permission.at):
        grants[key] = new
