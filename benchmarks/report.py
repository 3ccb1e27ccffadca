"""The tables of a run: for the terminal, as Markdown, as JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.results import Check, Cost, Outcome

CHECKS = ("", "what", "floor", "measured", "unit", "ratio", "bar", "verdict")


def show(found: Mapping[str, Outcome], seconds: float) -> None:
    """Print the tables."""
    console = Console() if sys.stdout.isatty() else Console(width=160)
    table = Table(*CHECKS)
    for check in checks(found):
        colour = {True: "green", False: "red", None: "dim"}[check.met]
        *cells, verdict = row(check)
        table.add_row(*cells, f"[{colour}]{verdict}[/]")
    console.print(table)
    names, rows = costs(found)
    if rows:
        cpu = Table("", "µs of CPU each", *names)
        for cost in rows:
            cpu.add_row(*cost)
        console.print(cpu)
    console.print(f"{seconds / 60:.1f} minutes")


def checks(found: Mapping[str, Outcome]) -> list[Check]:
    """All checks of a run."""
    return [check for outcome in found.values() for check in outcome.checks]


def row(check: Check) -> Sequence[str]:
    """The cells of a check, in the order of CHECKS."""
    return (
        check.bar,
        check.what,
        "" if check.floor is None else number(check.floor),
        number(check.measured),
        check.unit,
        "" if check.floor is None else f"{check.value:.2f}",
        _bar(check),
        {True: "met", False: "missed", None: ""}[check.met],
    )


def costs(found: Mapping[str, Outcome]) -> tuple[list[str], list[Sequence[str]]]:
    """The names of the processes, and a row for each cost."""
    all_costs = [cost for outcome in found.values() for cost in outcome.costs]
    names = list(dict.fromkeys(name for cost in all_costs for name in cost.cpu))
    return names, [_cost_row(cost, names) for cost in all_costs]


def markdown(header: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of a page."""
    titles = list(header)
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def all_met(found: Mapping[str, Outcome]) -> bool:
    """Whether no bar was missed."""
    return all(check.met is not False for check in checks(found))


def as_json(found: Mapping[str, Outcome]) -> object:
    """Everything, the ratios and verdicts included."""
    document: dict[str, dict[str, object]] = msgspec.to_builtins(found)
    for name, outcome in found.items():
        document[name]["checks"] = [
            msgspec.to_builtins(check) | {"value": check.value, "met": check.met} for check in outcome.checks
        ]
    return document


def number(value: float) -> str:
    """As many digits as mean something."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _bar(check: Check) -> str:
    if check.least is not None:
        return f"≥ {check.least:g}"
    if check.most is None:
        return ""
    return f"≤ {check.most:g}" if check.floor is not None else f"≤ {check.most:g} {check.unit}"


def _cost_row(cost: Cost, names: Sequence[str]) -> Sequence[str]:
    return (cost.bar, cost.what, *(number(cost.cpu[name]) if name in cost.cpu else "" for name in names))
