"""The environment of the processes that tests start."""

from __future__ import annotations

import os
from collections.abc import Mapping


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """That of this process, with these variables instead of all that Dispatcher would read."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DISPATCHER_")}
    return kept | dict(settings)
