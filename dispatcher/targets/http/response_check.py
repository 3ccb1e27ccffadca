"""Evaluates a receiver's HTTP response: delivered or not, why not, and what the receiver asks for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from dispatcher.domain.retry import MAX_RETRY_AFTER
from dispatcher.domain.targets import AttemptResult
from dispatcher.http import Response
from dispatcher.targets.http.auth import HIDDEN

MAX_KEPT = 4 * 1024
"""Bytes of a response's body that are kept."""

_MAX_LOCATION = 200
_CERTIFICATE_STATUSES = (400, 403, 495, 496)
_ABOUT_CERTIFICATES = {
    b"No required SSL certificate was sent": "the receiver wants a client certificate (target.tls)",
    b"The SSL certificate error": "the receiver refused the client certificate (target.tls)",
}
"""What nginx says where a server with less patience ends the connection."""
_ASKS_TO_WAIT = (429, 503)

_Status = Annotated[int, Meta(ge=200, le=599)]

_SECONDS = re.compile(r"\+?(\d+(\.\d*)?|\.\d+)", re.ASCII)

_decode = msgspec.json.Decoder().decode


class Success(Struct, frozen=True, forbid_unknown_fields=True):
    """What a receiver must answer.

    `status`: one of these, else 2xx. `json`: the body must be JSON that contains this. An object contains
    another when it has all of its fields, with values that contain the other's; all else must be equal.
    """

    status: Annotated[tuple[_Status, ...], Meta(min_length=1, max_length=50)] | None = None
    json: dict[str, object] | None = None


def evaluate_response(
    response: Response, request: str, success: Success | None, secrets: Sequence[str]
) -> AttemptResult:
    """How an attempt ended.

    `request` says what was sent; `secrets` are taken out of what is kept of the response.
    """
    text = _text(response, secrets)
    problem = _problem(response, success)
    if problem is None:
        return AttemptResult(request_line=request, status=response.status, body=text)
    return AttemptResult(
        request_line=request,
        status=response.status,
        body=text,
        error=_scrubbed(problem, secrets),
        retry_after=_retry_after(response) if response.status in _ASKS_TO_WAIT else None,
        disable_subscription=response.status == HTTPStatus.GONE,
    )


def _problem(response: Response, success: Success | None) -> str | None:
    if not _wanted_status(response.status, success):
        return _status_problem(response)
    if success is None or success.json is None:
        return None
    return _json_problem(response, success.json)


def _wanted_status(status: int, success: Success | None) -> bool:
    if success is None or success.status is None:
        return 200 <= status < 300
    return status in success.status


def _status_problem(response: Response) -> str:
    answered = f"answered {response.status} {_phrase(response.status)}".rstrip()
    if response.status == HTTPStatus.GONE:
        return f"{answered}: the receiver wants nothing more from this subscription"
    for said, meaning in _ABOUT_CERTIFICATES.items():
        if response.status in _CERTIFICATE_STATUSES and said in response.body:
            return f"{answered}: {meaning}"
    location = response.headers.get("Location")
    if 300 <= response.status < 400 and location is not None:
        shown = location if len(location) <= _MAX_LOCATION else location[:_MAX_LOCATION] + "…"
        return f"{answered} and points to {shown!a}: redirects are not followed"
    return answered


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _json_problem(response: Response, wanted: dict[str, object]) -> str | None:
    if not response.complete:
        return "the answer's body was too long, too slow or broken off, so it cannot be looked at"
    try:
        missing = _difference(wanted, _decode(response.body), "")
    except (msgspec.DecodeError, RecursionError):
        return "the answer's body is not JSON"
    return None if missing is None else f"the answer's body does not have the wanted value in {missing}"


def _difference(wanted: object, found: object, path: str) -> str | None:
    """The path to the first thing that is wanted and not found."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        for name, value in wanted.items():
            below = _difference(value, found.get(name, msgspec.UNSET), f"{path}.{name}")
            if below is not None:
                return below
        return None
    # In Python True equals 1.
    same = wanted == found and isinstance(wanted, bool) == isinstance(found, bool)
    return None if same else path.removeprefix(".") or "the whole"


def _text(response: Response, secrets: Sequence[str]) -> str | None:
    """What is kept of the body: its beginning, without what a database's text cannot hold."""
    if not response.body:
        return None
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        return f"<{len(response.body)} bytes, {encoding[:20]!a}>"
    # Scrubbed before it is cut, so that no half of a secret is left at the end.
    beginning = response.body if secrets else response.body[:MAX_KEPT]
    text = _scrubbed(beginning.decode("utf-8", "replace"), secrets)
    return text[:MAX_KEPT].replace("\0", "\ufffd")


def _scrubbed(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return text


def _retry_after(response: Response) -> float | None:
    """Seconds to wait, from a number of seconds or a date (RFC 9110, section 10.2.3).

    The number may have a fraction: some receivers send what they count with.
    """
    value = response.headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(value):
        return min(float(value), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(value)
        wait = (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError, TypeError):
        return None
    return min(max(wait, 0.0), MAX_RETRY_AFTER)
