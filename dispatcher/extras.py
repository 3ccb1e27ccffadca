"""Whether what the service needs is installed: without the extra `server` there is only the client."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version

_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[\w,-]*\])?\s*(>=\s*(?P<oldest>[\d.]+))?")


def missing() -> list[str]:
    """The requirements of the extra `server` that are absent or too old; none when that cannot be known."""
    try:
        return list(unmet(requires("dispatcher") or ()))
    except PackageNotFoundError:  # it runs from its sources
        return []


def unmet(requirements: Iterable[str]) -> Iterator[str]:
    """Those of the requirements, as `name>=1.2; extra == "server"`, that are absent or too old."""
    for requirement in requirements:
        found = _REQUIREMENT.match(requirement)
        if found is None or found["name"] == "dispatcher":  # an extra that consists of others
            continue
        oldest = found["oldest"] or ""
        if not _is_installed(found["name"], oldest):
            yield f"{found['name']}>={oldest}" if oldest else found["name"]


def advice(names: Iterable[str]) -> str:
    """What to install, as one sentence."""
    return (
        "the service and the command line need the extra `server`: pip install 'dispatcher[server]' "
        f"(missing or too old: {', '.join(names)})"
    )


def _is_installed(name: str, oldest: str) -> bool:
    try:
        return _numbers(version(name)) >= _numbers(oldest)
    except PackageNotFoundError:
        return False


def _numbers(text: str) -> list[int]:
    """The release of a version: [1, 2] of `1.2rc1`."""
    return [int(part) for part in re.findall(r"\d+", re.split(r"[^\d.]", text)[0])]
