"""The plot of a soak: memory, files, tasks and the largest tables over time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.samples import MIB, Sample

TABLES = 6
"""How many of the tables are shown: those that were largest."""


def write(path: Path, samples: Sequence[Sample]) -> None:
    """Write it as SVG."""
    names = {name for one in samples for name in one.values}
    sizes = sorted(
        (name for name in names if name.startswith("size")), key=lambda name: -_most(samples, name)
    )
    figure = Figure(figsize=(8, 9), layout="constrained")
    upper, middle, lower = figure.subplots(3, 1, sharex=True)
    processes = sorted(name for name in names if name.startswith("memory"))
    _draw(upper, samples, processes, lambda value: value / MIB)
    upper.set(title="Memory", ylabel="MiB")
    counts = sorted(name for name in names if name.startswith(("files", "tasks")))
    _draw(middle, samples, counts, lambda value: value)
    middle.set(title="Open files and tasks", ylabel="number")
    _draw(lower, samples, sizes[:TABLES], lambda value: value / MIB)
    lower.set(title="The largest tables, with indexes", xlabel="minutes", ylabel="MiB")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def _draw(
    axes: Axes, samples: Sequence[Sample], names: Sequence[str], scale: Callable[[float], float]
) -> None:
    for name in names:
        points = [(one.at / 60, scale(one.values[name])) for one in samples if name in one.values]
        axes.plot(*zip(*points, strict=True), label=name)
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)


def _most(samples: Sequence[Sample], name: str) -> float:
    return max(one.values.get(name, 0.0) for one in samples)
