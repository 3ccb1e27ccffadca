"""Modules stay short enough to be read in one go, and say what they are for."""

from __future__ import annotations

import ast
from pathlib import Path

import dispatcher

ROOT = Path(dispatcher.__file__).parent
MOST_LINES = 300
# What was released of the schema does not change any more.
FROZEN = {ROOT / "store/migrations/versions/0001_initial.py"}


def test_no_module_has_over_300_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in set(ROOT.rglob("*.py")) - FROZEN
        if (lines := len(path.read_text().splitlines())) > MOST_LINES
    }
    assert long == {}


def test_every_module_says_in_its_first_line_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        if (text := path.read_text()) and not ast.get_docstring(ast.parse(text))
    ]
    assert silent == []
