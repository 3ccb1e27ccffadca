"""Other systems' interfaces, as plugins: each package here is one. Nothing else names them."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from dispatcher.compat.plugin import Diagnosis, Plugin, PluginModule
    from dispatcher.config.settings import Settings
    from dispatcher.intake.decode_context import IntakeAdapter
    from dispatcher.store.store import Store


def load_plugins(settings: Settings, store: Store) -> list[Plugin]:
    """Every plugin. SettingsError when the settings of one cannot work."""
    return [module.make_plugin(settings, store) for module in _modules()]


def diagnose(settings: Settings) -> list[Diagnosis]:
    """What there is to say of the settings of every plugin."""
    return [found for module in _modules() for found in module.diagnose(settings)]


def adapters() -> list[IntakeAdapter]:
    """The intake adapters of every plugin: a package's module `decoder` is one.

    The rest of the plugins is not imported for them: a command such as `dispatcher publish` needs nothing else of them.
    """
    names = [f"{package}.decoder" for package in _packages()]
    found = [importlib.import_module(name) for name in names if importlib.util.find_spec(name)]
    return cast("list[IntakeAdapter]", found)


def _modules() -> Iterator[PluginModule]:
    for package in _packages():
        yield cast("PluginModule", importlib.import_module(f"{package}.plugin"))


def _packages() -> list[str]:
    return [found.name for found in pkgutil.iter_modules(__path__, f"{__name__}.") if found.ispkg]
