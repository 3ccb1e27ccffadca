"""The plugins for other systems, as tests need them."""

from __future__ import annotations

from dispatcher import compat
from dispatcher.compat.plugin import Plugin
from dispatcher.compat.tapis_v3.repository import TapisRepository
from dispatcher.config.settings import Secrets, Settings
from dispatcher.config.types import Secret
from dispatcher.store.store import Store


def plugins_of(store: Store) -> list[Plugin]:
    """Every plugin, with the default settings and a key that no file holds."""
    return compat.load_plugins(Settings(secrets=Secrets(key=(Secret("p" * 32),))), store)


def tapis_of(store: Store) -> TapisRepository:
    """What Tapis v3 stores."""
    return TapisRepository(store.session, store.subscription_mapping)
