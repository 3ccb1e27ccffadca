"""The target kinds: each module in this package with a function `make_kind` is one."""

from __future__ import annotations

import importlib
import pkgutil

from msgspec import Struct

from dispatcher import targets
from dispatcher.domain.targets import TargetKind, TargetStatuses
from dispatcher.targets.http.egress import Egress
from dispatcher.targets.mail.desk import Desk


class Resources(Struct, frozen=True):
    """What kinds are made from."""

    egress: Egress
    desk: Desk | None = None
    statuses: TargetStatuses | None = None
    """What targets that keep state were sent; None where nothing is delivered (a check of targets)."""


def load_kinds(resources: Resources) -> dict[str, TargetKind]:
    """The kinds by name: `make_kind(resources)` of every module that has one."""
    kinds: dict[str, TargetKind] = {}
    for found in pkgutil.iter_modules(targets.__path__, f"{targets.__name__}."):
        module = importlib.import_module(found.name)
        if hasattr(module, "make_kind"):
            kind: TargetKind = module.make_kind(resources)
            kinds[kind.name] = kind
    return kinds
