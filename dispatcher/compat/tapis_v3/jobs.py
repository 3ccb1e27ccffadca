"""`/v3/jobs`: what the events of jobs say of them, and events that users send to a job.

Source: tapis-jobs 1.7.1, JobGetResource, JobListingResource, JobSearchResource and JobSubmitResource.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from dispatcher.api.access import job_for
from dispatcher.compat.envelope import CompatResponse
from dispatcher.compat.job_reading import MAX_HISTORY, document_of, events_of, jobs_of
from dispatcher.compat.tapis_v3 import listing, search, search_sql
from dispatcher.compat.tapis_v3 import request_models as models
from dispatcher.compat.tapis_v3.conditions import Predicate
from dispatcher.compat.tapis_v3.envelope import V3Request
from dispatcher.compat.tapis_v3.event_model import USER_EVENT
from dispatcher.compat.tapis_v3.events import publish
from dispatcher.compat.tapis_v3.job_views import ATTRIBUTES, SEARCHED, SUMMARY, attributes, step, whole
from dispatcher.compat.tapis_v3.views import selected
from dispatcher.domain.errors import Forbidden, InvalidInput
from dispatcher.domain.events import utc_now
from dispatcher.domain.jobs import Job

MAX_LISTED = 10_000
"""Jobs that a list looks at, the newest first."""

_SOURCE = "Jobs"
_LIST_TYPES = ("MY_JOBS", "SHARED_JOBS", "ALL_JOBS")


async def get_job(request: V3Request) -> CompatResponse:
    """One job."""
    job = await named_job(request)
    document = await document_of(job, request.caller.key, request.services.store)
    return CompatResponse(message=f"the job {job.id} was found", result=whole(job, document))


async def get_status(request: V3Request) -> CompatResponse:
    """The status of one job."""
    known = attributes(await named_job(request))
    result = {name: known[name] for name in ("status", "condition")}
    return CompatResponse(message=f"the status of the job {known['uuid']} was found", result=result)


async def get_history(request: V3Request) -> CompatResponse:
    """What happened to a job, the first event first."""
    job = await named_job(request)
    limit, skip = listing.limit_in(request.query), listing.number(request.query, "skip", 0)
    steps: list[dict[str, object]] = []
    async for event in events_of(job, request.caller.key, request.services.store):
        steps.append(step(event))
        if len(steps) > MAX_HISTORY:
            raise InvalidInput(
                "",
                f"the job has more than {MAX_HISTORY} events: ask GET /v1/jobs/{{id}}/history, page by page",
            )
    steps.reverse()
    return CompatResponse(message=f"{len(steps)} events", result=steps[skip : skip + limit])


async def list_jobs(request: V3Request) -> CompatResponse:
    """The caller's jobs, those shared with the caller, or all that the caller may see."""
    return await _listed(request, search.all_of([]), SUMMARY)


async def search_by_query(request: V3Request) -> CompatResponse:
    """Some of them, by further query parameters."""
    return await _listed(request, search.from_query(request.query, SEARCHED), _selected(request))


async def search_by_body(request: V3Request) -> CompatResponse:
    """Some of them, by a condition in SQL."""
    text = " ".join(request.read(models.Search).search)
    return await _listed(request, search_sql.from_sql(text, SEARCHED), _selected(request))


async def send_event(request: V3Request) -> CompatResponse:
    """Send an event of a user's own to a job that has not ended; subscribers to JOB_USER_EVENT are notified."""
    new = request.read(models.UserEvent)
    if not request.caller.may_send_events:
        raise Forbidden("this needs a token, or a key with the scopes subscribe and publish")
    job = await named_job(request)
    if job.terminal:
        raise InvalidInput("jobUuid", f"the job {job.id} has ended: it is {job.status}")
    event = models.PostEvent(
        source=_SOURCE,
        type=f"{USER_EVENT}{new.event_detail}",
        timestamp=msgspec.to_builtins(utc_now()),
        subject=job.id,
        data=new.event_data,
        series_id=job.id,
    )
    caller = request.caller.key
    await publish(request, event, caller.tenant, user=job.owner if caller.trusted else caller.owner)
    return CompatResponse(message=f"the event was sent to the job {job.id}", result=new.event_data)


async def named_job(request: V3Request) -> Job:
    """The job that the path names. Raises NotFound."""
    return await job_for(request.caller.key, request.path["jobUuid"], request.services)


async def _listed(request: V3Request, wanted: Predicate, chosen: tuple[str, ...]) -> CompatResponse:
    found = [(one, one) for one in [attributes(job) for job in await _jobs(request)]]
    shown, metadata = listing.part_of(found, wanted, request.query, SEARCHED)
    result = [{name: one[name] for name in ATTRIBUTES if name in chosen} for one in shown]
    return CompatResponse(message=f"{len(shown)} jobs", result=result, metadata=metadata)


async def _jobs(request: V3Request) -> list[Job]:
    """The jobs that `listType` means, the newest MAX_LISTED of them."""
    list_type = request.query.get("listType", _LIST_TYPES[0])
    if list_type not in _LIST_TYPES:
        raise InvalidInput("listType", f"expected one of {', '.join(_LIST_TYPES)}, got {list_type[:40]!r}")
    key = request.caller.key
    # Own jobs and shared ones are a user's, also when the user is an administrator.
    asking = key if list_type == "ALL_JOBS" else replace(key, scopes=("subscribe",))
    found: list[Job] = []
    async for job in jobs_of(asking, request.services.store):
        if list_type == "ALL_JOBS" or (job.owner == key.owner) == (list_type == "MY_JOBS"):
            found.append(job)
        if len(found) == MAX_LISTED:
            break
    return found


def _selected(request: V3Request) -> tuple[str, ...]:
    return selected(request.query.get("select"), "summaryAttributes", ATTRIBUTES, SUMMARY)
