"""The callbacks of a Tethys portal: a job that reports to one can report here, with a token in the query.

GET `/update-job-status/<job>/` and `/update-dask-job-status/<key>/?status=…` answer `{"success": true}` when the event
is stored. POST `/update-job-status/<job>/token/`, with an API key, gives the token.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from ipaddress import ip_address

import msgspec
from aiohttp import web

from dispatcher.api.access import check_publisher, speaks_for
from dispatcher.api.auth import SETTINGS_KEY, authorize
from dispatcher.api.services import Services
from dispatcher.compat.tethys.callback_tokens import CallbackTokens
from dispatcher.compat.tethys.statuses import DASK_TO_TETHYS
from dispatcher.domain.errors import DispatcherError, Forbidden, InvalidInput
from dispatcher.domain.event_names import TETHYS_EVENTS
from dispatcher.domain.events import DEFAULT_TENANT, check_text, utc_now
from dispatcher.domain.hops import hops_in
from dispatcher.domain.keys import ApiKey
from dispatcher.intake.decode import Message, decode

_SOURCE = "/tethys"
# The short codes of statuses, as Tethys keeps them.
_CODES = {
    "PEN": "Pending",
    "SUB": "Submitted",
    "RUN": "Running",
    "VAR": "Various",
    "PAS": "Paused",
    "COM": "Complete",
    "ERR": "Error",
    "ABT": "Aborted",
    "VCP": "Various-Complete",
    "RES": "Results-Ready",
    "OTH": "Other",
}
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

_StatusOf = Callable[[str | None], str | None]


class _Refused(DispatcherError):
    """Who calls may not report on this job, and why."""


def attach(app: web.Application, services: Services, tokens: CallbackTokens) -> None:
    """Add the routes, with and without the slash at the end."""
    for end in ("", "/"):
        app.router.add_get(f"/update-job-status/{{job}}{end}", _callback(services, tokens, _tethys_status))
        app.router.add_get(f"/update-dask-job-status/{{job}}{end}", _callback(services, tokens, _dask_status))
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
                "dask": f"/update-dask-job-status/{job}/{query}&status=",
            }
        )

    return handle


def _callback(
    services: Services, tokens: CallbackTokens, status_of: _StatusOf
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        job = request.match_info["job"]
        try:
            caller = await _caller(request, job, services, tokens)
        except _Refused as error:
            return _failure(str(error), HTTPStatus.FORBIDDEN)
        given = request.query.get("status")
        status = status_of(given)
        if status is None:
            # As a portal answers: 200, and the truth in the body.
            return _failure(
                f"no status {(given or '')[:40]!r}: expected one of Tethys's, or of Dask's for a Dask job"
            )
        try:
            await _store(caller, job, status, services, hops_in(request.headers))
        except Forbidden as error:
            return _failure(str(error), HTTPStatus.FORBIDDEN)
        except InvalidInput as error:
            return _failure(f"{error.field}: {error.problem}", HTTPStatus.BAD_REQUEST)
        return web.json_response({"success": True})

    return handle


def _tethys_status(given: str | None) -> str | None:
    """The portal's status; empty when the call only says that there is something new."""
    if given is None:
        return ""
    status = _CODES.get(given, given)
    return status if status in TETHYS_EVENTS else None


def _dask_status(given: str | None) -> str | None:
    return DASK_TO_TETHYS.get(given or "")


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
