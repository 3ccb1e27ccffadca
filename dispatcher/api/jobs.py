"""Jobs over HTTP: what is known of each from its events, and its history."""

from __future__ import annotations

from msgspec import convert

from dispatcher.api.access import job_for, only_owner
from dispatcher.api.answers import History, HistoryItem, JobList, JobView
from dispatcher.api.requests import JobsQuery, ListQuery
from dispatcher.api.routing import Call, NoQuery
from dispatcher.domain.events import Event
from dispatcher.domain.vocabulary import EVENTS
from dispatcher.store.contract import EventFilter, JobFilter


async def list_jobs(call: Call[JobsQuery, None]) -> JobList:
    """Jobs, newest first."""
    which = JobFilter(
        tenant=call.caller.tenant,
        visible_to=only_owner(call.caller),
        owner=call.query.owner,
        status=call.query.status,
    )
    page = await call.services.store.jobs(which, call.query.window)
    return JobList(convert(page.items, list[JobView], from_attributes=True), page.next)


async def get_job(call: Call[NoQuery, None]) -> JobView:
    """One job."""
    job = await job_for(call.caller, call.path["id"], call.services)
    return convert(job, JobView, from_attributes=True)


async def get_job_history(call: Call[ListQuery, None]) -> History:
    """A job's events, newest first."""
    job = await job_for(call.caller, call.path["id"], call.services)
    which = EventFilter(tenant=job.tenant, visible_to=only_owner(call.caller), job_id=job.id)
    page = await call.services.store.events(which, call.query.window)
    return History([_item(event) for event in page.items], page.next)


def _item(event: Event) -> HistoryItem:
    return HistoryItem(
        id=event.key,
        event=event.event,
        description=EVENTS.get(event.event),
        message=event.message,
        time=event.time,
        accepted_at=event.accepted_at,
    )
