"""Requests of webhook subscriptions: made from events, authenticated, signed and sent; the responses are evaluated."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from itertools import chain

from msgspec.structs import replace

from dispatcher.domain.digests import Gathered
from dispatcher.domain.events import Event
from dispatcher.domain.hops import HEADER, outgoing
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import AttemptResult
from dispatcher.domain.templates import RenderError
from dispatcher.domain.variable_values import EventValues
from dispatcher.http import Exchange, Request, TransportError, UnsendableHeader, header_lines
from dispatcher.targets.formats import Render
from dispatcher.targets.http.auth import (
    Auth,
    AuthFailed,
    scrubbable,
    secrets_in,
    with_token,
)
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.http.response_check import evaluate_response
from dispatcher.targets.signing import Signer
from dispatcher.targets.webhook.body_signature import BodySigner
from dispatcher.targets.webhook.body_signature import header_name as signature_header
from dispatcher.targets.webhook.config import WebhookTarget
from dispatcher.targets.webhook.request import RenderedRequest, RequestTemplate

BATCH = "application/cloudevents-batch+json"
"""The media type of a digest."""


class WebhookSender:
    """One subscription's requests. Nothing that is the same for every event is made twice."""

    def __init__(
        self,
        egress: Egress,
        target: WebhookTarget,
        subscription: Subscription,
        auth: Auth | None,
        form: Render | None = None,
        *,
        exchange: Exchange | None = None,
    ) -> None:
        self._exchange = exchange or egress.within(target.timeout)
        self._max_timeout = egress.max_timeout
        # What fails on terms that others do not have says nothing about what they would meet there.
        self._has_own_time = target.timeout is not None
        self._has_own_terms = self._has_own_time or target.tls is not None
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
        self._body_signer: BodySigner | None = None
        if not isinstance(target.signature, str):
            self._body_signer = BodySigner(target.signature, subscription.secrets[0])
            self._own_headers.add(signature_header(target.signature).lower())
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
        fields += _hops_line(hops)
        if self._renewed_auth is None:
            return await self._exchange_once(request, fields, body, delivery_id, self._credentials)
        try:
            async with asyncio.timeout(self._max_timeout):
                return await self._authenticated(self._renewed_auth, request, fields, body, delivery_id)
        except AuthFailed as error:
            return _without_token(request, str(error))
        except UnsendableHeader as error:
            return AttemptResult(request_line=request.shown, error=str(error), not_sent=True)
        except TimeoutError:
            problem = f"no answer within {self._max_timeout:g} s, with the time for an access token"
            return _without_token(request, problem)

    async def _authenticated(
        self, auth: Auth, request: RenderedRequest, fields: bytes, body: bytes, delivery_id: str
    ) -> AttemptResult:
        """The result with the headers of now, or with newer ones where the receiver refuses them."""

        async def send(headers: Mapping[str, str]) -> AttemptResult:
            secrets = scrubbable(
                {*self._credentials, *chain.from_iterable(map(with_token, headers.values()))}
            )
            return await self._exchange_once(
                request, fields + header_lines(headers), body, delivery_id, secrets
            )

        headers = await auth.headers(time.time())
        result = await send(headers)
        if result.status != HTTPStatus.UNAUTHORIZED or result.error is None:
            return result
        try:
            newer = await auth.renewed(headers, time.time())
        except AuthFailed as error:
            return replace(result, error=f"{result.error}; {error}")
        return result if newer is None else await send(newer)

    async def _exchange_once(
        self,
        request: RenderedRequest,
        fields: bytes,
        body: bytes,
        delivery_id: str,
        secrets: Sequence[str],
    ) -> AttemptResult:
        now = time.time()
        signer = self._signer if now < self._rotation_end else self._next_signer
        signature = signer.lines(delivery_id, int(now), body)
        if self._body_signer is not None:
            signature += self._body_signer.line(body)
        try:
            response = await self._exchange.send(
                Request(self._template.origin, request.line, fields + signature, body)
            )
        except TransportError as error:
            down = error.down and not self._has_own_time
            return AttemptResult(
                request_line=request.shown,
                error=str(error),
                retry_early=error.early,
                destination_down=down,
                concerns_subscription=self._has_own_terms and not down,
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


def _without_token(request: RenderedRequest, error: str) -> AttemptResult:
    """The result when the credentials of a target got no token; others do not see its endpoint."""
    return AttemptResult(
        request_line=request.shown,
        error=error,
        destination_error="a subscription gets no access token",
        concerns_subscription=True,
    )


@lru_cache(16)
def _hops_line(hops: int) -> bytes:
    return header_lines({HEADER: str(hops)})


def _batch_template(target: WebhookTarget, auth: Mapping[str, str]) -> RequestTemplate:
    return RequestTemplate(replace(target, headers={"Content-Type": BATCH} | target.headers), auth)


class _NoValues:
    """For rendering what no variable stands in."""

    def get(self, name: str, /) -> str:
        raise LookupError(name)
