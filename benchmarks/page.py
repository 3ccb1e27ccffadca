"""Puts the results of a run between the markers of docs/performance.md, and its plots beside it."""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import dispatcher
from benchmarks import plots, report
from benchmarks.results import Outcome

MARKED = re.compile(r"(<!-- begin (\S+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)


def write(docs: Path, found: Mapping[str, Outcome], other: Mapping[str, str]) -> None:
    """Replace what stands between `<!-- begin NAME -->` and `<!-- end NAME -->`, and write docs/plots.

    `other` are parts that are not of a measurement. Rows of bars that were not measured in this run are left out of
    the tables: measure all for the page. ValueError for a marker that nothing is known for.
    """
    names, costs = report.costs(found)
    parts = {
        "checks": report.markdown(report.CHECKS, map(report.row, report.checks(found))),
        "costs": report.markdown(("", "µs of CPU each", *names), costs),
        **other,
    }

    def part(marker: re.Match[str]) -> str:
        if marker[2] not in parts:
            raise ValueError(
                f"performance.md: expected one of {', '.join(parts)}, got the marker {marker[2]}"
            )
        return f"{marker[1]}{parts[marker[2]]}\n{marker[3]}"

    path = docs / "performance.md"
    path.write_text(MARKED.sub(part, path.read_text()))
    plots.write(docs / "plots", found)


def circumstances(options: argparse.Namespace, seconds: float) -> str:
    """When and where a run was, in a sentence."""
    return (
        f"{datetime.now(UTC).date()}, version {dispatcher.__version__}, Python {platform.python_version()}, "
        f"{os.cpu_count()} cores, {options.rounds} rounds, scale {options.scale:g}, {seconds / 60:.1f} minutes; "
        f"load average of the 15 minutes before the end: {os.getloadavg()[2]:.1f}."
    )


def printed(module: str) -> str:
    """The table that another program of the benchmarks prints, as it is, without what it says before."""
    command = (sys.executable, "-m", f"benchmarks.{module}")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return f"```text\n{done.stdout[done.stdout.index('┏') :].strip()}\n```"
