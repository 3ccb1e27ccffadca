"""Metrics of what happens for each delivery: they are changed by the event loop's thread only, so without a lock.

Those of prometheus_client take one or two locks each time, and cost four times as much.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class LoopCounter(Collector):
    """Counts by the values of its labels."""

    def __init__(
        self, name: str, documentation: str, labels: Sequence[str], registry: CollectorRegistry
    ) -> None:
        self.name = name
        self.labels = tuple(labels)
        self._documentation = documentation
        self._counts: defaultdict[tuple[str, ...], int] = defaultdict(int)
        registry.register(self)

    def add(self, *labels: str, count: int = 1) -> None:
        """Count some more."""
        self._counts[labels] += count

    def collect(self) -> Iterator[CounterMetricFamily]:
        """What prometheus_client asks for."""
        family = CounterMetricFamily(self.name, self._documentation, labels=self.labels)
        for labels, count in list(self._counts.items()):
            family.add_metric(labels, count)
        yield family


class LoopHistogram(Collector):
    """Observations in buckets with these upper bounds, which ascend; for each value of `label` if it has one."""

    def __init__(
        self,
        name: str,
        documentation: str,
        bounds: Sequence[float],
        registry: CollectorRegistry,
        label: str | None = None,
    ) -> None:
        self.name = name
        self.labels = (label,) if label else ()
        self._documentation = documentation
        self._bounds = bounds
        self._series = {} if label else {"": _Series(bounds)}
        registry.register(self)

    def observe(self, value: float, of: str = "") -> None:
        """Add an observation; `of` is the value of the label."""
        series = self._series.get(of)
        if series is None:
            series = self._series[of] = _Series(self._bounds)
        series.counts[bisect_left(self._bounds, value)] += 1
        series.sum += value

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What prometheus_client asks for."""
        family = HistogramMetricFamily(self.name, self._documentation, labels=self.labels)
        names = [_text(bound) for bound in (*self._bounds, float("inf"))]
        for of, series in list(self._series.items()):
            buckets = list(zip(names, accumulate(series.counts), strict=True))
            family.add_metric([of] if self.labels else [], buckets, series.sum)
        yield family


def _text(bound: float) -> str:
    text: str = floatToGoString(bound)  # type: ignore[no-untyped-call]  # the library does not annotate it
    return text


class _Series:
    __slots__ = ("counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0
