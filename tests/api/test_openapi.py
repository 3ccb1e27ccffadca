"""The OpenAPI document: it is valid, and the running API does what it says."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from schemathesis import Case, GenerationMode
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from dispatcher.api.job_snapshots import WaitResult
from dispatcher.api.openapi import openapi
from dispatcher.api.request_models import PlainEvent
from dispatcher.api.routes import EVENT_FORMS, routes
from dispatcher.api.server import build
from dispatcher.api.waiters import Waiters
from dispatcher.domain.deliveries import State
from dispatcher.domain.events import utc_now
from dispatcher.intake.decode import Message, decode
from dispatcher.intake.plain import _Plain
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.registry import Resources, load_kinds
from dispatcher.targets.ssrf_guard import Guard
from tests.api.conftest import Api, Caller

KINDS = load_kinds(Resources(Egress(Guard())))
DOCUMENT = openapi(routes(KINDS))
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = [
    (method.upper(), path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]

PROMISES: list[CheckFunction] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


async def test_the_document_is_valid_and_is_what_is_served(api: Api) -> None:
    validate(DOCUMENT, cls=OpenAPIV31SpecValidator)
    assert (await api.anonymous.get("/openapi.json")) == DOCUMENT


def test_every_route_is_described_and_nothing_else_is(api: Api) -> None:
    app = build(api.services)
    served = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    pages = {
        ("GET", path)
        for path in ("/", "/docs", "/docs/docs.css", "/docs/docs.js", "/docs/errors", "/openapi.json")
    }
    # Those are for people who have a link from a mail.
    pages |= {
        ("GET", "/mail.css"),
        *((method, f"/{a}/{{token}}") for method in ("GET", "POST") for a in "uc"),
    }
    assert served - pages == {(method, path) for method, path, _ in OPERATIONS}


def test_every_operation_and_every_field_of_a_request_is_explained() -> None:
    for _, _, operation in OPERATIONS:
        assert operation["summary"]
        assert operation["description"]
        for parameter in operation["parameters"]:
            assert parameter.get("description"), (operation["operationId"], parameter["name"])


def test_the_schema_of_a_plain_event_has_the_fields_that_are_decoded() -> None:
    assert PlainEvent.__struct_fields__ == _Plain.__struct_fields__


@pytest.mark.parametrize("form", EVENT_FORMS, ids=lambda form: form.media_type)
def test_the_examples_of_events_can_be_published(form: Any) -> None:
    for example in form.examples.values():
        body = msgspec.json.encode(example)
        message = Message(origin="http", body=body, content_type=form.media_type)
        assert decode(message, default_tenant="default", tenant_fixed=True, now=utc_now())


@pytest.fixture
async def things(api: Api) -> dict[str, str]:
    """One of each thing, by the beginning of its path."""
    alice = await api.caller("alice", "publish", "subscribe")
    made = await alice.subscribe(target={"kind": "webhook", "url": "http://127.0.0.1:9/no-listener"})
    event_id = await alice.publish()
    [delivery_id] = await api.settle(State.EXHAUSTED, "refused")
    [key] = (await api.admin.get("/v1/keys"))["items"]
    return {
        "/v1/events": event_id,
        "/v1/subscriptions": made["id"],
        "/v1/deliveries": delivery_id,
        "/v1/jobs": "job-1",
        "/v1/keys": key["id"],
    }


@pytest.fixture
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let those who wait for a job wait for a moment only."""
    wait = Waiters.wait

    async def wait_shortly(self: Waiters, *asked: Any) -> WaitResult | None:
        waiter, version, _, quota = asked
        return await wait(self, waiter, version, 0.01, quota)

    monkeypatch.setattr(Waiters, "wait", wait_shortly)


@pytest.mark.usefixtures("_short_waits")
@pytest.mark.parametrize("examples", [4, pytest.param(50, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("method", "path", "operation"), [pytest.param(*one, id=one[2]["operationId"]) for one in OPERATIONS]
)
async def test_the_running_api_keeps_what_the_document_promises(
    api: Api, things: dict[str, str], method: str, path: str, operation: Any, examples: int
) -> None:
    def ask(mode: GenerationMode, known: Any = None) -> None:
        fuzz(api.url, api.admin, SCHEMA[path][method], examples, mode, known)

    known = {"id": things["/".join(path.split("/")[:3])]} if "{id}" in path else None
    await asyncio.to_thread(ask, GenerationMode.POSITIVE, known)
    if operation["parameters"] or "requestBody" in operation:
        await asyncio.to_thread(ask, GenerationMode.NEGATIVE)


def fuzz(url: str, caller: Caller, operation: Any, examples: int, mode: GenerationMode, known: Any) -> None:
    """Ask for so many made-up things, and check each answer."""

    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(mode, path_parameters=known))
    def ask(case: Case[Any]) -> None:
        case.call_and_validate(base_url=url, headers=caller.headers, checks=PROMISES)

    ask()
