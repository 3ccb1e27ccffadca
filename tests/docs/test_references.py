"""What docstrings and comments refer to by its full name exists."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

from tests.docs.code_blocks import ROOT

_REFERENCE = re.compile(r"`(dispatcher(?:\.\w+)+)`")
# The group of an entry point, no module.
_OTHERS = {"dispatcher.intake_adapters", "dispatcher.targets"}


def exists(name: str) -> bool:
    """Whether a module has this name, or something in a module or class."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: object = import_module(".".join(parts[:count]))
        except ImportError:
            continue
        for part in parts[count:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def references() -> list[tuple[Path, str]]:
    return [
        (path.relative_to(ROOT), name)
        for path in sorted((ROOT / "dispatcher").rglob("*.py"))
        for name in _REFERENCE.findall(path.read_text())
        if name not in _OTHERS
    ]


def test_what_is_referred_to_exists() -> None:
    found = references()
    assert len(found) > 20
    assert [(str(path), name) for path, name in found if not exists(name)] == []


@pytest.mark.parametrize(
    "name", ["dispatcher.app.Nothing", "dispatcher.nothing", "dispatcher.app.App.nothing"]
)
def test_what_does_not_exist_is_found(name: str) -> None:
    assert not exists(name)
