"""The target of a webhook: its fields, and what is checked when one is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Literal, TypeAlias, TypeVar

from msgspec import Meta, Struct, defstruct

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.hops import HEADER as HOPS_HEADER
from dispatcher.domain.templates import HeaderTemplate, JsonTemplate
from dispatcher.domain.text_bodies import TextBodyTemplate
from dispatcher.domain.url_templates import UrlTemplate
from dispatcher.domain.variables import TemplateError
from dispatcher.targets.formats import Format
from dispatcher.targets.http.auth import (
    Credentials,
    check_auth,
    check_header_name,
    check_url,
    header_name,
    hide_in_url,
    looks_secret,
    refuse_hidden,
)
from dispatcher.targets.http.response_check import Success
from dispatcher.targets.http.tls import TlsOptions, check_tls
from dispatcher.targets.signing import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER
from dispatcher.targets.webhook.body_signature import Signature
from dispatcher.targets.webhook.body_signature import header_name as signature_header

CONTENT_TYPE = "content-type"
MAX_TIMEOUT = 300
"""Seconds that no target may ask for more than, whatever `delivery.lease` allows."""

WITHOUT_BODY = frozenset({"GET", "DELETE"})
"""Methods that carry none."""

# What frames the message, and what is ours to say.
_MANAGED_HEADERS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        HOPS_HEADER.lower(),
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        ID_HEADER,
        TIMESTAMP_HEADER,
        SIGNATURE_HEADER,
    }
)

_NO_SIGNATURE = frozenset({"accept", CONTENT_TYPE})

_HeaderName = Annotated[str, Meta(min_length=1, max_length=128)]
_HeaderValue = Annotated[str, Meta(max_length=8192)]
Body: TypeAlias = dict[str, object] | list[object] | str | None
"""A JSON document, or a text."""

_Source = TypeVar("_Source")
_Template = TypeVar("_Template")


class WebhookTarget(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="webhook"):
    """Where an event goes as an HTTP request, and in which form.

    Without a `body` it is the event in its `format`, and none at all with GET and DELETE. An object or array is
    a JSON document whose strings hold variables; a text with variables goes out as `text/plain`. A
    Content-Type in `headers` takes the place of the usual one; the values in a text are encoded for it, when it is a
    form, JSON or XML.

    `signature`: "v1" is HMAC-SHA256 with the secret. With "v1a" there is one by ed25519 too, for receivers that shall
    check signatures with the subscription's `public_key` and not be able to make any. An object is "v1" and a further
    header for receivers that check another sender's signatures.

    `timeout` are the seconds that the whole exchange may take, in place of the operator's `delivery.timeout`, and no
    more than half of `delivery.lease`.
    """

    url: Annotated[str, Meta(min_length=1, max_length=4096)]
    method: Literal["GET", "PUT", "PATCH", "POST", "DELETE"] = "POST"
    headers: Annotated[dict[_HeaderName, _HeaderValue], Meta(max_length=50)] = {}
    body: Body = None
    format: str = "cloudevents"
    signature: Literal["v1", "v1a"] | Signature = "v1"
    auth: Credentials | None = None
    success: Success | None = None
    timeout: Annotated[int, Meta(ge=1, le=MAX_TIMEOUT)] | None = None
    tls: TlsOptions | None = None

    def __repr__(self) -> str:
        return f"WebhookTarget({self.method} {hide_in_url(self.url)})"


def with_formats(formats: Mapping[str, Format]) -> type[WebhookTarget]:
    """A webhook's target whose `format` is one of these, or "cloudevents"; its documentation names them."""
    named = [f'"{name}" is {form.summary}' for name, form in formats.items()]
    listed = ", ".join(['`format`: "cloudevents" is structured CloudEvents JSON', *named])
    # Any name that is known now: no type checker can know them.
    allowed: object = Literal[("cloudevents", *formats)]
    made: type[WebhookTarget] = defstruct(  # type: ignore[assignment]  # it is, as its base says
        "WebhookTarget",
        [("format", allowed, "cloudevents")],
        bases=(WebhookTarget,),
        namespace={"__doc__": f"{WebhookTarget.__doc__}\n    {listed}.\n    "},
        frozen=True,
    )
    return made


def check_target(target: WebhookTarget, formats: Mapping[str, Format]) -> str:
    """The destination (`https://example.org:443`); InvalidInput when the target cannot work for any subscriber."""
    url = _compiled("target.url", UrlTemplate.compile, target.url)
    check_url(target.url, "target.url")
    _check_headers(target)
    if target.tls is not None:
        check_tls(target.tls, url.origin, "target.tls")
    if target.method in WITHOUT_BODY and target.body is not None:
        raise InvalidInput("target.body", f"expected none, because {target.method} carries no body")
    _compiled("target.body", body_template, target)
    _check_format(target, formats)
    return url.origin


def body_template(target: WebhookTarget) -> JsonTemplate | TextBodyTemplate | None:
    """The template of a target's body; None stands for the event. Raises TemplateError."""
    body = target.body
    if body is None:
        return None
    return (
        TextBodyTemplate.compile(body, content_type(target))
        if isinstance(body, str)
        else JsonTemplate.compile(body)
    )


def content_type(target: WebhookTarget) -> str:
    """What the body goes out as: what the target's headers say, else what follows from the body."""
    for name, value in target.headers.items():
        if name.lower() == CONTENT_TYPE:
            return value
    if target.body is None:
        return "application/cloudevents+json"
    return "text/plain; charset=utf-8" if isinstance(target.body, str) else "application/json"


def _compiled(field: str, compile_template: Callable[[_Source], _Template], source: _Source) -> _Template:
    try:
        return compile_template(source)
    except TemplateError as error:
        raise InvalidInput(field, str(error)) from None


def _check_headers(target: WebhookTarget) -> None:
    taken: set[str] = set()
    if target.auth is not None:
        check_auth(target.auth, "target.auth")
        name = header_name(target.auth)
        _check_header_name(name, "target.auth.name", taken)
    if not isinstance(target.signature, str):
        name, field = signature_header(target.signature), "target.signature.header"
        if name.lower() in _NO_SIGNATURE:
            raise InvalidInput(field, f"the header {name} says something else: expected another one")
        _check_header_name(name, field, taken)
    for name, value in target.headers.items():
        field = f"target.headers.{name}"
        _check_header_name(name, field, taken)
        if looks_secret(name):
            refuse_hidden(value, field)
        _compiled(field, HeaderTemplate.compile, value)


def _check_header_name(name: str, field: str, taken: set[str]) -> None:
    check_header_name(name, field)
    lower = name.lower()
    if lower in _MANAGED_HEADERS:
        raise InvalidInput(field, f"the header {name} is set by the service: expected another one")
    if lower in taken:
        raise InvalidInput(
            field, f"the header {name} is set twice, here and in target.auth, target.signature or other case"
        )
    taken.add(lower)


def _check_format(target: WebhookTarget, formats: Mapping[str, Format]) -> None:
    if target.format == "cloudevents":
        return
    form = formats.get(target.format)
    if form is None:
        known = ", ".join(("cloudevents", *formats))
        raise InvalidInput("target.format", f"expected one of {known}, got {target.format[:80]!r}")
    if target.body is not None:
        raise InvalidInput("target.format", "expected none beside target.body, which says what is sent")
    if target.method in WITHOUT_BODY:
        raise InvalidInput("target.format", f"expected none, because {target.method} carries no body")
    named = {f"target.headers.{name}": name for name in target.headers}
    if target.auth is not None:
        named["target.auth.name"] = header_name(target.auth)
    if not isinstance(target.signature, str):
        named["target.signature.header"] = signature_header(target.signature)
    for field, name in named.items():
        if name.lower().startswith(form.headers):
            raise InvalidInput(field, f'the format "{target.format}" sets {name}: expected another header')
