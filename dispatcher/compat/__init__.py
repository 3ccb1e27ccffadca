"""The shapes of other systems: each module in this package with a function `attach` adds its routes."""

from __future__ import annotations

import importlib
import pkgutil

from aiohttp import web

from dispatcher.api.services import Services


def attach(app: web.Application, services: Services) -> None:
    """Add the routes of every shape to the application."""
    for found in pkgutil.iter_modules(__path__, f"{__name__}."):
        module = importlib.import_module(found.name)
        if hasattr(module, "attach"):
            module.attach(app, services)
