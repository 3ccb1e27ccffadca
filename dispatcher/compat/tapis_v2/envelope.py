"""How Tapis v2 (Agave) answers: one envelope around every result and every error, and what a query asks of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from hashlib import blake2b
from http import HTTPStatus

import msgspec
from aiohttp import hdrs, web
from msgspec import Struct

from dispatcher import __version__
from dispatcher.api.auth import authorize
from dispatcher.api.problems import refusal_of
from dispatcher.api.routing import asked_at
from dispatcher.api.services import Services
from dispatcher.compat.envelope import CompatRequest, CompatResponse, body_of, check_query
from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.keys import ApiKey

MAX_LIMIT = 100
"""Items of a list: when nothing is said, and at most."""

MAX_OFFSET = 10_000
MAX_FIELDS = 100
"""Fields that `filter` may name."""

_TRUE = frozenset({"true", "1", "yes"})
_OPTIONS = frozenset({"pretty", "naked", "filter", "limit", "offset"})

_encode = msgspec.json.Encoder().encode


class V2Request(CompatRequest[ApiKey], frozen=True, kw_only=True):
    """A request as its handler sees it; `terms` are the query parameters that are no options."""

    terms: Mapping[str, str]
    limit: int
    offset: int


Handler = Callable[[V2Request], Awaitable[CompatResponse]]


class _Form(Struct, frozen=True):
    """In which form the caller wants the response."""

    pretty: bool = False
    naked: bool = False
    fields: tuple[str, ...] = ()


class V2Envelope:
    """The envelope of Tapis v2, for callers whose key has the scope `subscribe`."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def read(self, request: web.Request) -> V2Request:
        """The request. Raises Refusal, Forbidden and InvalidInput."""
        caller = await authorize(request.headers.get(hdrs.AUTHORIZATION), "subscribe", self._services)
        query = request.query
        _form(request)  # what is wrong with it is said before anything is done
        check_query(request)
        return V2Request(
            caller=caller,
            services=self._services,
            method=request.method,
            base=(self._services.public_url or asked_at(request)).rstrip("/"),
            url_path=request.path,
            path=request.match_info,
            query=query,
            headers=request.headers,
            terms={name: value for name, value in query.items() if name not in _OPTIONS},
            limit=min(_number(query, "limit", MAX_LIMIT), MAX_LIMIT),
            offset=_number(query, "offset", 0, MAX_OFFSET),
            body=await body_of(request),
        )

    def write(self, request: web.Request, response: CompatResponse) -> web.Response:
        """The response in the form that the query asks for."""
        form = _form(request)
        result = _selected(response.result, form.fields) if form.fields else response.result
        document = result if form.naked else _envelope("success", None, result)
        written = _response(document, form.pretty, response.status, response.headers)
        return _unless_known(request, written) if response.conditional else written

    def refuse(self, request: web.Request, error: Exception) -> web.Response:
        """An error, which is never naked."""
        refusal = refusal_of(error, request)
        pretty = _is_true(request.query.get("pretty"))
        document = _envelope("error", str(refusal), None)
        return _response(document, pretty, refusal.status, refusal.headers)


def _form(request: web.Request) -> _Form:
    query = request.query
    fields = tuple(name.strip() for name in query.get("filter", "").split(",") if name.strip())
    if len(fields) > MAX_FIELDS:
        raise InvalidInput("filter", f"expected at most {MAX_FIELDS} fields, got {len(fields)}")
    return _Form(_is_true(query.get("pretty")), _is_true(query.get("naked")), fields)


def _is_true(value: str | None) -> bool:
    return value is not None and value.lower() in _TRUE


def _number(query: Mapping[str, str], name: str, default: int, most: int | None = None) -> int:
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InvalidInput(name, f"expected a whole number from 0 on, got {text[:80]!r}")
    if most is not None and int(text) > most:
        raise InvalidInput(name, f"expected at most {most}, got {text}")
    return int(text)


def _unless_known(request: web.Request, response: web.Response) -> web.Response:
    """The response with the ETag of its body, or 304 when the caller has that already (RFC 9110, 13.1.2)."""
    body = response.body if isinstance(response.body, bytes) else b""
    tag = f'"{blake2b(body, digest_size=16).hexdigest()}"'
    response.headers[hdrs.ETAG] = tag
    response.headers[hdrs.CACHE_CONTROL] = "private, no-cache"  # it may be kept, and has to be asked for
    known = [one.strip().removeprefix("W/") for one in request.headers.get(hdrs.IF_NONE_MATCH, "").split(",")]
    if tag not in known and "*" not in known:
        return response
    kept = (hdrs.ETAG, hdrs.CACHE_CONTROL, hdrs.RETRY_AFTER)
    headers = {name: response.headers[name] for name in kept if name in response.headers}
    return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)


def _envelope(status: str, message: str | None, result: object) -> dict[str, object]:
    return {"status": status, "message": message, "version": __version__, "result": result}


def _response(document: object, pretty: bool, status: HTTPStatus, headers: Mapping[str, str]) -> web.Response:
    body = _encode(document)
    if pretty:
        body = msgspec.json.format(body, indent=2)
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


def _selected(result: object, fields: tuple[str, ...]) -> object:
    """Only these fields of an object, or of each object in a list; a dotted one keeps its place."""
    if isinstance(result, list):
        return [_selected(item, fields) for item in result]
    if not isinstance(result, dict):
        return result
    found: dict[str, object] = {}
    for field in fields:
        _copy(field.split("."), result, found)
    return found


def _copy(steps: list[str], source: dict[str, object], target: dict[str, object]) -> None:
    for step in steps[:-1]:
        inner = source.get(step)
        place = target.setdefault(step, {}) if isinstance(inner, dict) else None
        if not isinstance(inner, dict) or not isinstance(place, dict):
            return
        source, target = inner, place
    if steps[-1] in source:
        target[steps[-1]] = source[steps[-1]]
