"""The model of Argo targets, and what is wrong with one that cannot work."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from msgspec import Meta, Struct, field

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.event_names import EVENT_NAME
from dispatcher.domain.templates import TextTemplate
from dispatcher.domain.variables import TemplateError
from dispatcher.targets.argo.outputs import OutputsTemplate, OutputTemplates
from dispatcher.targets.argo.selector import SelectorTemplate
from dispatcher.targets.argo.workflow import Action
from dispatcher.targets.http.auth import check_token
from dispatcher.targets.http.base_url import check_base_url
from dispatcher.targets.ssrf_guard import Guard
from dispatcher.targets.tls import context

NAMESPACE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
"""A name of Kubernetes (RFC 1123): the label of a namespace."""

WORKFLOW = re.compile(r"(?!.{254})[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*")
"""A name of Kubernetes: the dotted one of a workflow."""

DEFAULT_ACTIONS: Mapping[str, Action] = MappingProxyType(
    {"FINISHED": "resume", "FAILED": "stop", "KILLED": "stop", "STOPPED": "stop"}
)
"""What is done at which event, unless a target says otherwise."""

_SCHEMES = ("Bearer ", "Basic ")


class ArgoTarget(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="argo"):
    """A workflow of Argo that waits at a suspended node, and what to do with it at which event.

    `namespace`, `workflow` and the values in `selector` may hold variables. `token` is the server's, with or
    without "Bearer " before it. `ca` are the certificates (PEM) that are trusted in place of the system's; with
    `verify` false any is. An event that `actions` does not name cannot be delivered. `outputs` are values of the node's
    output parameters, which may hold variables: they are set before it is resumed.
    """

    server: Annotated[str, Meta(min_length=1, max_length=2048)]
    namespace: Annotated[str, Meta(min_length=1, max_length=253)]
    workflow: Annotated[str, Meta(min_length=1, max_length=253)]
    selector: Annotated[str, Meta(min_length=1, max_length=2048)] = "inputs.parameters.uuid.value=$<JOB_ID>"
    token: Annotated[str, Meta(min_length=1, max_length=8192)] | None = None
    ca: Annotated[str, Meta(min_length=1, max_length=65536)] | None = None
    verify: bool = True
    actions: Annotated[dict[str, Action], Meta(min_length=1, max_length=50)] = field(
        default_factory=lambda: dict(DEFAULT_ACTIONS)
    )
    outputs: OutputTemplates = {}

    def __repr__(self) -> str:
        return f"ArgoTarget({self.server} {self.namespace}/{self.workflow})"


def check(target: ArgoTarget, guard: Guard) -> str:
    """The destination (`https://argo.example.org:2746`); InvalidInput when the target cannot work."""
    origin = check_base_url(target.server, "target.server", guard)
    _check_name(target.namespace, NAMESPACE, "target.namespace")
    _check_name(target.workflow, WORKFLOW, "target.workflow")
    try:
        SelectorTemplate.compile(target.selector)
    except TemplateError as error:
        raise InvalidInput("target.selector", str(error)) from None
    if target.token is not None:
        check_token(bare_token(target.token), "target.token")
    for event in target.actions:
        if not EVENT_NAME.fullmatch(event):
            raise InvalidInput(
                "target.actions", f"{event[:80]!r} is no event name: expected one such as FINISHED"
            )
    _check_outputs(target)
    if origin.startswith("http:") and (target.ca is not None or not target.verify):
        raise InvalidInput("target.ca", "expected neither ca nor verify for a server without TLS")
    context(target.ca, target.verify, "target.ca")
    return origin


def bare_token(token: str) -> str:
    """The token without its scheme."""
    for scheme in _SCHEMES:
        token = token.removeprefix(scheme)
    return token


def authorization(token: str) -> str:
    """The header's value for a token in either form: `Bearer …`, or without it."""
    return token if token.startswith(_SCHEMES) else f"Bearer {token}"


def _check_outputs(target: ArgoTarget) -> None:
    try:
        OutputsTemplate.compile(target.outputs)
    except TemplateError as error:
        raise InvalidInput("target.outputs", str(error)) from None
    if target.outputs and "resume" not in target.actions.values():
        raise InvalidInput("target.outputs", "outputs are set before a resume, and no action is one")


def _check_name(text: str, pattern: re.Pattern[str], place: str) -> None:
    try:
        template = TextTemplate.compile(text)
    except TemplateError as error:
        raise InvalidInput(place, str(error)) from None
    if not template.names and not pattern.fullmatch(text):
        raise InvalidInput(place, "expected a name of small letters, digits and -, or one with variables")
