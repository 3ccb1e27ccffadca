"""The plugin for Tethys."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from dispatcher.api.services import Services
from dispatcher.compat.plugin import Diagnosis, Plugin
from dispatcher.compat.tethys import callbacks, target
from dispatcher.compat.tethys.callback_tokens import CallbackTokens
from dispatcher.config.secret_keys import secret_keys
from dispatcher.config.settings import Settings
from dispatcher.store.store import Store


class Tethys(Plugin):
    """The callbacks of a portal, and portals as targets."""

    name = "tethys"

    def __init__(self, tokens: CallbackTokens) -> None:
        self.kinds = (target.make_kind,)
        self._tokens = tokens

    def attach(self, app: web.Application, services: Services) -> None:
        """Add its routes to the application."""
        callbacks.attach(app, services, self._tokens)


def make_plugin(settings: Settings, store: Store) -> Tethys:
    """Called by `dispatcher.compat`."""
    return Tethys(CallbackTokens(secret_keys(settings), loopback=settings.tethys.allow == "loopback"))


def diagnose(settings: Settings) -> Sequence[Diagnosis]:
    """There is nothing in its settings that could be wrong."""
    return ()
