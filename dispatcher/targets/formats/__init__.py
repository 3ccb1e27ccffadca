"""The forms that a webhook can ask for in place of the event as structured CloudEvents JSON.

Each is a module of this package and an entry in FORMATS.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dispatcher.targets.formats import binary, plain, tapis, tapis_v3
from dispatcher.targets.formats.content import Format

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "binary": Format(binary.prepare, ("ce-", "content-type")),
        "plain": Format(plain.prepare),
        "tapis": Format(tapis.prepare, ("x-agave-",)),
        "tapis-v3": Format(tapis_v3.prepare, ("content-type",)),
    }
)
"""The forms by the name that stands in a target's `format`; "cloudevents", which needs none, is not here."""
