"""The target kind `webhook`: an event as a signed HTTP request, and the receiver's answer as its outcome."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.subscriptions import Subscription
from dispatcher.domain.targets import OAuthTokens
from dispatcher.http import Origin
from dispatcher.targets.formats import FORMATS, Format
from dispatcher.targets.http.auth import (
    OAuth2Auth,
    auth_of,
    hide_in_auth,
    hide_in_headers,
    hide_in_url,
)
from dispatcher.targets.http.base_url import check_endpoint
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.http.oauth2 import OAuth2
from dispatcher.targets.http.tls import TlsClients, hide_in_tls
from dispatcher.targets.registry import Resources
from dispatcher.targets.ssrf_guard import BlockedAddress
from dispatcher.targets.webhook.config import WITHOUT_BODY, WebhookTarget, check_target, with_formats
from dispatcher.targets.webhook.sender import WebhookSender

__all__ = ["WebhookKind", "WebhookTarget", "make_kind"]


class WebhookKind:
    """Checks webhook targets and makes their senders, which share one client."""

    name = "webhook"

    def __init__(
        self, egress: Egress, formats: Mapping[str, Format] = FORMATS, tokens: OAuthTokens | None = None
    ) -> None:
        self.spec = with_formats(formats)
        self._egress = egress
        self._oauth2 = OAuth2(egress, tokens)
        self._tls_clients = TlsClients(egress)
        self._formats = formats

    def check(self, target: Struct) -> str:
        """The destination (`https://example.org:443`); InvalidInput when the target cannot work."""
        webhook = _webhook(target)
        destination = check_target(webhook, self._formats)
        try:
            self._egress.guard.check_host(Origin.parse(destination).host)
        except BlockedAddress as error:
            raise InvalidInput("target.url", f"blocked: {error}") from None
        if webhook.timeout is not None and webhook.timeout > self._egress.max_timeout:
            limit = f"{self._egress.max_timeout:g} s, half of delivery.lease"
            raise InvalidInput("target.timeout", f"expected at most {limit}")
        if isinstance(webhook.auth, OAuth2Auth):
            check_endpoint(webhook.auth.token_url, "target.auth.token_url", self._egress.guard)
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
        shown["tls"] = None if webhook.tls is None else hide_in_tls(webhook.tls)
        return shown

    def sender(self, subscription: Subscription) -> WebhookSender:
        """The sender of a subscription whose target was checked."""
        target = msgspec.convert(subscription.target, WebhookTarget)
        form = None if target.format == "cloudevents" else self._formats[target.format].prepare(subscription)
        auth = auth_of(target.auth, self._oauth2.auth)
        exchange = None if target.tls is None else self._tls_clients.within(target.timeout, target.tls)
        return WebhookSender(self._egress, target, subscription, auth, form, exchange=exchange)

    async def close(self) -> None:
        """Close connections."""
        await self._oauth2.close()
        await self._tls_clients.close()
        await self._egress.close()


def make_kind(resources: Resources) -> WebhookKind:
    """Called by the registry."""
    tokens = None if resources.store is None else resources.store.oauth_tokens
    return WebhookKind(resources.egress, resources.formats, tokens)


def _webhook(target: Struct) -> WebhookTarget:
    if not isinstance(target, WebhookTarget):
        raise TypeError(f"expected a WebhookTarget, got a {type(target).__name__}")
    return target
