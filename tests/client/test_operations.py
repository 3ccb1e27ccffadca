"""Both clients reach every operation of the OpenAPI document, with every parameter, field and property."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dispatcher.api.openapi import openapi
from dispatcher.api.routes import routes
from dispatcher.client import models
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.registry import Resources, load_kinds
from dispatcher.targets.ssrf_guard import Guard
from tests.client.operations import Sent, matches, sent_by_the_async_client, sent_by_the_sync_client

DOCUMENT = openapi(routes(load_kinds(Resources(Egress(Guard())))))
SCHEMAS = DOCUMENT["components"]["schemas"]
OPERATIONS = [
    (method.upper(), path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
NAMES = {
    "AttemptView": "Attempt",
    "DeliveryView": "Delivery",
    "DestinationView": "Destination",
    "JobView": "Job",
    "KeyView": "Key",
    "LaneView": "Lane",
    "QuotaView": "Quota",
    "RecipientView": "Recipient",
    "SubscriptionView": "Subscription",
    "Trial": "TestResult",
}
"""Schemas whose models have another name."""
NOT_ANSWERED = {"Problem", "Fault"}


@pytest.fixture(scope="module", params=[sent_by_the_async_client, sent_by_the_sync_client])
def sent(request: pytest.FixtureRequest) -> list[Sent]:
    """What all methods of a client send."""
    found: list[Sent] = request.param()
    return found


def of(sent: list[Sent], method: str, path: str) -> list[Sent]:
    """What goes to one operation: where two fit, the one without a parameter is meant."""
    exact = [one for one in sent if (one.method, one.path) == (method, path)]
    paths = set(DOCUMENT["paths"])
    found = [
        one for one in sent if one.method == method and matches(path, one.path) and one.path not in paths
    ]
    return exact or found


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = SCHEMAS[schema["$ref"].rpartition("/")[2]]
    return schema


def test_every_operation_is_sent_by_a_method(sent: list[Sent]) -> None:
    assert [(method, path) for method, path, _ in OPERATIONS if not of(sent, method, path)] == []


def test_every_method_sends_an_operation(sent: list[Sent]) -> None:
    unknown = [
        (one.method, one.path)
        for one in sent
        if not any(method == one.method and matches(path, one.path) for method, path, _ in OPERATIONS)
    ]
    assert unknown == []


def test_every_parameter_of_a_query_can_be_given(sent: list[Sent]) -> None:
    for method, path, operation in OPERATIONS:
        wanted = {one["name"] for one in operation["parameters"] if one["in"] == "query"} - {"cursor"}
        assert wanted <= set().union(*(one.query for one in of(sent, method, path))), (method, path)


def test_every_field_of_a_body_can_be_given(sent: list[Sent]) -> None:
    for method, path, operation in OPERATIONS:
        if "requestBody" not in operation or path == "/v1/events":
            continue
        schema = resolved(operation["requestBody"]["content"]["application/json"]["schema"])
        given = [set(one.document) for one in of(sent, method, path) if one.document is not None]
        assert set(schema["properties"]) == set().union(*given), (method, path)


def test_every_property_of_an_answer_is_in_its_model() -> None:
    for name, fields in answered().items():
        model = getattr(models, NAMES.get(name, name))
        assert {field.encode_name for field in msgspec.structs.fields(model)} == fields, name


def test_what_a_model_requires_the_server_always_sends() -> None:
    for name in answered():
        model = getattr(models, NAMES.get(name, name))
        required = {field.encode_name for field in msgspec.structs.fields(model) if field.required}
        assert required <= set(SCHEMAS[name].get("required", [])), name


def answered() -> dict[str, set[str]]:
    """The properties of each schema that an answer has, pages left out."""
    found: dict[str, set[str]] = {}
    for _, _, operation in OPERATIONS:
        for status, response in operation["responses"].items():
            for content in response.get("content", {}).values():
                if status.startswith("2"):
                    _collect(content["schema"], found)
    return {
        name: fields
        for name, fields in found.items()
        if name not in NOT_ANSWERED and fields - {"hint"} != {"items", "next"}
    }


def _collect(schema: Any, found: dict[str, set[str]]) -> None:
    """Every schema with properties that is reached from one."""
    if isinstance(schema, list):
        for one in schema:
            _collect(one, found)
    elif isinstance(schema, dict):
        name = schema.get("$ref", "").rpartition("/")[2]
        if name and name not in found and "properties" in SCHEMAS[name]:
            found[name] = set(SCHEMAS[name]["properties"])
            _collect(SCHEMAS[name], found)
        for value in schema.values():
            _collect(value, found)
