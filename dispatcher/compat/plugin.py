"""What a plugin for another system brings: each system is a package beside this module, with `make_plugin` in `plugin`.

The rest of the service knows plugins by this Protocol only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

from aiohttp import web
from sqlalchemy import Table

from dispatcher.api.services import PublishHook, Services
from dispatcher.config.settings import Settings
from dispatcher.domain.retention import Purge
from dispatcher.intake.hooks import EventHook
from dispatcher.store.store import Store
from dispatcher.targets.formats import Format
from dispatcher.targets.registry import MakeKind


class Plugin(Protocol):
    """A system's routes and whatever else it needs; a plugin inherits from this, and says what differs.

    Its routes check who is calling: each system has its way of it. The migrations of its tables stand with all
    others, in `dispatcher.store.migrations`; a plugin that is taken away leaves its tables behind.
    Its intake adapter is the module `decoder` of its package, which is used without the rest of the plugin too.
    """

    name: str
    formats: Mapping[str, Format] = MappingProxyType({})
    """Its payloads of webhooks, by the name that a target's `format` has."""
    kinds: Sequence[MakeKind] = ()
    """Makers of its kinds of targets."""
    event_hooks: Sequence[EventHook] = ()
    """What events do beside being delivered, from whichever source they come."""
    publish_hooks: Sequence[PublishHook] = ()
    """What is done, or refused, before events that came over the API are stored."""
    tables: Sequence[Table] = ()
    """Its tables, on the metadata of the store's schema."""
    purge: Purge | None = None
    """Deletes what its tables have held for long enough: called by retention, in one process at a time."""

    def attach(self, app: web.Application, services: Services) -> None:
        """Add its routes to the application."""


class Diagnosis(NamedTuple):
    """What `dispatcher doctor` shows of a plugin; `problem` stops the start."""

    what: str
    found: str
    problem: bool = False


class PluginModule(Protocol):
    """The module `plugin` of a system's package."""

    def make_plugin(self, settings: Settings, store: Store) -> Plugin:
        """The plugin. SettingsError when its settings cannot work. The store need not be open."""
        ...

    def diagnose(self, settings: Settings) -> Sequence[Diagnosis]:
        """What there is to say of its settings."""
        ...
