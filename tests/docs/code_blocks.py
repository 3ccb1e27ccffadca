"""The code blocks of a page of docs/, so that tests run what readers copy."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(
    r"^## (?P<heading>.+?)$|^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)


def blocks_under(page: str, heading: str) -> list[str]:
    """Every code block under a heading of a page, in order."""
    _, _, section = (ROOT / page).read_text().partition(f"\n## {heading}\n")
    return [match["code"] for match in _BLOCK.finditer(section.partition("\n## ")[0])]


def code_blocks(page: str) -> dict[str, str]:
    """The first code block under each heading of a page such as `docs/receiving.md`."""
    found: dict[str, str] = {}
    heading = ""
    for match in _BLOCK.finditer((ROOT / page).read_text()):
        if match["heading"]:
            heading = match["heading"]
        else:
            found.setdefault(heading, match["code"])
    return found
