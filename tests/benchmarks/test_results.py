"""Verdicts: what is held against a bar, and how it is shown."""

from __future__ import annotations

import math

import pytest

from benchmarks.report import all_met, as_json, markdown, row
from benchmarks.results import Check, Cost, Outcome, percentile


def test_with_a_floor_the_ratio_is_held_against_the_bar() -> None:
    check = Check(bar="P3", what="p99", unit="ms", measured=12.0, floor=4.0, most=3.0)
    assert check.value == 3.0
    assert check.met is True
    assert row(check) == ("P3", "p99", "4", "12", "ms", "3.00", "≤ 3", "met")


def test_without_a_floor_the_figure_itself_is() -> None:
    check = Check(bar="P6", what="memory", unit="MiB", measured=301.0, most=300)
    assert check.met is False
    assert row(check) == ("P6", "memory", "", "301", "MiB", "", "≤ 300 MiB", "missed")


@pytest.mark.parametrize(("measured", "met"), [(44.9, False), (45.0, True)])
def test_a_rate_has_to_reach_its_bar(measured: float, met: bool) -> None:
    assert Check(bar="P1", what="", unit="", measured=measured, floor=100, least=0.45).met is met


def test_nothing_against_a_floor_of_nothing_is_no_more_than_it() -> None:
    assert Check(bar="P8", what="", unit="", measured=0, floor=0, most=1.0).met is True
    assert Check(bar="P8", what="", unit="", measured=1, floor=0, most=1.0).value == math.inf


def test_what_has_no_bar_is_neither_met_nor_missed() -> None:
    check = Check(bar="P1", what="", unit="", measured=1, floor=2)
    assert check.met is None
    assert all_met({"P1": Outcome([check])})


def test_json_has_ratios_and_verdicts() -> None:
    check = Check(bar="P1", what="", unit="", measured=1, floor=2, least=0.45)
    found = as_json({"P1": Outcome([check], [Cost("P1", "", {"Dispatcher": 1.0})])})
    assert found["P1"]["checks"] == [  # type: ignore[index]  # it is a mapping
        {
            "bar": "P1",
            "what": "",
            "unit": "",
            "measured": 1,
            "floor": 2,
            "least": 0.45,
            "most": None,
            "value": 0.5,
            "met": True,
        }
    ]


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(1, 101)]
    assert percentile(values, 0.99) == 99.0
    assert percentile(values, 0.5) == 50.0
    assert percentile([7.0], 0.99) == 7.0
    with pytest.raises(ValueError, match="at least one"):
        percentile([], 0.5)


def test_a_markdown_table_has_a_line_for_each_row() -> None:
    assert markdown(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
