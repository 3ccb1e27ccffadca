"""The plots of a run, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import matplotlib as mpl
from matplotlib.figure import Figure
from msgspec import Struct

from benchmarks.results import Outcome, Plot, Series

# The same run gives the same file; text stays text.
mpl.rcParams |= {"svg.hashsalt": "dispatcher", "svg.fonttype": "none", "font.size": 10}


class Axes(Struct, frozen=True):
    """What stands beside a plot, and how its axes are divided."""

    title: str
    x: str
    y: str
    x_scale: Literal["linear", "log"] = "linear"
    y_scale: Literal["linear", "log"] = "linear"


PLOTS: Mapping[Plot, Axes] = {
    "subscriptions": Axes(
        "Cost of an event that matches no subscription", "subscriptions", "CPU per event (µs)", x_scale="log"
    ),
    "fan-out": Axes("Throughput against fan-out", "deliveries of one event", "deliveries per second"),
    "hanging": Axes(
        "Healthy destinations' latency while others hang", "percentile", "latency (ms)", y_scale="log"
    ),
    "hanging-time": Axes(
        "Healthy destinations' p99 while others hang", "time (s)", "p99 of half a second (ms)", y_scale="log"
    ),
}


def write(directory: Path, found: Mapping[str, Outcome]) -> None:
    """Write `<plot>.svg` for each plot that the run has points for."""
    directory.mkdir(exist_ok=True)
    for outcome in found.values():
        for name, lines in outcome.plots.items():
            _draw(PLOTS[name], lines).savefig(directory / f"{name}.svg", metadata={"Date": None})


def _draw(axes: Axes, lines: Sequence[Series]) -> Figure:
    figure = Figure(figsize=(7, 4), layout="constrained")
    plot = figure.subplots()
    for line in lines:
        marker = "o" if len(line.points) <= 10 else None
        plot.plot(*zip(*line.points, strict=True), marker=marker, label=line.label)
    plot.set(title=axes.title, xlabel=axes.x, ylabel=axes.y, xscale=axes.x_scale, yscale=axes.y_scale)
    if axes.y_scale == "linear":
        plot.set_ylim(bottom=0)
    plot.grid(visible=True, alpha=0.3)
    plot.legend()
    return figure
