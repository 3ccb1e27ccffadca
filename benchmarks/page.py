"""Puts the results of a run between the markers of docs/performance.md, and its plots beside it."""

from __future__ import annotations

import argparse
import os
import platform
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import dispatcher
from benchmarks import plots, report
from benchmarks.results import Outcome

MARKED = re.compile(r"(<!-- begin (\S+) -->\n).*?(<!-- end \2 -->)", re.DOTALL)


def write(docs: Path, found: Mapping[str, Outcome], options: argparse.Namespace, seconds: float) -> None:
    """Replace what stands between `<!-- begin NAME -->` and `<!-- end NAME -->`, and write docs/plots.

    Rows of bars that were not measured in this run are left out of the tables: measure all for the page.
    """
    names, costs = report.costs(found)
    parts = {
        "run": _run(options, seconds),
        "checks": report.markdown(report.CHECKS, map(report.row, report.checks(found))),
        "costs": report.markdown(("", "µs of CPU each", *names), costs),
    }
    path = docs / "performance.md"
    text = MARKED.sub(lambda m: f"{m[1]}{parts[m[2]]}\n{m[3]}" if m[2] in parts else m[0], path.read_text())
    path.write_text(text)
    plots.write(docs / "plots", found)


def _run(options: argparse.Namespace, seconds: float) -> str:
    load = os.getloadavg()[2]
    return (
        f"{date.today().isoformat()}, version {dispatcher.__version__}, Python {platform.python_version()}, "  # noqa: DTZ011 - the day where it ran
        f"{os.cpu_count()} cores, {options.rounds} rounds, scale {options.scale:g}, {seconds / 60:.1f} minutes; "
        f"load over the last 15 minutes {load:.1f}."
    )
