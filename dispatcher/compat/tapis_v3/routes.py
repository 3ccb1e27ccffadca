"""The routes of Tapis v3, at /v3/notifications."""

from __future__ import annotations

from aiohttp import web

from dispatcher.api.problems import unavailable
from dispatcher.api.routing import raw_body
from dispatcher.api.services import Services
from dispatcher.compat.envelope import CompatResponse, envelope_handler
from dispatcher.compat.tapis_v3 import create, events, test_sequences
from dispatcher.compat.tapis_v3 import subscriptions as subs
from dispatcher.compat.tapis_v3.envelope import Handler, V3Envelope, refused, written
from dispatcher.compat.tapis_v3.jwt import Tokens
from dispatcher.compat.tapis_v3.repository import TapisRepository
from dispatcher.domain.keys import Scope

ROOT = "/v3/notifications"

_ROUTES: tuple[tuple[str, str, Handler, Scope], ...] = (
    ("GET", "/subscriptions", subs.get_subscriptions, "subscribe"),
    ("POST", "/subscriptions", create.post_subscription, "subscribe"),
    ("GET", "/subscriptions/search", subs.search_by_query, "subscribe"),
    ("POST", "/subscriptions/search", subs.search_by_body, "subscribe"),
    ("GET", "/subscriptions/byName/{name}", subs.get_by_name, "subscribe"),
    ("PATCH", "/subscriptions/byName/{name}", subs.patch_by_name, "subscribe"),
    ("PUT", "/subscriptions/byName/{name}", subs.put_by_name, "subscribe"),
    ("DELETE", "/subscriptions/byName/{name}", subs.delete_by_name, "subscribe"),
    ("GET", "/subscriptions/byUuid/{uuid}", subs.get_by_uuid, "subscribe"),
    ("DELETE", "/subscriptions/byUuid/{uuid}", subs.delete_by_uuid, "subscribe"),
    ("DELETE", "/subscriptions/bySubject/{subject}", subs.delete_by_subject, "subscribe"),
    ("GET", "/subscriptions/{name}/isEnabled", subs.is_enabled, "subscribe"),
    ("POST", "/subscriptions/{name}/enable", subs.enable, "subscribe"),
    ("POST", "/subscriptions/{name}/disable", subs.disable, "subscribe"),
    ("POST", "/subscriptions/{name}/updateTTL/{ttlMinutes}", subs.update_ttl, "subscribe"),
    ("POST", "/events", events.publish_event, "publish"),
    ("POST", "/events/publish", events.publish_event, "publish"),
    ("POST", "/events/endSeries", events.end_event_series, "publish"),
    ("POST", "/test/begin", test_sequences.begin, "subscribe"),
    ("GET", "/test/{name}", test_sequences.get, "subscribe"),
    ("DELETE", "/test/{name}", test_sequences.delete, "subscribe"),
)


def attach(
    app: web.Application, services: Services, repository: TapisRepository, tokens: Tokens | None
) -> None:
    """Add the routes to the application."""
    envelopes = {scope: V3Envelope(scope, services, repository, tokens) for *_, scope in _ROUTES}
    for method, path, act, scope in _ROUTES:
        app.router.add_route(method, f"{ROOT}{path}", envelope_handler(act, envelopes[scope]))

    async def callback(request: web.Request) -> web.Response:
        try:
            name = request.match_info["name"]
            return written(await test_sequences.record(name, await raw_body(request), repository))
        except Exception as error:  # noqa: BLE001 - every error has this envelope; what is unknown is logged
            return refused(error, request)

    async def health(request: web.Request) -> web.Response:
        return written(CompatResponse(message="the service is alive"))

    async def ready(request: web.Request) -> web.Response:
        problems = [part for part, problem in (await services.readiness()).items() if problem is not None]
        if problems:
            # Which part, but not where it is: no one has to log in for this.
            return refused(unavailable(f"not ready: {', '.join(problems)}"), request)
        return written(CompatResponse(message="the service is ready"))

    app.router.add_post(f"{test_sequences.CALLBACK}/{{name}}", callback)
    app.router.add_get(f"{ROOT}/healthcheck", health)
    app.router.add_get(f"{ROOT}/readycheck", ready)
