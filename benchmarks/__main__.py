"""Measures the service against its floors and prints tables: `python -m benchmarks --help`.

Every figure with a bar stands beside its floor, which is measured in the same run and in turn with it: such ratios
hold on a noisy machine where times alone do not.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmarks import compare, page, report
from benchmarks.bars import BARS, Bar
from benchmarks.machine import Amount, Machine, machine
from benchmarks.results import Outcome
from benchmarks.service import can_have_workers, end_on_sigterm
from dispatcher.process import allow_connections

console = Console(stderr=True)


async def run(servers: Machine, bars: Sequence[Bar], progress: Progress) -> dict[str, Outcome]:
    """Measure each bar in turn."""
    found: dict[str, Outcome] = {}
    for bar in bars:
        task = progress.add_task(f"{bar.name} {bar.what}", total=bar.steps(servers))
        servers.done = lambda task=task: progress.advance(task)  # type: ignore[misc]  # bound here
        found[bar.name] = await bar.measure(servers)
        progress.update(task, completed=bar.steps(servers))
    return found


def measure(options: argparse.Namespace) -> dict[str, Outcome]:
    """Start the servers, measure what was asked for, end the servers."""
    workers = options.workers or (2 if can_have_workers() else 1)
    bars = [bar for bar in BARS if not options.only or bar.name in options.only]
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with (
        machine(Amount(options.rounds, options.scale, workers)) as servers,
        Progress(*columns, console=console) as progress,
    ):
        return asyncio.run(run(servers, bars, progress))


def main() -> int:
    """Parse the command line, measure, print. 1 when a bar was missed and --strict was given, else 0."""
    options = _options()
    end_on_sigterm()
    logging.getLogger("aiormq").setLevel(logging.CRITICAL)  # that a broker is gone is no news in P8
    allow_connections()
    if options.compare:
        return _compare(options)
    began = time.monotonic()
    found = measure(options)
    seconds = time.monotonic() - began
    if options.json:
        print(msgspec.json.encode(report.as_json(found)).decode())
    else:
        report.show(found, seconds)
    if options.write:
        parts = {name: page.printed(name) for name in ("steps", "intake_steps")}
        page.write(Path("docs"), found, {"run": page.circumstances(options, seconds), **parts})
    return int(options.strict and not report.all_met(found))


def _compare(options: argparse.Namespace) -> int:
    more = ["--scale", str(options.scale), *(("--workers", str(options.workers)) if options.workers else ())]
    found = compare.compare(options.compare, options.only, options.rounds, more, console.print)
    if options.json:
        print(msgspec.json.encode(found).decode())
    else:
        compare.show(options.compare, found)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, help="how often each is measured; the median counts (3, compared 5)"
    )
    parser.add_argument(
        "--scale", type=float, default=1.0, help="how much is measured, as a share of the usual amount"
    )
    names = [bar.name for bar in BARS]
    which = f"which, with spaces or commas between them: {' '.join(names)}"
    parser.add_argument("--only", nargs="+", metavar="NAME", help=which)
    parser.add_argument(
        "--compare",
        metavar="REV",
        help="measure this tree and another revision in turn, and print the ratios",
    )
    parser.add_argument(
        "--workers", type=int, help="processes of the service on PostgreSQL (default: 2 if it can, else 1)"
    )
    parser.add_argument("--json", action="store_true", help="print the results as JSON")
    parser.add_argument(
        "--write", action="store_true", help="put tables and plots into docs/performance.md and docs/plots"
    )
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a bar is missed")
    options = parser.parse_args()
    options.rounds = options.rounds or (5 if options.compare else 3)
    options.only = [name for some in options.only or () for name in some.split(",")]
    if unknown := [name for name in options.only if name not in names]:
        parser.error(f"--only: expected some of {' '.join(names)}, got {' '.join(unknown)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
