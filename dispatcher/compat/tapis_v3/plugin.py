"""The plugin for Tapis v3."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from dispatcher.api.services import Services
from dispatcher.compat.plugin import Diagnosis, Plugin
from dispatcher.compat.tapis_v3 import routes
from dispatcher.compat.tapis_v3.event_hooks import EndingHook
from dispatcher.compat.tapis_v3.jwt import Tokens, read_tokens
from dispatcher.compat.tapis_v3.payload import FORMAT
from dispatcher.compat.tapis_v3.repository import TapisRepository
from dispatcher.compat.tapis_v3.tables import tapis_notifications, tapis_series, tapis_subscriptions
from dispatcher.config.settings import Settings
from dispatcher.domain.errors import SettingsError
from dispatcher.store.store import Store


class TapisV3(Plugin):
    """Events in its form, and subscriptions that have a name and several targets."""

    name = "tapis_v3"

    def __init__(self, repository: TapisRepository, tokens: Tokens | None) -> None:
        self.formats = {"tapis-v3": FORMAT}
        self.event_hooks = (EndingHook(repository),)
        self.tables = (tapis_subscriptions, tapis_series, tapis_notifications)
        self.purge = repository.purge
        self._repository = repository
        self._tokens = tokens

    def attach(self, app: web.Application, services: Services) -> None:
        """Add its routes to the application."""
        routes.attach(app, services, self._repository, self._tokens)


def make_plugin(settings: Settings, store: Store) -> TapisV3:
    """Called by `dispatcher.compat`. Raises SettingsError when the file with the keys is not good."""
    tapis = settings.tapis
    tokens = None if tapis.keys is None else read_tokens(tapis.keys, tapis.issuers, tapis.admins)
    return TapisV3(TapisRepository(store.session, store.subscription_mapping), tokens)


def diagnose(settings: Settings) -> Sequence[Diagnosis]:
    """Whether the keys that check tokens can be read."""
    path = settings.tapis.keys
    if path is None:
        return (Diagnosis("tapis keys", "none: only API keys are accepted"),)
    try:
        count = read_tokens(path).keys
    except SettingsError as error:
        return (Diagnosis("tapis keys", str(error), problem=True),)
    return (Diagnosis("tapis keys", f"{count} in {path}"),)
