"""What a job asked for against what it used, where its event says so in units that can be known."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime

from msgspec import Struct

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.times import parse_time
from dispatcher.targets.email.quantities import (
    Memory,
    memory_of,
    number_of,
    seconds_of,
    shown_number,
    shown_seconds,
)

Place = Mapping[str, object]


class Usage(Struct, frozen=True):
    """One line of the table; what is not known is empty. `share` is used of asked for, such as `87 %`."""

    what: str
    asked: str
    used: str
    share: str


# Each of these may stand in the publisher's data or in the job document, with the unit of a bare number; the first that
# is found counts.
_LIMITS = {
    "time_limit": 1.0,
    "timeLimit": 1.0,
    "requestedTime": 1.0,
    "maxMinutes": 60.0,
    "maxHours": 3600.0,
    "maxRunTime": 1.0,
}
_ELAPSED = {"elapsed": 1.0, "elapsed_seconds": 1.0, "wall_clock": 1.0}
_CPU_TIME = {"cpu_time": 1.0, "cpuTime": 1.0}
_MEMORY_ASKED = {
    "memory": "",
    "requested_memory": "",
    "memoryPerNode": "",
    "memoryMB": "M",
    "memory_mb": "M",
    "memory_gb": "G",
    "memoryGB": "G",
    "memory_bytes": "B",
    "memory_per_node": "M",
    "memory_per_cpu": "M",
    "maxMemory": "",
    "ReqMem": "",
}
_MEMORY_USED = {
    "max_rss": "",
    "maxRss": "",
    "MaxRSS": "",
    "memory_used": "",
    "memoryUsed": "",
    "max_rss_kb": "K",
    "max_rss_mb": "M",
    "max_rss_bytes": "B",
    "memory_used_mb": "M",
    "memory_used_bytes": "B",
}
_PER = {"memoryPerNode": "node", "memory_per_node": "node", "memory_per_cpu": "CPU"}
_NODES = ("nodes", "nodeCount", "node_count")
_CPUS = ("cpus", "ncpus")
_CPUS_OF_NODE = ("processorsPerNode", "coresPerNode")
_ABSURD = 10
"""Used of asked for beyond which the two cannot be of one kind."""


def usage_of(places: Sequence[Place]) -> tuple[Usage, ...]:
    """The lines of which at least one side is known."""
    spent, limit = _seconds(places, _ELAPSED), _seconds(places, _LIMITS)
    if spent is None:
        spent = _between(places)
    rows = [Usage("Wall clock", _clock(limit), _clock(spent), _share(spent, limit)), _memory(places)]
    nodes = _number(places, _NODES)
    cpus = _number(places, _CPUS)
    if cpus is None and (of_node := _number(places, _CPUS_OF_NODE)) is not None:
        cpus = of_node * (nodes or 1)
    cpu_time = _seconds(places, _CPU_TIME)
    possible = spent * cpus if spent is not None and cpus is not None else None
    what = "CPUs" if cpu_time is None else "CPU time"
    rows.append(Usage(what, _cores(cpus, cpu_time), _clock(cpu_time), _share(cpu_time, possible)))
    rows.append(Usage("Nodes", "" if nodes is None else shown_number(nodes), "", ""))
    return tuple(row for row in rows if row.asked or row.used)


def _memory(places: Sequence[Place]) -> Usage:
    asked, used = _amount(places, _MEMORY_ASKED), _amount(places, _MEMORY_USED)
    # What one CPU may have says nothing of what a job uses.
    share = _share(used.bytes, asked.bytes) if asked and used and asked.per != "CPU" else ""
    return Usage("Memory", str(asked or ""), str(used or ""), share)


def _amount(places: Sequence[Place], names: Mapping[str, str]) -> Memory | None:
    for place in places:
        for name, unit in names.items():
            found = memory_of(place.get(name), unit)
            if found is not None and found.bytes >= 1:
                return Memory(found.bytes, found.per or _PER.get(name, ""))
    return None


def _number(places: Sequence[Place], names: Sequence[str]) -> float | None:
    for place in places:
        for name in names:
            number = number_of(place.get(name))
            if number is not None and 0 < number < math.inf:
                return number
    return None


def _seconds(places: Sequence[Place], names: Mapping[str, float]) -> float | None:
    for place in places:
        for name, unit in names.items():
            found = seconds_of(place.get(name), unit)
            if found is not None:
                return found
    return None


def _between(places: Sequence[Place]) -> float | None:
    start, end = (_time(places, name) for name in ("startTime", "endTime"))
    return (end - start).total_seconds() if start and end and end >= start else None


def _time(places: Sequence[Place], name: str) -> datetime | None:
    for place in places:
        value = place.get(name)
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            with suppress(InvalidInput):
                return parse_time(name, value)
    return None


def _share(used: float | None, asked: float | None) -> str:
    if used is None or not asked or math.isinf(asked) or used > _ABSURD * asked:
        return ""
    return f"{100 * used / asked:.0f} %"


def _cores(cpus: float | None, spent: float | None) -> str:
    unit = "" if spent is None else " CPU" if cpus == 1 else " CPUs"
    return "" if cpus is None else f"{shown_number(cpus)}{unit}"


def _clock(seconds: float | None) -> str:
    return "" if seconds is None else shown_seconds(seconds)
