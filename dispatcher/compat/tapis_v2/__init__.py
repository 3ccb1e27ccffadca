"""Tapis v2 (Agave): its notifications and the polling of its jobs, on top of the native API's own functions."""

from __future__ import annotations

from http import HTTPStatus

from aiohttp import web

from dispatcher.api.problems import Refusal
from dispatcher.api.services import Services
from dispatcher.compat.tapis_v2 import attempts, jobs, notifications
from dispatcher.compat.tapis_v2.envelope import Answered, Asked, Handler, enveloped

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
)


def attach(app: web.Application, services: Services) -> None:
    """Let aiohttp answer them; each path with and without a slash at its end."""
    for method, path, act in _ROUTES:
        handler = enveloped(act, services)
        for one in (path, f"{path}/"):
            if method == "GET":
                app.router.add_get(one, handler)
            else:
                app.router.add_route(method, one, handler)
    for base in (_NOTIFICATIONS, _JOBS):
        app.router.add_route("*", base + "{rest:(/.*)?}", enveloped(_nothing, services))


async def _nothing(asked: Asked) -> Answered:
    raise Refusal(
        HTTPStatus.NOT_FOUND, "there is nothing at this address, or nothing that can be done so; see docs"
    )
