"""What measurements give: checks against bars, CPU costs, and series of points for plots."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

Plot = Literal["subscriptions", "fan-out", "hanging", "hanging-time"]


class Check(Struct, frozen=True, kw_only=True):
    """One figure and its bar.

    With a floor the ratio of the two is held against the bar, without one the figure itself. A check without a
    bar is shown for comparison.
    """

    bar: str
    what: str
    unit: str
    measured: float
    floor: float | None = None
    least: float | None = None
    most: float | None = None

    @property
    def value(self) -> float:
        """What is held against the bar."""
        if self.floor is None:
            return self.measured
        if self.floor == 0:
            return math.inf if self.measured else 0.0
        return self.measured / self.floor

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None when there is none."""
        if self.least is not None:
            return self.value >= self.least
        return None if self.most is None else self.value <= self.most


class Cost(Struct, frozen=True):
    """µs of CPU that one event or delivery cost each process."""

    bar: str
    what: str
    cpu: Mapping[str, float]


class Series(Struct, frozen=True):
    """Points of one line of a plot."""

    label: str
    points: Sequence[tuple[float, float]]


class Outcome(Struct, frozen=True):
    """All that one measurement gave."""

    checks: Sequence[Check]
    costs: Sequence[Cost] = ()
    plots: Mapping[Plot, Sequence[Series]] = {}


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that at least `share` (0 to 1) of the values do not exceed. ValueError when there is none."""
    if not values:
        raise ValueError("expected at least one value")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
