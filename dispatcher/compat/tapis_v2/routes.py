"""The routes of Tapis v2 (Agave)."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from dispatcher.api.problems import Refusal
from dispatcher.api.services import Services
from dispatcher.compat.envelope import CompatResponse, check_method, envelope_handler
from dispatcher.compat.tapis_v2 import attempts, jobs, notifications
from dispatcher.compat.tapis_v2.envelope import Handler, V2Envelope, V2Request

_NOTIFICATIONS, _JOBS = "/notifications/v2", "/jobs/v2"

_ROUTES: tuple[tuple[str, str, Handler], ...] = (
    ("GET", _NOTIFICATIONS, notifications.list_notifications),
    ("POST", _NOTIFICATIONS, notifications.add_notification),
    ("GET", _NOTIFICATIONS + "/{uuid}", notifications.get_notification),
    ("POST", _NOTIFICATIONS + "/{uuid}", notifications.update_notification),
    ("DELETE", _NOTIFICATIONS + "/{uuid}", notifications.delete_notification),
    ("GET", _NOTIFICATIONS + "/{uuid}/attempts", attempts.list_attempts),
    ("POST", _NOTIFICATIONS + "/{uuid}/attempts", attempts.fire),
    ("DELETE", _NOTIFICATIONS + "/{uuid}/attempts", attempts.clear_attempts),
    ("GET", _NOTIFICATIONS + "/{uuid}/attempts/{attempt}", attempts.get_attempt),
    ("DELETE", _NOTIFICATIONS + "/{uuid}/attempts/{attempt}", attempts.delete_attempt),
    ("GET", _JOBS, jobs.list_jobs),
    ("GET", _JOBS + "/{id}", jobs.get_job),
    ("GET", _JOBS + "/{id}/status", jobs.get_status),
    ("GET", _JOBS + "/{id}/history", jobs.get_history),
    ("GET", _JOBS + "/{field}/{value}", jobs.find_jobs),
)


def attach(app: web.Application, services: Services) -> None:
    """Let aiohttp answer them; each path with and without a slash at its end."""
    envelope = V2Envelope(services)
    for method, path, act in _ROUTES:
        handler = envelope_handler(act, envelope)
        for one in (path, f"{path}/"):
            if method == "GET":
                app.router.add_get(one, handler)
            else:
                app.router.add_route(method, one, handler)
    for base in (_NOTIFICATIONS, _JOBS):
        app.router.add_route("*", base + "{rest:(/.*)?}", envelope_handler(_not_offered, envelope))


async def _not_offered(request: V2Request) -> CompatResponse:
    """Refuse what no route takes: 405 where another method is possible, else 404."""
    check_method(request.method, request.url_path, [(method, path) for method, path, _ in _ROUTES])
    raise Refusal(HTTPStatus.NOT_FOUND, f"there is nothing at {request.url_path[:200]}")
