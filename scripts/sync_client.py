#!/usr/bin/env python3
"""Makes dispatcher/client/sync from dispatcher/client/aio: the same client without asyncio, for threads and scripts.

`sync_client.py` writes the files; `sync_client.py --check` only says whether they are as they would be written.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).parents[1] / "dispatcher" / "client"
BY_HAND = {"__init__.py", "connections.py", "transport.py"}
"""These differ in more than words."""

_WORDS = (
    (r"\basync with\b", "with"),
    (r"\basync for\b", "for"),
    (r"\basync def\b", "def"),
    (r"\bawait ", ""),
    (r"\b__aenter__\b", "__enter__"),
    (r"\b__aexit__\b", "__exit__"),
    (r"\b__aiter__\b", "__iter__"),
    (r"\bAsync([A-Z]\w+)", r"\1"),
    (r"\bdispatcher\.client\.aio\b", "dispatcher.client.sync"),
    (r"The client for asyncio", "The client for threads and scripts"),
)


def translated(source: str) -> str:
    """A module of `aio` without asyncio, formatted."""
    for pattern, replacement in _WORDS:
        source = re.sub(pattern, replacement, source)
    head, _, body = source.partition("\n")
    note = "\n# Made by scripts/sync_client.py from its namesake in dispatcher/client/aio: change that one."
    return _ruff(_ruff(f"{head}\n{note}\n{body.lstrip()}", "check", "--fix", "--select", "I"), "format")


def files() -> dict[Path, str]:
    """Every file of `sync` that is made, and what should be in it."""
    sources = [source for source in sorted((CLIENT / "aio").glob("*.py")) if source.name not in BY_HAND]
    return {CLIENT / "sync" / source.name: translated(source.read_text()) for source in sources}


def main() -> int:
    """Write them, or say which would change."""
    stale = {path: text for path, text in files().items() if not path.exists() or path.read_text() != text}
    if "--check" in sys.argv:
        for path in stale:
            sys.stderr.write(f"{path} is not made from what is in aio now: run scripts/sync_client.py\n")
        return bool(stale)
    for path, text in stale.items():
        path.write_text(text)
    return 0


def _ruff(source: str, *arguments: str) -> str:
    ruff = Path(sys.executable).parent / "ruff"
    command = [str(ruff), *arguments, "--quiet", "--stdin-filename", str(CLIENT / "sync" / "made.py"), "-"]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main())
