"""The client without asyncio is what scripts/sync_client.py makes of the one with it."""

from __future__ import annotations

import runpy

from tests.docs.code_blocks import ROOT

SCRIPT = runpy.run_path(str(ROOT / "scripts/sync_client.py"))


def test_every_module_is_as_it_is_made_now() -> None:
    stale = [path.name for path, text in SCRIPT["files"]().items() if path.read_text() != text]
    assert stale == [], "run scripts/sync_client.py"


def test_no_module_is_left_that_is_not_made_any_more() -> None:
    made = {path.name for path in SCRIPT["files"]()} | SCRIPT["BY_HAND"]
    assert {path.name for path in (ROOT / "dispatcher/client/sync").glob("*.py")} == made
