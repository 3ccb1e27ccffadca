"""CPU time of processes, from /proc (Linux): what an event costs each of them, however busy the machine is."""

from __future__ import annotations

import os
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system seconds of a process and all that it started, as long as they run."""
    own = _stat(pid)
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return (int(own[11]) + int(own[12])) / _TICK + sum(cpu_seconds(int(child)) for child in children)


def _stat(pid: int) -> list[str]:
    # The name in parentheses may hold spaces; the fields after it do not.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
