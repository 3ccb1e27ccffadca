"""Errors as RFC 9457 problem documents: what was wrong, where, and what would be right."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus

import structlog
from aiohttp import web
from msgspec import Struct

from dispatcher.api.problem_types import type_of
from dispatcher.domain.errors import (
    Conflict,
    DispatcherError,
    Forbidden,
    InvalidInput,
    NotFound,
    QuotaExceeded,
    StoreUnavailable,
)
from dispatcher.domain.json_text import encoded
from dispatcher.intake.submission import Busy, NotStored

log = structlog.get_logger("dispatcher.api")

MEDIA_TYPE = "application/problem+json"

MAX_BODY = 1024 * 1024
"""Bytes: the longest body that a request may have."""

RETRY_AFTER = 2
"""Seconds after which to ask again when the answer is 503."""


class Fault(Struct, frozen=True):
    """One thing that is wrong in a request: `field` is a dotted path into it, empty for the whole."""

    field: str
    problem: str


class Problem(Struct, frozen=True, kw_only=True):
    """Why a request was refused (RFC 9457). `detail` is for people; `errors` names what is wrong."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    errors: tuple[Fault, ...]


class Refusal(DispatcherError):
    """A request that is answered with a problem of this status."""

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        errors: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.errors = tuple(errors)
        self.headers = headers or {}


def unauthorized(detail: str) -> Refusal:
    """401 with the challenge that RFC 6750 asks for."""
    return Refusal(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": 'Bearer realm="dispatcher"'})


def unavailable(detail: str, errors: Sequence[Fault] = ()) -> Refusal:
    """503 with the time after which to ask again."""
    return Refusal(
        HTTPStatus.SERVICE_UNAVAILABLE, detail, errors=errors, headers={"Retry-After": str(RETRY_AFTER)}
    )


def over_quota(error: QuotaExceeded) -> Refusal:
    """429 with the time after which to ask again, or 403 where waiting does not help; it names the quota."""
    faults = [Fault(f"quota.{error.quota}", str(error))]
    if error.retry_after is None:
        return Refusal(HTTPStatus.FORBIDDEN, str(error), errors=faults)
    headers = {"Retry-After": str(max(1, math.ceil(error.retry_after)))}
    return Refusal(HTTPStatus.TOO_MANY_REQUESTS, str(error), errors=faults, headers=headers)


def logged_path(request: web.BaseRequest) -> str:
    """The path as logs show it: without the tokens of links in mails, which are as good as a key."""
    if not isinstance(request, web.Request) or "token" not in request.match_info:
        return request.path
    resource = request.match_info.route.resource
    return "" if resource is None else resource.canonical


def refusal_of(error: Exception, request: web.BaseRequest) -> Refusal:
    """What an error that rose from a handler, or from aiohttp itself, means for the caller."""
    if isinstance(error, DispatcherError) and (refusal := _from_ours(error, request)):
        return refusal
    if isinstance(error, web.HTTPException):
        return _from_aiohttp(error, request)
    if isinstance(error, (web.RequestPayloadError, ConnectionResetError)):
        # The latter is the caller who has gone; the database's is StoreUnavailable.
        return Refusal(HTTPStatus.BAD_REQUEST, "the body broke off")
    log.error("request failed", method=request.method, path=logged_path(request), exc_info=error)
    return Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "internal server error; see the log of the server")


def problem_response(error: Exception, request: web.BaseRequest) -> web.Response:
    """The answer to a request that failed with this error."""
    refusal = refusal_of(error, request)
    quota = any(fault.field.startswith("quota.") for fault in refusal.errors)
    problem = Problem(
        type=type_of(refusal.status, quota=quota).uri,
        title=refusal.status.phrase,
        status=refusal.status,
        detail=str(refusal),
        instance=request.path,
        errors=refusal.errors,
    )
    body = encoded(problem)  # which may repeat bytes of a header that are no UTF-8
    return web.Response(status=refusal.status, body=body, content_type=MEDIA_TYPE, headers=refusal.headers)


_STATUSES: Mapping[type[DispatcherError], HTTPStatus] = {
    Forbidden: HTTPStatus.FORBIDDEN,
    NotFound: HTTPStatus.NOT_FOUND,
    Conflict: HTTPStatus.CONFLICT,
}


def _from_ours(error: DispatcherError, request: web.BaseRequest) -> Refusal | None:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, InvalidInput):
        return Refusal(HTTPStatus.BAD_REQUEST, str(error), errors=[Fault(error.field, error.problem)])
    if isinstance(error, QuotaExceeded):
        return over_quota(error)
    if isinstance(error, (Busy, NotStored)):
        return unavailable(str(error))
    if isinstance(error, StoreUnavailable):
        log.warning("the database cannot be reached", path=logged_path(request), error=str(error))
        return unavailable("the database cannot be reached now; ask again")
    status = next((status for kind, status in _STATUSES.items() if isinstance(error, kind)), None)
    return None if status is None else Refusal(status, str(error))


def _from_aiohttp(error: web.HTTPException, request: web.BaseRequest) -> Refusal:
    status = HTTPStatus(error.status)
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        detail = f"{request.method} is not possible here; possible are {allowed}"
        return Refusal(status, detail, headers={"Allow": allowed})
    if status == HTTPStatus.NOT_FOUND:
        return Refusal(status, f"there is nothing at {request.path}; /docs lists what there is")
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return Refusal(status, f"the body is too long: expected at most {MAX_BODY} bytes")
    return Refusal(status, error.reason or status.phrase)
