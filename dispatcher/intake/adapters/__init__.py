"""Intake adapters: each module of this package reads another system's form of events, and so do other packages' own.

An adapter is an object with `mark`, `matches` and `read` (see `IntakeAdapter`). A module here is one itself; another
package names its adapter as an entry point of the group `dispatcher.intake_adapters`.
"""

from __future__ import annotations

import importlib
import pkgutil
from importlib.metadata import entry_points

from dispatcher.intake.decode_context import IntakeAdapter

ENTRY_POINTS = "dispatcher.intake_adapters"


def load_adapters() -> list[IntakeAdapter]:
    """The adapters of this package and of others that are installed, by their names in either."""
    found = [
        importlib.import_module(module.name) for module in pkgutil.iter_modules(__path__, f"{__name__}.")
    ]
    named = sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name)
    return [*map(_as_adapter, found), *(_as_adapter(point.load()) for point in named)]


def _as_adapter(found: object) -> IntakeAdapter:
    """The same, once it is known to have all parts of an adapter."""
    if not isinstance(found, IntakeAdapter):
        raise TypeError(f"{found!r} is no intake adapter: expected mark, matches and read")
    return found
