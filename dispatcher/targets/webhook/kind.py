"""The target kind `webhook`: an event as a signed HTTP request, and the receiver's answer as its outcome."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from dispatcher.domain.digests import Gathered
from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.events import Event
from dispatcher.domain.hops import HEADER, outgoing
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import AttemptResult
from dispatcher.domain.templates import RenderError
from dispatcher.domain.variable_values import EventValues
from dispatcher.http import Origin, Request, TransportError, UnsendableHeader, header_lines
from dispatcher.targets.formats import FORMATS, Format, Render
from dispatcher.targets.http.auth import (
    Auth,
    AuthFailed,
    auth_of,
    hide_in_auth,
    hide_in_headers,
    hide_in_url,
    scrubbable,
    secrets_in,
    with_token,
)
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.http.response_check import evaluate_response
from dispatcher.targets.registry import Resources
from dispatcher.targets.signing import Signer
from dispatcher.targets.ssrf_guard import BlockedAddress
from dispatcher.targets.webhook.config import WITHOUT_BODY, WebhookTarget, check_target, with_formats
from dispatcher.targets.webhook.request import RenderedRequest, RequestTemplate

BATCH = "application/cloudevents-batch+json"
"""The media type of a digest."""

__all__ = ["WebhookKind", "WebhookSender", "WebhookTarget", "make_kind"]


class WebhookKind:
    """Checks webhook targets and makes their senders, which share one client."""

    name = "webhook"

    def __init__(self, egress: Egress, formats: Mapping[str, Format] = FORMATS) -> None:
        self.spec = with_formats(formats)
        self._egress = egress
        self._formats = formats

    def check(self, target: Struct) -> str:
        """The destination (`https://example.org:443`); InvalidInput when the target cannot work."""
        webhook = _webhook(target)
        destination = check_target(webhook, self._formats)
        try:
            self._egress.guard.check_host(Origin.parse(destination).host)
        except BlockedAddress as error:
            raise InvalidInput("target.url", f"blocked: {error}") from None
        return destination

    def check_digest(self, target: Struct) -> None:
        """InvalidInput unless the request's body is the event's CloudEvent: of these there can be many in one."""
        webhook = _webhook(target)
        if webhook.body is not None or webhook.format != "cloudevents" or webhook.method in WITHOUT_BODY:
            raise InvalidInput(
                "digest",
                "a webhook's digest is a batch of CloudEvents: expected a target without `body` and `format`, and a "
                "method that sends a body",
            )

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
        target = msgspec.convert(subscription.target, WebhookTarget)
        form = None if target.format == "cloudevents" else self._formats[target.format].prepare(subscription)
        return WebhookSender(self._egress, target, subscription, auth_of(target.auth), form)

    async def close(self) -> None:
        """Close connections."""
        await self._egress.close()


def make_kind(resources: Resources) -> WebhookKind:
    """Called by the registry."""
    return WebhookKind(resources.egress, resources.formats)


class WebhookSender:
    """One subscription's requests. Nothing that is the same for every event is made twice."""

    def __init__(
        self,
        egress: Egress,
        target: WebhookTarget,
        subscription: Subscription,
        auth: Auth | None,
        form: Render | None = None,
    ) -> None:
        self._exchange = egress.exchange
        self._success = target.success
        self._credentials = secrets_in(target.url, target.headers, target.auth)
        fixed = {} if auth is None else auth.fixed
        self._renewed_auth = auth if fixed is None else None
        self._template = RequestTemplate(target, fixed or {})
        self._fixed = self._template.render(_NoValues()) if self._template.is_static else None
        self._form = form
        self._own_headers = {name.lower() for name in target.headers}
        if auth is not None:
            self._own_headers |= {name.lower() for name in auth.header_names}
        asymmetric = target.signature == "v1a"
        self._signer = Signer(subscription.secrets, asymmetric=asymmetric)
        self._next_signer = Signer(subscription.secrets[:1], asymmetric=asymmetric)
        self._batch = (
            _batch_template(target, fixed or {}) if subscription.digest is not None else self._template
        )
        until = subscription.previous_secret_until
        self._rotation_end = float("inf") if until is None else until.timestamp()

    async def send(
        self, event: Event, delivery_id: str, number: int, attempt_state: str | None = None
    ) -> AttemptResult:
        """Make one attempt. Raises for nothing that the receiver or the network does."""
        try:
            request = self._fixed or self._template.render(EventValues(event))
            fields, body = self._fields_and_body(request, event, delivery_id, number)
            hops = outgoing(event.document)
        except (RenderError, UnsendableHeader) as error:
            return AttemptResult(request_line=self._template.shown, error=str(error), permanent=True)
        return await self._send(request, fields, body, delivery_id, hops)

    async def _send(
        self, request: RenderedRequest, fields: bytes, body: bytes, delivery_id: str, hops: int
    ) -> AttemptResult:
        now, secrets = time.time(), self._credentials
        if self._renewed_auth is not None:
            try:
                headers = await self._renewed_auth.headers(now)
                fields += header_lines(headers)
            except (AuthFailed, UnsendableHeader) as error:
                return AttemptResult(request_line=request.shown, error=str(error), not_sent=True)
            secrets = scrubbable({*secrets, *chain.from_iterable(map(with_token, headers.values()))})
        signer = self._signer if now < self._rotation_end else self._next_signer
        signature = signer.lines(delivery_id, int(now), body)
        try:
            response = await self._exchange.send(
                Request(self._template.origin, request.line, fields + _hops_line(hops) + signature, body)
            )
        except TransportError as error:
            return AttemptResult(
                request_line=request.shown,
                error=str(error),
                retry_early=error.early,
                destination_down=error.down,
            )
        return evaluate_response(response, request.shown, self._success, secrets)

    overflows = False

    async def send_digest(self, gathered: Sequence[Gathered], number: int) -> AttemptResult:
        """Make one attempt with all these events as a batch of CloudEvents; the URL is that of the first."""
        first = gathered[0]
        try:
            request = self._batch.render(EventValues(first.event))
        except RenderError as error:
            return AttemptResult(request_line=self._batch.shown, error=str(error), permanent=True)
        body = b"[" + b",".join(one.event.document for one in gathered) + b"]"
        hops = max(outgoing(one.event.document) for one in gathered)
        return await self._send(request, request.fields, body, first.delivery_id, hops)

    def _fields_and_body(
        self, request: RenderedRequest, event: Event, delivery_id: str, number: int
    ) -> tuple[bytes, bytes]:
        if self._form is None:
            return request.fields, event.document if request.body is None else request.body
        content = self._form(event, delivery_id, number)
        # What the target names itself takes the place of what the form would say.
        headers = {
            name: value for name, value in content.headers.items() if name.lower() not in self._own_headers
        }
        return request.fields + header_lines(headers), content.body


@lru_cache(16)
def _hops_line(hops: int) -> bytes:
    return header_lines({HEADER: str(hops)})


def _batch_template(target: WebhookTarget, auth: Mapping[str, str]) -> RequestTemplate:
    return RequestTemplate(replace(target, headers={"Content-Type": BATCH} | target.headers), auth)


class _NoValues:
    """For rendering what no variable stands in."""

    def get(self, name: str, /) -> str:
        raise LookupError(name)


def _webhook(target: Struct) -> WebhookTarget:
    if not isinstance(target, WebhookTarget):
        raise TypeError(f"expected a WebhookTarget, got a {type(target).__name__}")
    return target
