"""What a caller may see of jobs and their events, for interfaces that show jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from dispatcher.api.access import only_owner
from dispatcher.domain.events import Event
from dispatcher.domain.jobs import Job
from dispatcher.domain.keys import ApiKey
from dispatcher.store.filters import EventFilter, JobFilter, Window
from dispatcher.store.store import Store

MAX_HISTORY = 5_000
"""Events that a history can have here; the native API goes on with a cursor."""

_JOBS_IN_PAGE = 500
_EVENTS_IN_PAGE = 100
_LATEST = 10
# Events of a job among which one with its document is looked for.


async def jobs_of(caller: ApiKey, store: Store) -> AsyncIterator[Job]:
    """The jobs that the caller may see, newest first."""
    which = JobFilter(tenant=caller.tenant, visible_to=only_owner(caller))
    cursor: str | None = None
    while True:
        page = await store.jobs.page(which, Window(_JOBS_IN_PAGE, cursor))
        for job in page.items:
            yield job
        cursor = page.next
        if cursor is None:
            return


async def events_of(job: Job, caller: ApiKey, store: Store) -> AsyncIterator[Event]:
    """The events of a job that the caller may see, newest first."""
    cursor: str | None = None
    while True:
        page = await store.events.page(_events(job, caller), Window(_EVENTS_IN_PAGE, cursor))
        for event in page.items:
            yield event
        cursor = page.next
        if cursor is None:
            return


async def document_of(job: Job, caller: ApiKey, store: Store) -> Mapping[str, object]:
    """The latest document of a job that the caller may see; empty when its last events had none."""
    page = await store.events.page(_events(job, caller), Window(_LATEST))
    return next((event.job for event in page.items if event.job), {})


def _events(job: Job, caller: ApiKey) -> EventFilter:
    return EventFilter(tenant=job.tenant, visible_to=only_owner(caller), job_id=job.id)
