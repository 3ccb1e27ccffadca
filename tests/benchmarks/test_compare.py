"""Two revisions are compared by the medians of their rounds."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks.compare import ROOT, Measured, Run, rows, tree_of


def run(*values: float, floor: float | None = 100.0) -> dict[str, Run]:
    return {"P1": Run([Measured("P1", "one", "events/s", value, value, floor) for value in values])}


def test_each_row_is_a_ratio_of_medians_and_one_slow_round_does_not_count() -> None:
    (row,) = rows([run(0.5), run(0.4), run(0.1)], [run(0.6), run(0.5), run(9.0)])
    assert (row.old, row.new, row.unit) == (0.4, 0.6, "of the floor")
    assert row.ratio == pytest.approx(1.5)


def test_what_was_nothing_before_has_no_ratio() -> None:
    (row,) = rows([run(0.0, floor=None)], [run(3.0, floor=None)])
    assert (row.ratio, row.unit) == (None, "events/s")


@pytest.mark.long
def test_a_revision_is_measured_with_its_own_code_also_from_another_directory(tmp_path: Path) -> None:
    with tree_of("HEAD") as tree:
        asked = [str(tree.python), "-c", "import dispatcher, msgspec; print(dispatcher.__file__)"]
        done = subprocess.run(asked, cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True)
        assert Path(done.stdout.strip()) == tree.path / "dispatcher/__init__.py"
        assert "P1" in tree.names()
    assert not tree.path.exists()
    listed = subprocess.run(
        ("git", "worktree", "list"),  # noqa: S607
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert str(tree.path) not in listed.stdout
