"""What a job asked for against what it used, where its event says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.times import parse_time

Place = Mapping[str, object]


class Usage(Struct, frozen=True):
    """One line of the table; what is not known is empty. `share` is used of asked for, such as `87 %`."""

    what: str
    asked: str
    used: str
    share: str


# Each of these may stand in the publisher's data or in the job document; the first that is found counts.
_SECONDS = ("time_limit", "timeLimit", "requestedTime")
_HOURS, _MINUTES = ("maxHours",), ("maxMinutes",)
_CLOCK = ("maxRunTime",)
_ELAPSED = ("elapsed", "elapsed_seconds", "wall_clock")
_MEMORY_ASKED = ("memory", "requested_memory", "memoryPerNode", "memoryMB", "maxMemory")
_MEMORY_USED = ("max_rss", "maxRss", "memory_used", "memoryUsed")
_NODES = ("nodes", "nodeCount")
_CPUS = ("cpus", "ncpus")
_CPUS_OF_NODE = ("processorsPerNode", "coresPerNode")
_CPU_TIME = ("cpu_time", "cpuTime")


def usage_of(places: Sequence[Place]) -> tuple[Usage, ...]:
    """The lines of which at least one side is known."""
    seconds = _number(places, _ELAPSED) or _between(places)
    limit = _limit(places)
    rows = [Usage("Wall clock", _clock(limit), _clock(seconds), _share(seconds, limit))]
    asked, used = _value(places, _MEMORY_ASKED), _value(places, _MEMORY_USED)
    rows.append(Usage("Memory", _shown(asked), _shown(used), _share(_plain(used), _plain(asked))))
    cpus = _number(places, _CPUS) or _product(_number(places, _CPUS_OF_NODE), _number(places, _NODES) or 1)
    spent = _number(places, _CPU_TIME)
    possible = _product(seconds, cpus)
    what = "CPUs" if spent is None else "CPU time"
    rows.append(Usage(what, _cores(cpus, spent), _clock(spent), _share(spent, possible)))
    rows.append(Usage("Nodes", _shown(_value(places, _NODES)), "", ""))
    return tuple(row for row in rows if row.asked or row.used)


def _value(places: Sequence[Place], names: Sequence[str]) -> object:
    return next((place[name] for place in places for name in names if _is_scalar(place.get(name))), None)


def _is_scalar(value: object) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool) and value != ""


def _number(places: Sequence[Place], names: Sequence[str]) -> float | None:
    return _plain(_value(places, names))


def _plain(value: object) -> float | None:
    """The value as a number that makes sense here; a text with a unit is none."""
    try:
        number = float(value) if isinstance(value, (str, int, float)) else None
    except (ValueError, OverflowError):
        return None
    return number if number is not None and 0 <= number < 1e15 else None


def _limit(places: Sequence[Place]) -> float | None:
    if (seconds := _number(places, _SECONDS)) is not None:
        return seconds
    for names, factor in ((_MINUTES, 60.0), (_HOURS, 3600.0)):
        if (number := _number(places, names)) is not None:
            return number * factor
    return _of_clock(_value(places, _CLOCK))


def _of_clock(value: object) -> float | None:
    """Seconds in HH:MM:SS."""
    parts = value.split(":") if isinstance(value, str) else []
    if len(parts) != 3 or not all(part.isdigit() and len(part) < 6 for part in parts):
        return None
    hours, minutes, seconds = map(int, parts)
    return float(3600 * hours + 60 * minutes + seconds)


def _between(places: Sequence[Place]) -> float | None:
    start, end = (_time(places, name) for name in ("startTime", "endTime"))
    return (end - start).total_seconds() if start and end and end >= start else None


def _time(places: Sequence[Place], name: str) -> datetime | None:
    value = _value(places, (name,))
    try:
        return parse_time(name, value) if isinstance(value, str) else None
    except InvalidInput:
        return None


def _product(*factors: float | None) -> float | None:
    product = 1.0
    for factor in factors:
        if factor is None:
            return None
        product *= factor
    return product


def _share(used: float | None, asked: float | None) -> str:
    return f"{100 * used / asked:.0f} %" if used is not None and asked else ""


def _shown(value: object) -> str:
    return "" if value is None else " ".join(str(value).split())[:60]


def _unless(make: Callable[[float], str], value: float | None) -> str:
    return "" if value is None else make(value)


def _cores(cpus: float | None, spent: float | None) -> str:
    unit = "" if spent is None else " CPU" if cpus == 1 else " CPUs"
    return _unless(lambda number: f"{number:g}{unit}", cpus)


def _clock(seconds: float | None) -> str:
    def clock(total: float) -> str:
        minutes, rest = divmod(round(total), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{rest:02}"

    return _unless(clock, seconds)
