"""Results on the page: between the markers, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.page import write
from benchmarks.report import CHECKS
from benchmarks.results import Check, Outcome, Series

PAGE = "# Title\n\n<!-- begin checks -->\nold\n<!-- end checks -->\n\ntext\n"
CHECK = Check(bar="P1", what="one subscription", unit="events/s", measured=50, floor=100, least=0.45)


def test_only_what_stands_between_markers_changes(tmp_path: Path) -> None:
    (tmp_path / "performance.md").write_text(PAGE)
    write(tmp_path, {"P1": Outcome([CHECK])}, {"run": "a run"})
    table = f"| {' | '.join(CHECKS)} |\n|{' --- |' * len(CHECKS)}\n"
    line = "| P1 | one subscription | 100 | 50 | events/s | 0.50 | ≥ 0.45 | met |\n"
    expected = f"# Title\n\n<!-- begin checks -->\n{table}{line}<!-- end checks -->\n\ntext\n"
    assert (tmp_path / "performance.md").read_text() == expected


def test_a_plot_has_its_title_and_a_line_for_each_series(tmp_path: Path) -> None:
    (tmp_path / "performance.md").write_text(PAGE)
    lines = [Series("first", [(1000.0, 10.0), (10_000.0, 12.0)]), Series("second", [(1000.0, 1.0)])]
    write(tmp_path, {"P5": Outcome([], plots={"subscriptions": lines})}, {})
    drawn = (tmp_path / "plots" / "subscriptions.svg").read_text()
    for text in ("first", "second", "subscriptions", "CPU per event (µs)"):
        assert f">{text}<" in drawn


def test_a_page_without_a_marker_for_a_part_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "performance.md").write_text("<!-- begin other -->\n<!-- end other -->\n")
    with pytest.raises(ValueError, match="other"):
        write(tmp_path, {}, {})
