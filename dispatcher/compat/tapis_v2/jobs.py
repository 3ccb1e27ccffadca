"""`/jobs/v2`: polling as Tapis v2 (Agave) offers it, from the stored events."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime

from dispatcher.api.access import job_for
from dispatcher.api.secret_fields import hide_secrets
from dispatcher.compat.envelope import CompatResponse
from dispatcher.compat.job_reading import MAX_HISTORY, document_of, events_of, jobs_of
from dispatcher.compat.tapis_v2.envelope import V2Request
from dispatcher.compat.tapis_v2.search import Term, Type, terms_in
from dispatcher.compat.tapis_v2.views import iso, link
from dispatcher.domain.errors import InvalidInput, NotFound
from dispatcher.domain.event_names import EVENTS
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.jobs import Job
from dispatcher.store.mapping import made_at

SEARCHED: dict[str, Type] = {
    "id": "text",
    "name": "text",
    "owner": "text",
    "status": "text",
    "appid": "text",
    "executionsystem": "text",
    "submittime": "time",
    "starttime": "time",
    "endtime": "time",
    "created": "time",
}

MAX_LOOKED_AT = 10_500
"""Jobs that one list looks at: as many as the highest offset reaches, and a page."""

SHORTEST_WAIT, LONGEST_WAIT = 2, 300
"""Seconds: what is suggested to who asks again."""


async def list_jobs(request: V2Request) -> CompatResponse:
    """The caller's jobs, or those that its search terms select; newest first."""
    return await _listed(request, terms_in(request.terms, SEARCHED))


async def find_jobs(request: V2Request) -> CompatResponse:
    """The caller's jobs whose field, which stands in the path, has this value."""
    field, value = request.path["field"].lower(), request.path["value"]
    if field not in SEARCHED:
        raise NotFound(f"there is nothing at {request.url_path[:200]}")
    return await _listed(request, terms_in({**request.terms, field: value}, SEARCHED))


async def _listed(request: V2Request, terms: Sequence[Term]) -> CompatResponse:
    items: list[object] = []
    position = 0
    async for job in _jobs(request):
        if len(items) == request.limit:
            break
        if _fits(job, terms):
            position += 1
            if position > request.offset:
                items.append(_brief(job, request.base))
    return CompatResponse(items, conditional=True)


async def get_job(request: V2Request) -> CompatResponse:
    """One job: its latest document, with what its events say since."""
    job = await job_for(request.caller, request.path["id"], request.services)
    document = await document_of(job, request.caller, request.services.store)
    return _polled(job, _full(job, document, request.base))


async def get_status(request: V2Request) -> CompatResponse:
    """A job's status."""
    job = await job_for(request.caller, request.path["id"], request.services)
    return _polled(
        job, {"id": job.id, "status": job.status, "_links": {"self": link(request.base, "jobs", job.id)}}
    )


async def get_history(request: V2Request) -> CompatResponse:
    """What happened to a job, the first event first."""
    job = await job_for(request.caller, request.path["id"], request.services)
    steps: list[dict[str, object]] = []
    async for event in events_of(job, request.caller, request.services.store):
        steps.append(_step(event))
        if len(steps) > MAX_HISTORY:
            raise InvalidInput(
                "",
                f"the job has more than {MAX_HISTORY} events: ask GET /v1/jobs/{{id}}/history, page by page",
            )
    steps.reverse()
    return _polled(job, steps[request.offset : request.offset + request.limit])


def wait_for(job: Job, now: datetime) -> int | None:
    """Seconds after which to ask again: twice as many each time nothing happened. None when it has ended."""
    if job.terminal:
        return None
    quiet = int((now - made_at(job.last_event)).total_seconds())
    return max(SHORTEST_WAIT, min(1 << max(quiet, 1).bit_length() - 1, LONGEST_WAIT))


def _polled(job: Job, result: object) -> CompatResponse:
    wait = wait_for(job, utc_now())
    headers = {} if wait is None else {"Retry-After": str(wait)}
    return CompatResponse(result, headers=headers, conditional=True)


async def _jobs(request: V2Request) -> AsyncIterator[Job]:
    looked_at = 0
    async for job in jobs_of(request.caller, request.services.store):
        looked_at += 1
        if looked_at > MAX_LOOKED_AT:
            raise InvalidInput(
                "",
                f"more than {MAX_LOOKED_AT} jobs would have to be looked at: ask GET /v1/jobs, page by page",
            )
        yield job


def _fits(job: Job, terms: Sequence[Term]) -> bool:
    if not terms:
        return True
    known: Mapping[str, object] = {
        "id": job.id,
        "name": job.name,
        "owner": job.owner,
        "status": job.status,
        "appid": job.app_id,
        "executionsystem": job.system,
        "submittime": job.submitted_at,
        "starttime": job.started_at,
        "endtime": job.ended_at,
        "created": _created(job),
    }
    return all(term.holds(known[term.field]) for term in terms)


def _created(job: Job) -> datetime:
    return made_at(job.first_event)


def _known(job: Job) -> dict[str, object]:
    """What the events say, in the order of the guide."""
    return {
        "id": job.id,
        "name": job.name,
        "owner": job.owner,
        "appId": job.app_id,
        "executionSystem": job.system,
        "created": iso(_created(job)),
        "status": job.status,
        "submitTime": _iso(job.submitted_at),
        "startTime": _iso(job.started_at),
        "endTime": _iso(job.ended_at),
    }


def _brief(job: Job, base: str) -> dict[str, object]:
    return {**_known(job), "_links": {"self": link(base, "jobs", job.id)}}


def _full(job: Job, document: Mapping[str, object], base: str) -> dict[str, object]:
    links = {
        "self": link(base, "jobs", job.id),
        "history": link(base, "jobs", job.id, "history"),
        "notifications": {
            "href": f"{link(base, 'notifications')['href']}/?associatedUuid="
            + link(base, "jobs", job.id)["href"].rpartition("/")[2]
        },
    }
    if job.owner is not None:
        links["owner"] = link(base, "profiles", job.owner)
    given = document.get("_links")
    # Where its notifications go is for their owners alone.
    own = hide_secrets({name: value for name, value in document.items() if name != "notifications"})
    return {
        **_known(job),
        "lastUpdated": iso(job.updated_at),
        "lastStatusMessage": job.message,
        **own,
        "id": job.id,
        "status": job.status or own.get("status"),
        "_links": links | (given if isinstance(given, dict) else {}),
    }


def _step(event: Event) -> dict[str, object]:
    step: dict[str, object] = {
        "created": iso(event.time),
        "status": event.event,
        "description": event.message or EVENTS.get(event.event),
    }
    data = event.data
    own = data.get("data") if isinstance(data, dict) else None
    for place in (own, data):
        if isinstance(place, dict) and isinstance(place.get("progress"), dict):
            return {"progress": place["progress"], **step}
    return step


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else iso(moment)
