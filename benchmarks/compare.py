"""Two revisions on one machine: `make bench ARGS="--compare REV --only P1,P2 --rounds 5"`.

Each is measured with its own code, in turn with the other, one round at a time: what disturbs the machine disturbs
both. The other revision gets a worktree in a temporary directory. It uses this environment's packages, or a
separate environment when its lock file differs.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from sysconfig import get_path

import msgspec
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from benchmarks.report import number

ROOT = Path(__file__).parent.parent
LOCKS = ("requirements.lock", "requirements-dev.lock")
NAMES = "from benchmarks.bars import BARS; print(*[bar.name for bar in BARS])"


class Measured(Struct, frozen=True):
    """A check as the JSON of a run has it, of any revision: the figure, and the ratio to its floor if it has one."""

    bar: str
    what: str
    unit: str
    measured: float
    value: float
    floor: float | None = None


class Run(Struct, frozen=True):
    """What a run says of one name."""

    checks: Sequence[Measured]


class Compared(Struct, frozen=True):
    """One row: the medians of both revisions, of the ratio to the floor where there is one, and new / old."""

    bar: str
    what: str
    unit: str
    old: float
    new: float
    ratio: float | None


class Tree(Struct, frozen=True):
    """The code of a revision, and the Python that runs it."""

    path: Path
    python: Path

    def output(self, *arguments: str) -> str:
        """What a Python program prints in this tree. RuntimeError when it fails; its errors are shown as they come."""
        done = subprocess.run(
            [str(self.python), *arguments], cwd=self.path, stdout=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{self.path}: {' '.join(arguments)} failed with {done.returncode}")
        return done.stdout

    def names(self) -> list[str]:
        """What this revision can measure."""
        return self.output("-c", NAMES).split()

    def measure(self, names: Sequence[str], more: Sequence[str]) -> Mapping[str, Run]:
        """One round."""
        printed = self.output("-m", "benchmarks", "--json", "--rounds", "1", *more, "--only", *names)
        return msgspec.json.decode(printed, type=dict[str, Run])


@contextmanager
def tree_of(revision: str) -> Iterator[Tree]:
    """A worktree of a revision with an environment, until the block ends. CalledProcessError for an unknown one."""
    commit = _git("rev-parse", "--verify", f"{revision}^{{commit}}")
    with tempfile.TemporaryDirectory(prefix="dispatcher-compare-") as directory:
        path = Path(directory, "tree")
        _git("worktree", "add", "--quiet", "--detach", str(path), commit)
        try:
            yield Tree(path, _environment(path))
        finally:
            _git("worktree", "remove", "--force", str(path))


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S607
    return done.stdout.strip()


def _environment(tree: Path) -> Path:
    if any((tree / name).read_bytes() != (ROOT / name).read_bytes() for name in LOCKS):
        subprocess.run(["make", ".venv/.dev"], cwd=tree, stdout=sys.stderr, check=True)  # noqa: S607
        return tree / ".venv/bin/python"
    # Processes of the service start in other directories: there the name of the package has to mean this tree. Paths
    # are searched in their order, and what links the package into the environment is not followed from here.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tree / ".venv"], check=True)
    python = tree / ".venv/bin/python"
    asked = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    Path(packages, "tree.pth").write_text(f"{tree}\n{get_path('purelib')}\n")
    return python


def compare(
    revision: str, only: Sequence[str] | None, rounds: int, more: Sequence[str], tell: Callable[[str], object]
) -> list[Compared]:
    """Measure what both revisions can, or `only` that, in turn; `more` are further arguments of a run."""
    with tree_of(revision) as old:
        new = Tree(ROOT, Path(sys.executable))
        there = set(old.names())
        names = [name for name in only or new.names() if name in there]
        if missing := [name for name in only or () if name not in there]:
            tell(f"{revision} does not measure {', '.join(missing)}")
        if not names:
            return []
        found: dict[Path, list[Mapping[str, Run]]] = {old.path: [], new.path: []}
        for index in range(rounds):
            for tree in (old, new) if index % 2 == 0 else (new, old):
                tell(f"round {index + 1} of {rounds}: {revision if tree is old else 'this tree'}")
                found[tree.path].append(tree.measure(names, more))
        return rows(found[old.path], found[new.path])


def rows(old: Sequence[Mapping[str, Run]], new: Sequence[Mapping[str, Run]]) -> list[Compared]:
    """A row for each check that every round of both has, by its place among those of its name."""
    compared: list[Compared] = []
    for name, run in new[-1].items():
        counts = {len(one[name].checks) for one in (*old, *new)}
        for place in range(min(counts)):
            check = run.checks[place]
            before = statistics.median(one[name].checks[place].value for one in old)
            after = statistics.median(one[name].checks[place].value for one in new)
            unit = check.unit if check.floor is None else "of the floor"
            ratio = after / before if before else None
            compared.append(Compared(check.bar, check.what, unit, before, after, ratio))
    return compared


def show(revision: str, compared: Sequence[Compared]) -> None:
    """Print the table."""
    console = Console() if sys.stdout.isatty() else Console(width=160)
    table = Table("", "what", "unit", revision, "this tree", "new / old")
    for row in compared:
        ratio = "" if row.ratio is None else f"{row.ratio:.3f}"
        table.add_row(row.bar, row.what, row.unit, number(row.old), number(row.new), ratio)
    console.print(table)
