"""The routes of Tapis v3: /v3/notifications, what is known of jobs at /v3/jobs, and a sentence for all others."""

from __future__ import annotations

import re
from http import HTTPStatus

from aiohttp import web

from dispatcher.api.problems import Refusal, unavailable
from dispatcher.api.routing import raw_body
from dispatcher.api.services import Services
from dispatcher.compat.envelope import CompatResponse, check_method, envelope_handler
from dispatcher.compat.tapis_v3 import create, events, job_subscriptions, jobs, test_sequences
from dispatcher.compat.tapis_v3 import subscriptions as subs
from dispatcher.compat.tapis_v3.envelope import Handler, V3Envelope, refused, written
from dispatcher.compat.tapis_v3.jwt import Tokens
from dispatcher.compat.tapis_v3.repository import TapisRepository
from dispatcher.domain.keys import Scope

TAPIS = "/v3"
ROOT = f"{TAPIS}/notifications"
JOBS = f"{TAPIS}/jobs"

_ROUTES: tuple[tuple[str, str, Handler, Scope], ...] = (
    ("GET", f"{ROOT}/subscriptions", subs.get_subscriptions, "subscribe"),
    ("POST", f"{ROOT}/subscriptions", create.post_subscription, "subscribe"),
    ("GET", f"{ROOT}/subscriptions/search", subs.search_by_query, "subscribe"),
    ("POST", f"{ROOT}/subscriptions/search", subs.search_by_body, "subscribe"),
    ("GET", f"{ROOT}/subscriptions/byName/{{name}}", subs.get_by_name, "subscribe"),
    ("PATCH", f"{ROOT}/subscriptions/byName/{{name}}", subs.patch_by_name, "subscribe"),
    ("PUT", f"{ROOT}/subscriptions/byName/{{name}}", subs.put_by_name, "subscribe"),
    ("DELETE", f"{ROOT}/subscriptions/byName/{{name}}", subs.delete_by_name, "subscribe"),
    ("GET", f"{ROOT}/subscriptions/byUuid/{{uuid}}", subs.get_by_uuid, "subscribe"),
    ("DELETE", f"{ROOT}/subscriptions/byUuid/{{uuid}}", subs.delete_by_uuid, "subscribe"),
    ("DELETE", f"{ROOT}/subscriptions/bySubject/{{subject}}", subs.delete_by_subject, "subscribe"),
    ("GET", f"{ROOT}/subscriptions/{{name}}/isEnabled", subs.is_enabled, "subscribe"),
    ("POST", f"{ROOT}/subscriptions/{{name}}/enable", subs.enable, "subscribe"),
    ("POST", f"{ROOT}/subscriptions/{{name}}/disable", subs.disable, "subscribe"),
    ("POST", f"{ROOT}/subscriptions/{{name}}/updateTTL/{{ttlMinutes}}", subs.update_ttl, "subscribe"),
    ("POST", f"{ROOT}/events", events.publish_event, "publish"),
    ("POST", f"{ROOT}/events/publish", events.publish_event, "publish"),
    ("POST", f"{ROOT}/events/endSeries", events.end_event_series, "publish"),
    ("POST", f"{ROOT}/test/begin", test_sequences.begin, "subscribe"),
    ("GET", f"{ROOT}/test/{{name}}", test_sequences.get, "subscribe"),
    ("DELETE", f"{ROOT}/test/{{name}}", test_sequences.delete, "subscribe"),
    ("GET", f"{JOBS}/list", jobs.list_jobs, "subscribe"),
    ("GET", f"{JOBS}/search", jobs.search_by_query, "subscribe"),
    ("POST", f"{JOBS}/search", jobs.search_by_body, "subscribe"),
    ("GET", f"{JOBS}/subscribe/{{jobUuid}}", job_subscriptions.list_subscriptions, "subscribe"),
    ("POST", f"{JOBS}/subscribe/{{jobUuid}}", job_subscriptions.subscribe, "subscribe"),
    ("DELETE", f"{JOBS}/subscribe/{{jobUuid}}", job_subscriptions.delete_subscriptions, "subscribe"),
    ("GET", f"{JOBS}/{{jobUuid}}", jobs.get_job, "subscribe"),
    ("GET", f"{JOBS}/{{jobUuid}}/status", jobs.get_status, "subscribe"),
    ("GET", f"{JOBS}/{{jobUuid}}/history", jobs.get_history, "subscribe"),
    ("POST", f"{JOBS}/{{jobUuid}}/sendEvent", jobs.send_event, "subscribe"),
)

_RUNNING = re.compile(
    rf"{JOBS}/(submit|[^/]+/(cancel|hide|unhide|resubmit|resubmit_request|output|share)(/.*)?)"
)
# What the Jobs service does with jobs that it runs itself.


def attach(
    app: web.Application, services: Services, repository: TapisRepository, tokens: Tokens | None
) -> None:
    """Add the routes to the application."""
    envelopes = {scope: V3Envelope(scope, services, repository, tokens) for *_, scope in _ROUTES}

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
    for base in (ROOT, JOBS):
        app.router.add_get(f"{base}/healthcheck", health)
        app.router.add_get(f"{base}/readycheck", ready)
    app.router.add_get(f"{JOBS}/ready", ready)
    # Behind the fixed paths, because what stands for the id of a job would fit them too.
    for method, path, act, scope in _ROUTES:
        app.router.add_route(method, path, envelope_handler(act, envelopes[scope]))
    app.router.add_route("*", TAPIS + "{rest:(/.*)?}", _not_offered)


async def _not_offered(request: web.Request) -> web.Response:
    """Refuse what no route takes, in the envelope: 405 where another method is possible, else 404."""
    try:
        if _RUNNING.fullmatch(request.path):
            raise Refusal(
                HTTPStatus.NOT_FOUND,
                f"{request.method} {request.path[:200]} is not offered: this service runs no jobs, it knows what "
                f"their events say; see {JOBS}/list",
            )
        check_method(request.method, request.path, [(method, path) for method, path, *_ in _ROUTES])
        raise Refusal(
            HTTPStatus.NOT_FOUND,
            f"there is nothing at {request.path[:200]}: of Tapis v3 this service has {ROOT}, and what is known of "
            f"jobs at {JOBS}",
        )
    except Refusal as error:
        return refused(error, request)
