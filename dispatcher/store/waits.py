"""What is asked of the store for those who wait: which jobs have changed, and which keys are still there."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from msgspec import Struct
from sqlalchemy import Connection, select, text

from dispatcher.domain.events import Event
from dispatcher.domain.jobs import Job
from dispatcher.store.dialect import asked_pairs
from dispatcher.store.events import find_events
from dispatcher.store.filters import EventFilter, Page, Window
from dispatcher.store.job_changes import JobKey
from dispatcher.store.jobs import find_job
from dispatcher.store.lists import chunks
from dispatcher.store.mapping import safe, safe_or_none
from dispatcher.store.schema import api_keys
from dispatcher.store.session import Repository

Version = tuple[int, int]
"""How many events of a job trusted publishers, its owner, and others have published; it changes with each."""

UNKNOWN: Version = (0, 0)
"""Of a job that has had no event."""

MAX_OWNERS = 1000
"""The events of how many owners are counted for a job that is not claimed."""

# Only the primary keys give the order by id, so no other index of the tenant is taken, whatever the statistics say.
_VERSIONS = """
select tenant, id, (
    select events from jobs where jobs.tenant = asked.tenant and jobs.id >= asked.id and jobs.id <= asked.id
    order by jobs.id limit 1
) as trusted, (
    select sum(events) from (
        select u.events from unclaimed_jobs u
        where u.tenant = asked.tenant and u.id >= asked.id and u.id <= asked.id order by u.id limit {most}
    ) as each_owner
) as apart
from {asked}
"""


class Seen(Struct, frozen=True):
    """A job as somebody may see it (None when it may not be seen), and its version before that was read."""

    version: Version
    job: Job | None
    events: Page[Event]


class WaitRepository(Repository):
    """What waiting asks of the store. All methods raise StoreUnavailable when the database cannot be reached."""

    async def versions(self, wanted: Sequence[JobKey]) -> Mapping[JobKey, Version]:
        """The versions of these jobs, with one statement for each 500; that of an unknown one is (0, 0)."""
        found: dict[JobKey, Version] = {}
        for some in chunks(wanted):
            found |= await self._read(_versions, some)
        return found

    async def seen(self, job: JobKey, viewer: str | None, limit: int) -> Seen:
        """What a viewer (None: an admin) may see of a job, with so many of its latest events."""
        return await self._read(_seen, job, viewer, limit)

    async def known_keys(self, key_ids: Collection[str]) -> set[str]:
        """Which of these API keys have not been deleted."""
        found: set[str] = set()
        for some in chunks(list(key_ids)):
            found |= await self._read(_known_keys, some)
        return found


def _versions(connection: Connection, wanted: Sequence[JobKey]) -> dict[JobKey, Version]:
    stored = {(safe(tenant), safe(job_id)): (tenant, job_id) for tenant, job_id in wanted}
    asked, parameters = asked_pairs(connection, list(stored))
    statement = text(_VERSIONS.format(asked=asked, most=MAX_OWNERS))
    rows = connection.execute(statement, parameters)
    return {
        stored[tenant, job_id]: (trusted or 0, int(apart or 0)) for tenant, job_id, trusted, apart in rows
    }


def _seen(connection: Connection, job: JobKey, viewer: str | None, limit: int) -> Seen:
    version = _versions(connection, [job])[job]
    tenant, job_id, visible_to = safe(job[0]), safe(job[1]), safe_or_none(viewer)
    known = None if version == UNKNOWN else find_job(connection, tenant, job_id, visible_to)
    if known is None:
        return Seen(version, None, Page([], None))
    which = EventFilter(tenant=tenant, visible_to=visible_to, job_id=job_id)
    return Seen(version, known, find_events(connection, which, Window(limit=limit)))


def _known_keys(connection: Connection, some: Sequence[str]) -> set[str]:
    return set(connection.execute(select(api_keys.c.id).where(api_keys.c.id.in_(some))).scalars())
