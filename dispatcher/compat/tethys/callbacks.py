"""The callbacks of a Tethys portal: a job that reports to one can report here, with a token in the query.

GET `/update-job-status/<job>/`, `/report-job-status/<job>/?status=…` and `/update-dask-job-status/<key>/?status=…`
answer `{"success": true}` when the event is stored. POST `/update-job-status/<job>/token/`, with an API key, gives the
token.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from ipaddress import ip_address
from typing import NamedTuple

import msgspec
from aiohttp import web

from dispatcher.api.access import check_publisher, speaks_for
from dispatcher.api.auth import SETTINGS_KEY, authorize
from dispatcher.api.services import Services
from dispatcher.compat.tethys.callback_tokens import CallbackTokens
from dispatcher.compat.tethys.statuses import DASK_TO_TETHYS, tethys_status
from dispatcher.domain.errors import DispatcherError, Forbidden, InvalidInput
from dispatcher.domain.event_names import TETHYS_EVENTS, is_terminal
from dispatcher.domain.events import DEFAULT_TENANT, check_text, utc_now
from dispatcher.domain.hops import hops_in
from dispatcher.domain.keys import ApiKey
from dispatcher.intake.decode import Message, decode

_SOURCE = "/tethys"
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")

_LOOPBACK_KEY = ApiKey(
    id="loopback",
    name="loopback",
    owner="",
    tenant=DEFAULT_TENANT,
    scopes=("publish:any",),
    created_at=SETTINGS_KEY.created_at,
)
"""Who calls from this machine without a token, when that is allowed."""


class _Refused(DispatcherError):
    """Who calls may not report on this job, and why."""


def attach(app: web.Application, services: Services, tokens: CallbackTokens) -> None:
    """Add the routes, with and without the slash at the end."""
    handlers = {
        "update-job-status": _callback(services, tokens, _UPDATE),
        "update-dask-job-status": _callback(services, tokens, _DASK),
        "report-job-status": _callback(services, tokens, _REPORT),
    }
    for end in ("", "/"):
        for path, handle in handlers.items():
            app.router.add_get(f"/{path}/{{job}}{end}", handle)
        app.router.add_post(f"/report-job-status/{{job}}{end}", handlers["report-job-status"])
        app.router.add_post(f"/update-job-status/{{job}}/token{end}", _token(services, tokens))


def _token(services: Services, tokens: CallbackTokens) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        caller = await authorize(request.headers.get("Authorization"), "publish", services)
        if caller.id == SETTINGS_KEY.id:
            # It has no id that ends with it, and its tokens would outlive it.
            raise Forbidden(
                "the admin key of the settings gives no tokens: make a key with the scope publish"
            )
        job = check_text("job_id", request.match_info["job"])
        token = tokens.token(caller.id, job)
        query = f"?token={token}"
        return web.json_response(
            {
                "token": token,
                "job": f"/update-job-status/{job}/{query}",
                "report": f"/report-job-status/{job}/{query}&status=",
                "dask": f"/update-dask-job-status/{job}/{query}&status=",
            }
        )

    return handle


def _callback(
    services: Services, tokens: CallbackTokens, rules: _Rules
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        job = request.match_info["job"]
        try:
            caller = await _caller(request, job, services, tokens)
        except _Refused as error:
            return _failure(str(error), HTTPStatus.FORBIDDEN)
        given = request.query.get("status")
        status = rules.status_of(given)
        if status is None:
            problem = (
                f"no status {(given or '')[:40]!r}: expected one of Tethys's, or of Dask's for a Dask job"
            )
            return _failure(problem, rules.unknown_status)
        if rules.ends and await _has_finished(caller, job, status, services):
            return _failure("job has already finished", HTTPStatus.CONFLICT)
        try:
            await _store(caller, job, status, services, hops_in(request.headers))
        except Forbidden as error:
            return _failure(str(error), HTTPStatus.FORBIDDEN)
        except InvalidInput as error:
            return _failure(f"{error.field}: {error.problem}", HTTPStatus.BAD_REQUEST)
        return web.json_response({"success": True})

    return handle


def _updated_status(given: str | None) -> str | None:
    """The portal's status; empty when the call only says that there is something new."""
    return "" if given is None else tethys_status(given)


def _reported_status(given: str | None) -> str | None:
    return tethys_status(given or "")


def _dask_status(given: str | None) -> str | None:
    return DASK_TO_TETHYS.get(given or "")


class _Rules(NamedTuple):
    """How one of the portal's routes takes a status.

    `unknown_status` is the answer to one that is none; with `ends` a job that has ended takes only another end.
    """

    status_of: Callable[[str | None], str | None]
    unknown_status: HTTPStatus = HTTPStatus.OK
    ends: bool = False


_UPDATE = _Rules(_updated_status)
_DASK = _Rules(_dask_status)
_REPORT = _Rules(_reported_status, unknown_status=HTTPStatus.BAD_REQUEST, ends=True)


async def _has_finished(caller: ApiKey, job: str, status: str, services: Services) -> bool:
    """Whether a job has ended that `status` would revive."""
    if is_terminal(TETHYS_EVENTS[status]):
        return False
    visible_to = None if caller.trusted else caller.owner
    known = await services.store.jobs.get(caller.tenant, job, visible_to)
    return known is not None and known.status is not None and is_terminal(known.status)


async def _caller(request: web.Request, job: str, services: Services, tokens: CallbackTokens) -> ApiKey:
    """Whose event it is. Raises _Refused."""
    token = request.query.get("token")
    if token is None:
        if tokens.loopback and _from_this_machine(request):
            return _LOOPBACK_KEY
        raise _Refused(
            "a token is needed: ?token=…, from POST /update-job-status/<job>/token/ with an API key"
        )
    key_id = tokens.key_id(token, job)
    key = None if key_id is None else await services.store.keys.get(key_id)
    if key is None or not key.may("publish"):
        raise _Refused("the token is not one for this job, or its key was removed")
    return key


def _from_this_machine(request: web.Request) -> bool:
    # A proxy on this machine speaks for others, and mostly says so.
    if request.remote is None or any(name in request.headers for name in _FORWARDED):
        return False
    return ip_address(request.remote).is_loopback


async def _store(caller: ApiKey, job: str, status: str, services: Services, hops: int) -> None:
    """Take the event in. Raises InvalidInput, Forbidden when it may not be this key's, and StoreUnavailable.

    What a trusted publisher's key says is of the job's owner, or of none as long as no one has claimed the job.
    """
    owners = await services.store.jobs.owners(caller.tenant, [job]) if caller.trusted else {}
    document = {
        "event": TETHYS_EVENTS[status] if status else "UPDATED",
        "job_id": job,
        "owner": owners.get(job),
        "source": _SOURCE,
        "data": {"status": status} if status else {},
    }
    message = Message(
        origin="http", body=msgspec.json.encode(document), content_type="application/json", hops=hops
    )
    events = decode(
        message,
        default_tenant=caller.tenant,
        tenant_fixed=True,
        now=utc_now(),
        publisher=speaks_for(caller),
    )
    await check_publisher(caller, events, services.store)
    await services.quotas.admit(caller, events)
    await services.intake.submit(events)


def _failure(problem: str, status: HTTPStatus = HTTPStatus.OK) -> web.Response:
    return web.json_response({"success": False, "error": problem}, status=status)
