"""The target kind `webhook`: an event as a signed HTTP request, and the receiver's answer as its outcome."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Struct
from multidict import CIMultiDict
from yarl import URL

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.event_values import EventValues
from dispatcher.domain.events import Event
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import Answer
from dispatcher.domain.templates import HeaderTemplate, JsonTemplate, RenderError, TextTemplate
from dispatcher.domain.url_templates import UrlTemplate
from dispatcher.domain.variables import TemplateError, Values
from dispatcher.targets.answers import Success, judge
from dispatcher.targets.credentials import (
    Auth,
    auth_header,
    check_auth,
    check_header_name,
    check_url,
    hide_in_auth,
    hide_in_headers,
    hide_in_url,
    looks_secret,
    refuse_hidden,
    secrets_in,
)
from dispatcher.targets.formats import FORMATS
from dispatcher.targets.http import HttpClient, NoReply
from dispatcher.targets.network import BlockedAddress
from dispatcher.targets.registry import Resources
from dispatcher.targets.signing import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, Signer

_WITHOUT_BODY = frozenset({"GET", "DELETE"})
_MAX_LINE = 1000
_CONTENT_TYPE = "content-type"

# What frames the message, and what is ours to say.
_MANAGED_HEADERS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
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

_HeaderName = Annotated[str, Meta(min_length=1, max_length=128)]
_HeaderValue = Annotated[str, Meta(max_length=8192)]
_Body: TypeAlias = dict[str, object] | list[object] | str | None
_Source = TypeVar("_Source")
_Template = TypeVar("_Template")


class WebhookTarget(Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="webhook"):
    """Where an event goes as an HTTP request, and in which form.

    Without a `body` it is the event in its `format`, and none at all with GET and DELETE. An object or array is
    a JSON document whose strings hold variables; a text with variables goes out as `text/plain`. A
    Content-Type in `headers` takes the place of the usual one.

    `format`: "cloudevents" is structured CloudEvents JSON, "binary" is CloudEvents with its attributes in
    headers, "plain" is the event as it may be published, "tapis" is the job document with the headers of Tapis v2.
    """

    url: Annotated[str, Meta(min_length=1, max_length=4096)]
    method: Literal["GET", "PUT", "PATCH", "POST", "DELETE"] = "POST"
    headers: Annotated[dict[_HeaderName, _HeaderValue], Meta(max_length=50)] = {}
    body: _Body = None
    format: Literal["cloudevents", "binary", "plain", "tapis"] = "cloudevents"
    auth: Auth | None = None
    success: Success | None = None

    def __repr__(self) -> str:
        return f"WebhookTarget({self.method} {hide_in_url(self.url)})"


class WebhookKind:
    """Checks webhook targets and makes their senders, which share one client."""

    name = "webhook"
    spec = WebhookTarget

    def __init__(self, client: HttpClient) -> None:
        self._client = client

    def check(self, target: Struct) -> str:
        """The destination (`https://example.org:443`); InvalidInput when the target cannot work."""
        webhook = _webhook(target)
        url = _compiled("target.url", UrlTemplate.compile, webhook.url)
        check_url(webhook.url, "target.url")
        try:
            self._client.guard.check_host(URL(url.origin).raw_host or "")
        except BlockedAddress as error:
            raise InvalidInput("target.url", f"blocked: {error}") from None
        _check_headers(webhook)
        if webhook.method in _WITHOUT_BODY and webhook.body is not None:
            raise InvalidInput("target.body", f"expected none, because {webhook.method} carries no body")
        _compiled("target.body", _body_template, webhook.body)
        _check_format(webhook)
        return url.origin

    def redact(self, target: Struct) -> dict[str, object]:
        """The target without credentials: `auth`, and headers and URL parameters whose names look secret."""
        webhook = _webhook(target)
        shown: dict[str, object] = msgspec.to_builtins(webhook)
        shown["url"] = hide_in_url(webhook.url)
        shown["headers"] = hide_in_headers(webhook.headers)
        shown["auth"] = None if webhook.auth is None else hide_in_auth(webhook.auth)
        return shown

    def sender(self, subscription: Subscription) -> WebhookSender:
        """The sender of a subscription whose target was checked."""
        return WebhookSender(self._client, msgspec.convert(subscription.target, WebhookTarget), subscription)

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.close()


def make_kind(resources: Resources) -> WebhookKind:
    """Called by the registry."""
    return WebhookKind(resources.http)


class WebhookSender:
    """One subscription's requests. Nothing that is the same for every event is made twice."""

    def __init__(self, client: HttpClient, target: WebhookTarget, subscription: Subscription) -> None:
        self._client = client
        self._method = target.method
        self._success = target.success
        self._credentials = secrets_in(target.url, target.headers, target.auth)
        self._template = _RequestTemplate(target)
        self._fixed = self._template.render(_NoValues()) if self._template.is_static else None
        form = FORMATS.get(target.format)
        self._form = None if form is None else form.prepare(subscription)
        self._signer = Signer(subscription.secrets)
        self._next_signer = Signer(subscription.secrets[:1])
        until = subscription.previous_secret_until
        self._rotation_end = float("inf") if until is None else until.timestamp()

    async def send(self, event: Event, delivery_id: str, number: int, memo: str | None = None) -> Answer:
        """Make one attempt. Raises for nothing that the receiver or the network does."""
        try:
            request = self._fixed or self._template.render(EventValues(event))
        except RenderError as error:
            return Answer(request=self._template.line, error=str(error), final=True)
        body = event.document if request.body is None else request.body
        headers = request.headers.copy()
        if self._form is not None:
            content = self._form(event, delivery_id, number)
            body = content.body
            for name, value in content.headers.items():
                headers.setdefault(name, value)
        now = time.time()
        signer = self._signer if now < self._rotation_end else self._next_signer
        headers.update(signer.headers(delivery_id, int(now), body))
        try:
            reply = await self._client.exchange(self._method, request.url, headers, body or None)
        except NoReply as error:
            return Answer(request=request.line, error=str(error), early=error.early)
        return judge(reply, request.line, self._success, self._credentials)


class _Request(NamedTuple):
    """`line` is how it is shown. Without a `body` it is the event's document."""

    line: str
    url: URL
    headers: CIMultiDict[str]
    body: bytes | None


class _RequestTemplate:
    """A target, compiled."""

    def __init__(self, target: WebhookTarget) -> None:
        self.line = f"{target.method} {hide_in_url(target.url)}"[:_MAX_LINE]
        self._method = target.method
        self._url = UrlTemplate.compile(target.url)
        self._origin = URL(self._url.base, encoded=True)
        self._hide = hide_in_url if hide_in_url(target.url) != target.url else str
        self._body = _body_template(target.body)
        templates = {name: HeaderTemplate.compile(value) for name, value in target.headers.items()}
        self._headers = {name: template for name, template in templates.items() if template.names}
        self._fixed_headers = CIMultiDict(_implied_headers(target))
        self._fixed_headers.update((n, v) for n, v in target.headers.items() if n not in self._headers)

    @property
    def is_static(self) -> bool:
        """Whether it renders the same request for every event."""
        return self._url.is_static and not self._headers and (self._body is None or not self._body.names)

    def render(self, values: Values) -> _Request:
        """The request with these values. Raises RenderError when one cannot stand where it should."""
        url = self._url.render(values)
        headers = self._fixed_headers.copy()
        headers.update((name, template.render(values)) for name, template in self._headers.items())
        line = f"{self._method} {self._hide(url)}"[:_MAX_LINE]
        return _Request(line, self._address(url), headers, self._render_body(values))

    def _address(self, url: str) -> URL:
        # The same as URL(url, encoded=True), in less than half of the time.
        path, _, query = url[len(self._url.base) :].partition("#")[0].partition("?")
        return URL.build(
            scheme=self._origin.scheme,
            authority=self._origin.raw_authority,
            path=path or "/",
            query_string=query,
            encoded=True,
        )

    def _render_body(self, values: Values) -> bytes | None:
        if self._body is None:
            return b"" if self._method in _WITHOUT_BODY else None
        body = self._body.render(values)
        return body.encode() if isinstance(body, str) else body


class _NoValues:
    """For rendering what no variable stands in."""

    def get(self, name: str, /) -> str:
        raise LookupError(name)


def _webhook(target: Struct) -> WebhookTarget:
    if not isinstance(target, WebhookTarget):
        raise TypeError(f"expected a WebhookTarget, got a {type(target).__name__}")
    return target


def _compiled(field: str, compile_template: Callable[[_Source], _Template], source: _Source) -> _Template:
    try:
        return compile_template(source)
    except TemplateError as error:
        raise InvalidInput(field, str(error)) from None


def _check_headers(target: WebhookTarget) -> None:
    taken: set[str] = set()
    if target.auth is not None:
        check_auth(target.auth, "target.auth")
        name = auth_header(target.auth)[0]
        _check_header_name(name, "target.auth.name", taken)
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
        raise InvalidInput(field, f"the header {name} is set twice, here and in target.auth or other case")
    taken.add(lower)


def _check_format(target: WebhookTarget) -> None:
    form = FORMATS.get(target.format)
    if form is None:
        return
    if target.body is not None:
        raise InvalidInput("target.format", "expected none beside target.body, which says what is sent")
    if target.method in _WITHOUT_BODY:
        raise InvalidInput("target.format", f"expected none, because {target.method} carries no body")
    named = {f"target.headers.{name}": name for name in target.headers}
    if target.auth is not None:
        named["target.auth.name"] = auth_header(target.auth)[0]
    for field, name in named.items():
        if name.lower().startswith(form.headers):
            raise InvalidInput(field, f'the format "{target.format}" sets {name}: expected another header')


def _body_template(body: _Body) -> JsonTemplate | TextTemplate | None:
    if body is None:
        return None
    return TextTemplate.compile(body) if isinstance(body, str) else JsonTemplate.compile(body)


def _implied_headers(target: WebhookTarget) -> dict[str, str]:
    """The headers that follow from the rest of a target."""
    implied = {} if target.auth is None else dict([auth_header(target.auth)])
    sends_body = target.method not in _WITHOUT_BODY
    own_type = any(name.lower() == _CONTENT_TYPE for name in target.headers)
    if sends_body and not own_type and target.format == "cloudevents":
        implied["Content-Type"] = _content_type(target.body)
    return implied


def _content_type(body: _Body) -> str:
    if body is None:
        return "application/cloudevents+json"
    return "text/plain; charset=utf-8" if isinstance(body, str) else "application/json"
