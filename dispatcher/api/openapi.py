"""The OpenAPI 3.1 document, made from the route table and its types."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any

import msgspec

import dispatcher
from dispatcher.api import tenants
from dispatcher.api.problems import MEDIA_TYPE, Problem
from dispatcher.api.routing import JSON, AnyRoute, Form

Json = dict[str, Any]

_ABOUT = (
    "Takes job status events in and delivers them to subscriptions' targets, until they arrive or it can be "
    "seen why not. Errors are problem documents (RFC 9457). Lists go on with `cursor=<next>`."
)
_TENANT: Json = {
    "name": tenants.PARAMETER,
    "in": "query",
    "required": False,
    "description": tenants.DESCRIPTION,
    "schema": {"type": "string", "minLength": 1, "maxLength": 64, "examples": ["dev", tenants.EVERY_TENANT]},
}
_REF = "#/components/schemas/{name}"


def openapi(routes: Iterable[AnyRoute]) -> Json:
    """The document, as JSON is decoded."""
    table = list(routes)
    schemas = _Schemas(table)
    paths: Json = {}
    for route in table:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Dispatcher", "version": dispatcher.__version__, "description": _ABOUT},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key."}},
        },
    }
    decoded: Json = msgspec.json.decode(msgspec.json.encode(document))
    return decoded


class _Schemas:
    """The schemas of all types in the table; those that have a name are shared."""

    def __init__(self, routes: Iterable[AnyRoute]) -> None:
        kinds = list(dict.fromkeys([Problem, *(kind for route in routes for kind in _types(route))]))
        found, self.components = msgspec.json.schema_components(
            kinds, schema_hook=_any_json, ref_template=_REF
        )
        self._found = dict(zip(kinds, found, strict=True))
        queries = {route.query for route in routes if route.query is not None}
        self._queries = {query: self.components.pop(query.__name__) for query in queries}

    def of(self, kind: object) -> Json:
        """The schema of a type, or a reference to it."""
        return self._found[kind]

    def query_parameters(self, query: type[object]) -> list[Json]:
        """The parameters that a query's struct stands for."""
        schema = self._queries[query]
        return [
            _parameter("query", name, _without_null(field)) for name, field in schema["properties"].items()
        ]


def _types(route: AnyRoute) -> Iterator[object]:
    if isinstance(route.body, tuple):
        yield from (form.schema for form in route.body)
    elif route.body is not None:
        yield route.body
    yield from (kind for kind in (route.answer, route.query) if kind is not None)


def _any_json(kind: type) -> Json:
    if kind is object:
        return {"description": "Any JSON."}
    raise TypeError(f"{kind} has no JSON schema: expected a type that msgspec knows")


def _operation(route: AnyRoute, schemas: _Schemas) -> Json:
    summary, _, description = (inspect.getdoc(route.handler) or "").partition("\n\n")
    operation: Json = {
        "operationId": route.handler.__name__,
        "tags": [_tag(route)],
        "summary": summary.removesuffix("."),
        "description": f"{description}\n\n{_needed(route)}".strip(),
        "parameters": _parameters(route, schemas),
        "responses": _responses(route, schemas),
    }
    if route.scope is not None:
        operation["security"] = [{"key": []}]
    if route.body is not None:
        operation["requestBody"] = _request_body(route, schemas)
    return operation


def _tag(route: AnyRoute) -> str:
    return route.path.split("/")[2] if route.path.startswith("/v1/") else "service"


def _needed(route: AnyRoute) -> str:
    return "Needs no key." if route.scope is None else f"Needs a key with the scope `{route.scope}`."


def _parameters(route: AnyRoute, schemas: _Schemas) -> list[Json]:
    names = re.findall(r"{(\w+)}", route.path)
    thing = "delivery" if _tag(route) == "deliveries" else _tag(route).removesuffix("s")
    in_path = [
        _parameter(
            "path", name, {"type": "string", "minLength": 1, "description": f"The {name} of the {thing}."}
        )
        for name in names
    ]
    in_query = [] if route.query is None else schemas.query_parameters(route.query)
    return [*in_path, *in_query, *([_TENANT] if route.of_tenants else [])]


def _parameter(place: str, name: str, schema: Json) -> Json:
    described = {"description": schema["description"]} if "description" in schema else {}
    bare = {key: value for key, value in schema.items() if key != "description"}
    return {"name": name, "in": place, "required": place == "path", **described, "schema": bare}


def _without_null(schema: Json) -> Json:
    """The schema of a parameter: one that is not given is absent, and null only in Python."""
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
    if not options:
        return schema
    return rest | options[0] if len(options) == 1 else rest | {"anyOf": options}


def _request_body(route: AnyRoute, schemas: _Schemas) -> Json:
    if isinstance(route.body, tuple):
        return {"required": True, "content": {form.media_type: _form(form, schemas) for form in route.body}}
    reference = schemas.of(route.body)
    required = schemas.components[reference["$ref"].rpartition("/")[2]]["required"]
    return {"required": bool(required), "content": {JSON: {"schema": reference}}}


def _form(form: Form, schemas: _Schemas) -> Json:
    examples = {name: {"value": value} for name, value in form.examples.items()}
    return {"schema": schemas.of(form.schema), "examples": examples}


def _responses(route: AnyRoute, schemas: _Schemas) -> Json:
    responses: Json = {str(int(route.status)): _success(route, schemas)}
    problem = {"content": {MEDIA_TYPE: {"schema": schemas.of(Problem)}}}
    for status, description in _refusals(route):
        responses[str(int(status))] = {"description": description} | problem
    return responses


def _success(route: AnyRoute, schemas: _Schemas) -> Json:
    response: Json = {"description": route.status.phrase}
    if route.answer is not None:
        schema = {"type": "string"} if route.answer is bytes else schemas.of(route.answer)
        response["content"] = {route.media_type: {"schema": schema}}
    if route.location is not None:
        response["headers"] = {"Location": {"description": "Its path.", "schema": {"type": "string"}}}
    return response


def _refusals(route: AnyRoute) -> Iterator[tuple[HTTPStatus, str]]:
    yield HTTPStatus.BAD_REQUEST, "Something in the request is wrong; `errors` names the field."
    if route.scope is not None:
        yield HTTPStatus.UNAUTHORIZED, "There is no key, or it is not known."
        yield HTTPStatus.FORBIDDEN, "The key may not do this; `detail` says what it would need."
    if "{" in route.path or route.names_in_body:
        yield HTTPStatus.NOT_FOUND, "There is no such thing, or it is not for this key."
    if route.method != "GET" and "{" in route.path:
        yield HTTPStatus.CONFLICT, "Its state does not allow this; `detail` names the state."
    if route.body is not None:
        yield HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is longer than 1 MiB."
        yield HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body is of another media type."
    yield HTTPStatus.SERVICE_UNAVAILABLE, "Not now; `Retry-After` says when to ask again."
