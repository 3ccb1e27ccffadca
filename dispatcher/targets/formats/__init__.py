"""The forms that a webhook can ask for in place of the event as structured CloudEvents JSON.

Each is a module of this package and an entry in FORMATS; plugins bring further ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dispatcher.targets.formats import binary, plain
from dispatcher.targets.formats.content import Format

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "binary": Format(
            binary.prepare, "CloudEvents with its attributes in headers", ("ce-", "content-type")
        ),
        "plain": Format(plain.prepare, "the event as it may be published"),
    }
)
"""The forms by the name that stands in a target's `format`; "cloudevents", which needs none, is not here."""
