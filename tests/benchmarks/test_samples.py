"""What counts as growth in a long run."""

from __future__ import annotations

import pytest

from benchmarks.samples import MIB, Growth, Sample, Sampler


def test_the_second_and_the_last_quarter_are_compared_by_their_medians() -> None:
    sampler = Sampler([], "postgresql://nowhere/none")
    sampler.samples = [Sample(float(at), {"rows of jobs": float(at)}) for at in range(101)]
    sampler.samples[30] = Sample(30.0, {})
    [growth] = sampler.growth()
    assert (growth.series, growth.end) == ("rows of jobs", 87.5)
    assert growth.middle == 37.5


@pytest.mark.parametrize(
    ("series", "middle", "end", "flat"),
    [
        ("memory of 1", 100 * MIB, 130 * MIB, True),
        ("memory of 1", 100 * MIB, 132 * MIB, False),
        ("rows of jobs", 0, 500, True),
        ("rows of jobs", 0, 501, False),
        ("size of jobs", 100 * MIB, 50 * MIB, True),
    ],
)
def test_what_grows_beyond_its_tolerance_is_not_flat(
    series: str, middle: float, end: float, flat: bool
) -> None:
    assert Growth(series, middle, end).flat is flat
