"""Requests and responses of the API as values: encoding one, and what the other means. No I/O."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from types import NoneType
from typing import TypeVar, cast
from urllib.parse import quote, urlencode

import msgspec
from msgspec import UNSET, Struct

from dispatcher.client.errors import InvalidResponse, Problem, api_error

T = TypeVar("T")

JSON = "application/json"

MAX_RETRY_AFTER = 86_400.0
"""Seconds: a longer `Retry-After` counts as this."""

_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""Methods whose second request does what the first has done already (RFC 9110, section 9.2.2)."""

_SHORTEST = 0.001
"""Seconds: the least that an attempt has. Libraries take 0 for no limit."""


class Request(Struct, frozen=True, kw_only=True):
    """One call of the API.

    `repeatable` says that a second one does no harm, so that it may be sent again when the first may have been carried
    out. `extra` are seconds that the server may take on purpose. `attempts` limits how often it is sent. At `deadline`,
    a time of `time.monotonic`, all attempts and the pauses between them are over.
    """

    method: str
    path: str
    query: str = ""
    body: bytes | None = None
    repeatable: bool = False
    extra: float = 0.0
    attempts: int | None = None
    deadline: float | None = None

    def seconds(self, timeout: float) -> float:
        """How long one attempt may take that begins now, of a client with this timeout."""
        most = timeout + self.extra
        return most if self.deadline is None else max(_SHORTEST, min(most, self.deadline - time.monotonic()))

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{self.query}" if self.query else self.path


class Response(Struct, frozen=True):
    """What was answered; the names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def retry_after(self) -> float | None:
        """Seconds of `Retry-After`, which may be a date: a day at most, None without one that can be read."""
        return _seconds(self.headers.get("retry-after", ""))


def request(
    method: str,
    path: str,
    *,
    query: Mapping[str, object] | None = None,
    document: object = None,
    repeatable: bool | None = None,
    extra: float = 0.0,
    attempts: int | None = None,
    deadline: float | None = None,
) -> Request:
    """A request whose body is `document` as JSON. What is None in a query, and UNSET in a document, is left out."""
    method = method.upper()
    return Request(
        method=method,
        path=path,
        query=urlencode({name: _text(value) for name, value in (query or {}).items() if value is not None}),
        body=None if document is None else msgspec.json.encode(document),
        repeatable=method in _REPEATABLE if repeatable is None else repeatable,
        extra=extra,
        attempts=attempts,
        deadline=deadline,
    )


def given(**fields: object) -> dict[str, object]:
    """The fields that are set."""
    return {name: value for name, value in fields.items() if value is not UNSET}


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")


def result(request: Request, response: Response, kind: type[T], *, repeated: bool) -> T:
    """The body as `kind`: bytes as it is, None without a look. Raises ApiError or InvalidResponse.

    `repeated` says that an earlier attempt may have been carried out: what is deleted already is deleted.
    """
    gone = repeated and request.method == "DELETE" and response.status == HTTPStatus.NOT_FOUND
    if not (gone or 200 <= response.status < 300):
        raise _refusal(response)
    if kind is NoneType:
        return cast(T, None)
    return cast(T, response.body) if kind is bytes else decoded(response.body, kind)


def decoded(body: bytes, kind: type[T]) -> T:
    """JSON of the server. Raises InvalidResponse."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidResponse(
            f"expected JSON of Dispatcher, got {body[:80]!r} ({error}): is the URL right?"
        ) from None


def _refusal(response: Response) -> Exception:
    if 300 <= response.status < 400:
        where = response.headers.get("location", "nowhere")
        return InvalidResponse(
            f"redirected to {where} ({response.status}): use that URL if it is the server's"
        )
    try:
        problem = msgspec.json.decode(response.body, type=Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = Problem(
            status=response.status, detail=response.body[:1000].decode(errors="replace").strip()
        )
    return api_error(response.status, problem, response.retry_after)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.astimezone()).isoformat()
    return str(value)


def _seconds(text: str) -> float | None:
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text), MAX_RETRY_AFTER)
    try:
        moment = parsedate_to_datetime(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = (moment - datetime.now(UTC)).total_seconds()
    except (
        TypeError,
        ValueError,
        IndexError,
        OverflowError,
    ):  # the library raises any of them for what is no date
        return None
    return min(max(0.0, seconds), MAX_RETRY_AFTER)
