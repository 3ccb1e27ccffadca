"""The target kinds: those of this package, and those that other packages declare as entry points."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import TypeAlias

from msgspec import Struct

from dispatcher import targets
from dispatcher.config.settings import Settings
from dispatcher.domain.errors import SettingsError
from dispatcher.domain.targets import KindStore, TargetKind
from dispatcher.targets.formats import FORMATS, Format
from dispatcher.targets.http.egress import Egress

GROUP = "dispatcher.targets"
"""The group of entry points by which other packages declare kinds: `name = "package.module:make_kind"`."""


class Resources(Struct, frozen=True):
    """What kinds are made from. Where nothing is delivered (a check of targets) it is `egress` alone."""

    egress: Egress
    settings: Settings | None = None
    store: KindStore | None = None
    formats: Mapping[str, Format] = FORMATS
    """The forms that a webhook can ask for, with those of plugins."""


MakeKind: TypeAlias = Callable[[Resources], TargetKind]


def load_kinds(resources: Resources, further: Sequence[MakeKind] = ()) -> dict[str, TargetKind]:
    """The kinds by name, with `further` ones of plugins.

    SettingsError when that of another package cannot be loaded, or has a name twice.
    """
    kinds: dict[str, TargetKind] = {}
    for make_kind in (*_built_in(), *further):
        kind = make_kind(resources)
        kinds[kind.name] = kind
    for entry_point in entry_points(group=GROUP):
        kind = _installed(entry_point, resources)
        if kind.name in kinds:
            raise SettingsError(f"{_origin(entry_point)}: there is a target kind {kind.name!r} already")
        kinds[kind.name] = kind
    return kinds


def _installed(entry_point: EntryPoint, resources: Resources) -> TargetKind:
    try:
        make_kind: MakeKind = entry_point.load()
        kind = make_kind(resources)
        config = kind.spec.__struct_config__
    except SettingsError:
        raise
    except Exception as error:
        raise SettingsError(f"{_origin(entry_point)}: cannot be loaded ({error!r})") from error
    if (config.tag_field, config.tag) != ("kind", kind.name):
        raise SettingsError(
            f'{_origin(entry_point)}: expected a spec with tag_field="kind" and the tag {kind.name!r}'
        )
    return kind


def _origin(entry_point: EntryPoint) -> str:
    package = entry_point.dist.name if entry_point.dist is not None else "unknown"
    return f"entry point {GROUP} {entry_point.name!r} of the package {package}"


def _built_in() -> Iterator[MakeKind]:
    """Of a module `targets/<name>.py`, or of `targets/<name>/kind.py`."""
    for found in pkgutil.iter_modules(targets.__path__, f"{targets.__name__}."):
        name = f"{found.name}.kind" if found.ispkg else found.name
        if found.ispkg and importlib.util.find_spec(name) is None:
            continue
        make_kind: MakeKind | None = getattr(importlib.import_module(name), "make_kind", None)
        if make_kind is not None:
            yield make_kind
