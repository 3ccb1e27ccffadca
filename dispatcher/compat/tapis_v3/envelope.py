"""How Tapis v3 answers: one envelope around every result and every error, and what a request holds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TypeVar

import msgspec
from aiohttp import web

from dispatcher import __version__
from dispatcher.api.explain import explain
from dispatcher.api.problems import refusal_of
from dispatcher.api.routing import asked_at
from dispatcher.api.services import Services
from dispatcher.compat.envelope import CompatRequest, CompatResponse, body_of, check_query
from dispatcher.compat.tapis_v3.authentication import Caller, caller_of
from dispatcher.compat.tapis_v3.jwt import Tokens
from dispatcher.compat.tapis_v3.repository import TapisRepository
from dispatcher.domain.errors import Forbidden, InvalidInput
from dispatcher.domain.keys import Scope
from dispatcher.intake.body import repaired
from dispatcher.intake.decode_context import Message

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode


class V3Request(CompatRequest[Caller], frozen=True, kw_only=True):
    """A request as its handler sees it."""

    repository: TapisRepository

    def read(self, expected: type[T]) -> T:
        """The body as this type. Raises InvalidInput that names the field."""
        return read_json(self.body, expected)


Handler = Callable[[V3Request], Awaitable[CompatResponse]]


class V3Envelope:
    """The envelope of Tapis v3, for callers with this scope; without `tokens` API keys alone are accepted."""

    def __init__(
        self, scope: Scope, services: Services, repository: TapisRepository, tokens: Tokens | None
    ) -> None:
        self._scope = scope
        self._services = services
        self._repository = repository
        self._tokens = tokens

    async def read(self, request: web.Request) -> V3Request:
        """The request. Raises Refusal, Forbidden and InvalidInput."""
        caller = await caller_of(request.headers, self._services, self._tokens)
        if not caller.may(self._scope):
            raise Forbidden(f"this needs a service's token, or a key with the scope {self._scope}")
        check_query(request)
        return V3Request(
            caller=caller,
            services=self._services,
            method=request.method,
            base=asked_at(request),
            url_path=request.path,
            path=request.match_info,
            query=request.query,
            headers=request.headers,
            body=await body_of(request),
            repository=self._repository,
        )

    def write(self, request: web.Request, response: CompatResponse) -> web.Response:
        """The response in its envelope."""
        return written(response)

    def refuse(self, request: web.Request, error: Exception) -> web.Response:
        """An error in its envelope."""
        return refused(error, request)


def written(response: CompatResponse) -> web.Response:
    """A response in its envelope."""
    return _response("success", response)


def refused(error: Exception, request: web.Request) -> web.Response:
    """An error in the envelope. What a caller may not do is 401 in Tapis."""
    refusal = refusal_of(error, request)
    status = HTTPStatus.UNAUTHORIZED if refusal.status == HTTPStatus.FORBIDDEN else refusal.status
    response = _response("error", CompatResponse(message=str(refusal), status=status))
    response.headers.update(refusal.headers)
    return response


def read_json(body: bytes, expected: type[T]) -> T:
    """A JSON document as this type; what is not quite JSON is read as events are. InvalidInput names the field."""
    try:
        return msgspec.json.decode(body, type=expected)
    except msgspec.ValidationError as error:
        raise explain(error, expected, _untyped(body)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        readable = repaired(Message(origin="http", body=body))
        if readable == body:
            raise InvalidInput("", f"expected a JSON document in UTF-8: {error}") from None
    return read_json(readable, expected)


def _untyped(body: bytes) -> object:
    """The body without a type, for an error to look at; None when something else in it is wrong too."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _response(status: str, response: CompatResponse) -> web.Response:
    document = {
        "status": status,
        "message": response.message,
        "version": __version__,
        "commit": "",
        "build": "",
        "result": response.result,
        "metadata": response.metadata,
    }
    return web.Response(status=response.status, body=_encode(document), content_type="application/json")
