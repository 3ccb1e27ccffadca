"""What the pages of docs/ point at is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dispatcher.store.schema import metadata
from tests.docs.code_blocks import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#([\w-]+))?\)")


def anchors(page: Path) -> set[str]:
    """The anchors that headings of a page get."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    broken = []
    for target, anchor in _LINK.findall(page.read_text()):
        if "://" in target or target.startswith("mailto:"):
            continue
        file = page.parent / target
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(f"{target}#{anchor}")
    assert not broken


def test_every_page_is_on_the_map() -> None:
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert pages <= {target for target, _ in _LINK.findall((ROOT / "docs/README.md").read_text())}


def test_the_glossary_names_modules_and_tables_that_exist() -> None:
    rows = re.findall(r"^\| \*\*.*\| (.+) \|$", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE)
    named = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    known = set(metadata.tables)
    assert len(named) > 50
    assert [name for name in named if name not in known and not (ROOT / "dispatcher" / name).exists()] == []
