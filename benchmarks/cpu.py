"""CPU time and memory of processes, from /proc (Linux): what an event costs each, however busy the machine is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system seconds of a process and of all that it started, also of what has ended."""
    try:
        own = _stat(pid)
    except (FileNotFoundError, ProcessLookupError):
        return 0.0  # it ended meanwhile: its parent counts it
    return sum(int(ticks) for ticks in own[11:15]) / _TICK + sum(map(cpu_seconds, children(pid)))


def peak_memory(pid: int) -> int:
    """Bytes: the most that a process and each that it started had resident (pages that are shared count for each)."""
    status = Path(f"/proc/{pid}/status").read_text()
    (peak,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(peak.split()[1]) + sum(map(peak_memory, children(pid)))


def children(pid: int) -> list[int]:
    """The processes that a process started and that run."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


class Meter:
    """What several processes spend from now on."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = pids
        self._before = {name: cpu_seconds(pid) for name, pid in pids.items()}

    def each(self, count: int) -> dict[str, float]:
        """µs of CPU since then for each of `count` things."""
        spent = {name: cpu_seconds(pid) - self._before[name] for name, pid in self._pids.items()}
        return {name: 1e6 * seconds / count for name, seconds in spent.items()}


def _stat(pid: int) -> list[str]:
    # The name in parentheses may hold spaces; the fields after it do not.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
