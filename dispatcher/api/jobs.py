"""Jobs over HTTP: what is known of each from its events, and its history."""

from __future__ import annotations

import asyncio
import time

from msgspec import convert

from dispatcher.api.access import job_for, only_owner
from dispatcher.api.job_snapshots import WaitResult, find_older, parse_until, read_snapshot
from dispatcher.api.query_models import JobsQuery, ListQuery, StatusQuery
from dispatcher.api.response_lists import History, JobList
from dispatcher.api.response_models import HistoryItem, JobStatus, JobView
from dispatcher.api.routing import Call, NoQuery
from dispatcher.api.waiters import Waiter
from dispatcher.domain.errors import NotFound
from dispatcher.domain.event_names import EVENTS
from dispatcher.domain.events import Event
from dispatcher.domain.names import is_name
from dispatcher.store.filters import EventFilter, JobFilter

AGAIN_SECONDS = 1.0
"""After how long a request looks again at a job that has had too many events at once."""


async def list_jobs(call: Call[JobsQuery, None]) -> JobList:
    """Jobs, newest first."""
    which = JobFilter(
        tenant=call.caller.tenant,
        visible_to=only_owner(call.caller),
        owner=call.query.owner,
        status=call.query.status,
    )
    page = await call.services.store.jobs.page(which, call.query.window)
    return JobList(convert(page.items, list[JobView], from_attributes=True), page.next)


async def get_job(call: Call[NoQuery, None]) -> JobView:
    """One job."""
    job = await job_for(call.caller, call.path["id"], call.services)
    return convert(job, JobView, from_attributes=True)


async def get_job_history(call: Call[ListQuery, None]) -> History:
    """A job's events, newest first."""
    job = await job_for(call.caller, call.path["id"], call.services)
    which = EventFilter(tenant=job.tenant, visible_to=only_owner(call.caller), job_id=job.id)
    page = await call.services.store.events.page(which, call.query.window)
    return History([_item(event) for event in page.items], page.next)


async def get_job_status(call: Call[StatusQuery, None]) -> JobStatus:
    """A job's status, at once or when there is something new.

    With `wait` the answer comes as soon as what `until` asks for holds, at once when it holds already, and after so
    many seconds at the latest; `reached` says which. A job that is not known (to you) yet is waited for; without
    `wait` it is 404. How many may wait is limited: for an owner (429) and for the process (503).
    """
    caller, services, query = call.caller, call.services, call.query
    until = parse_until(query.until, query.after)
    job_id, viewer = call.path["id"], only_owner(caller)
    if not is_name(job_id):
        raise NotFound(f"there is no job {job_id[:255]!r} that had an event")
    job = (caller.tenant, job_id)
    ends = time.monotonic() + (query.wait or 0)
    while True:
        left = ends - time.monotonic()
        version, snapshot = await read_snapshot(services.store, job, viewer)
        result = until.evaluate(snapshot)
        if snapshot is not None and not result.reached and until.may_be_older(snapshot):
            found = await find_older(services.store, job, viewer, until)
            result = result if found is None else WaitResult(reached=True, snapshot=snapshot, event=found)
        if snapshot is None and query.wait is None:
            raise NotFound(f"there is no job {job_id!r} that had an event")
        if result.reached or left <= 0:
            return _status(job_id, result)
        quota = (await services.quotas.of(caller.tenant, caller.owner)).waiters
        waited = await services.waiters.wait(Waiter(caller, job, until, snapshot), version, left, quota)
        if waited is not None:
            return _status(job_id, waited)
        await asyncio.sleep(AGAIN_SECONDS)


def _status(job_id: str, result: WaitResult) -> JobStatus:
    snapshot, event = result.snapshot, result.event
    if snapshot is None:
        nothing = {"status": None, "event_id": None, "time": None, "message": None}
        return JobStatus(job_id=job_id, terminal=False, reached=False, **nothing)
    return JobStatus(
        job_id=job_id,
        status=snapshot.status,
        terminal=snapshot.terminal,
        reached=result.reached,
        event_id=None if event is None else event.key,
        time=snapshot.updated_at if event is None else event.time,
        message=snapshot.message if event is None else event.message,
    )


def _item(event: Event) -> HistoryItem:
    return HistoryItem(
        id=event.key,
        event=event.event,
        description=EVENTS.get(event.event),
        message=event.message,
        time=event.time,
        accepted_at=event.accepted_at,
    )
