"""What a client raises.

ClientError
├── ApiError             the server refused: `status`, and its problem document
│   ├── InvalidRequest   400, 422: `problem.errors` names the fields
│   ├── Unauthorized     401
│   ├── Forbidden        403
│   ├── NotFound         404
│   ├── Conflict         409
│   ├── TooManyRequests  429: `retry_after` says when to try again
│   └── ServerError      500 and above
│       └── Unavailable  503: not now; what the request asked for may have been done
├── TransportError       no response: not connected, timed out, or the connection was lost
├── InvalidResponse      the response is not Dispatcher's
├── NotPublished         some events were not taken: `confirmed` says how many were
├── WaitTimeout          a job did not reach what it was waited for in time
└── BadSignature         a webhook is not signed with this secret, or not now
"""

from __future__ import annotations

from http import HTTPStatus

from msgspec import Struct


class Fault(Struct, frozen=True):
    """One thing that is wrong in a request: `field` is a dotted path into it, empty for the whole."""

    field: str = ""
    problem: str = ""


class Problem(Struct, frozen=True, kw_only=True):
    """A problem document (RFC 9457). Its `type` is explained in docs/errors.md."""

    type: str = "about:blank"
    title: str = ""
    status: int = 0
    detail: str = ""
    instance: str = ""
    errors: tuple[Fault, ...] = ()


class ClientError(Exception):
    """The base of all errors of the client."""


class ApiError(ClientError):
    """The server refused a request. The message is its problem document in a few lines."""

    def __init__(self, status: int, problem: Problem, retry_after: float | None = None) -> None:
        super().__init__(_message(status, problem))
        self.status = status
        self.problem = problem
        self.retry_after = retry_after


class InvalidRequest(ApiError):
    """400 or 422: the body, a parameter or a header is not what the operation takes."""


class Unauthorized(ApiError):
    """401: the key is missing, unknown or deleted."""


class Forbidden(ApiError):
    """403: the key may not do this, or a quota is used up."""


class NotFound(ApiError):
    """404: no such thing, or not one that this key may see."""


class Conflict(ApiError):
    """409: the thing is in a state that does not allow this."""


class TooManyRequests(ApiError):
    """429: a quota or limit is used up for now."""


class ServerError(ApiError):
    """500 and above: the server, or a proxy before it, failed."""


class Unavailable(ServerError):
    """503: the server cannot do it now, or cannot say whether it has done it."""


class TransportError(ClientError):
    """There was no response. `sent` is false when the server cannot have seen the request."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class InvalidResponse(ClientError):
    """The response is not what Dispatcher sends; perhaps the URL is wrong."""


class NotPublished(ClientError):
    """Some events were not taken; the first `confirmed` of those that were given are published."""

    def __init__(self, message: str, confirmed: int = 0) -> None:
        super().__init__(message)
        self.confirmed = confirmed


class WaitTimeout(ClientError, TimeoutError):
    """A job did not reach what it was waited for in time."""


class BadSignature(ClientError):
    """A webhook is not signed with any of the secrets, or not now; the message says which."""


_BY_STATUS: dict[int, type[ApiError]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    422: InvalidRequest,
    429: TooManyRequests,
    503: Unavailable,
}


def api_error(status: int, problem: Problem, retry_after: float | None) -> ApiError:
    """The error of a response with this status."""
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else ApiError)
    return kind(status, problem, retry_after)


def _message(status: int, problem: Problem) -> str:
    """The detail, then every field that the detail does not name."""
    text = problem.detail or problem.title or _phrase(status)
    faults = [f"{fault.field}: {fault.problem}" if fault.field else fault.problem for fault in problem.errors]
    return "\n".join(
        [f"refused with {status}: {text}", *(f"  {fault}" for fault in faults if fault not in text)]
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "unknown status"
