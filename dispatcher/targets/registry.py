"""The target kinds: those of this package, and those that other packages declare as entry points."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Iterator
from typing import TypeAlias

from msgspec import Struct

from dispatcher import targets
from dispatcher.domain.targets import TargetKind, TargetStatuses
from dispatcher.targets.email.consent import ConsentService
from dispatcher.targets.http.egress import Egress


class Resources(Struct, frozen=True):
    """What kinds are made from."""

    egress: Egress
    consent: ConsentService | None = None
    statuses: TargetStatuses | None = None
    """What targets that keep state were sent; None where nothing is delivered (a check of targets)."""


MakeKind: TypeAlias = Callable[[Resources], TargetKind]


def load_kinds(resources: Resources) -> dict[str, TargetKind]:
    """The kinds by name: `make_kind(resources)` of every module that has one."""
    kinds: dict[str, TargetKind] = {}
    for make_kind in _built_in():
        kind = make_kind(resources)
        kinds[kind.name] = kind
    return kinds


def _built_in() -> Iterator[MakeKind]:
    """Of a module `targets/<name>.py`, or of `targets/<name>/kind.py`."""
    for found in pkgutil.iter_modules(targets.__path__, f"{targets.__name__}."):
        name = f"{found.name}.kind" if found.ispkg else found.name
        if found.ispkg and importlib.util.find_spec(name) is None:
            continue
        make_kind: MakeKind | None = getattr(importlib.import_module(name), "make_kind", None)
        if make_kind is not None:
            yield make_kind
