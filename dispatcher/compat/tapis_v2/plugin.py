"""The plugin for Tapis v2 (Agave)."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from dispatcher.api.services import Services
from dispatcher.compat.plugin import Diagnosis, Plugin
from dispatcher.compat.tapis_v2 import routes
from dispatcher.compat.tapis_v2.embedded_notifications import EmbeddedNotifications
from dispatcher.compat.tapis_v2.payload import FORMAT
from dispatcher.config.settings import Settings
from dispatcher.store.store import Store


class TapisV2(Plugin):
    """Notifications, jobs, and what stands in a job's document about either."""

    name = "tapis_v2"

    def __init__(self) -> None:
        self.formats = {"tapis": FORMAT}
        self.publish_hooks = (EmbeddedNotifications(),)

    def attach(self, app: web.Application, services: Services) -> None:
        """Add its routes to the application."""
        routes.attach(app, services)


def make_plugin(settings: Settings, store: Store) -> TapisV2:
    """Called by `dispatcher.compat`."""
    return TapisV2()


def diagnose(settings: Settings) -> Sequence[Diagnosis]:
    """It has no settings."""
    return ()
