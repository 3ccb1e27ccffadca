"""Numbers, amounts of memory and times as batch systems write them, and how a person reads them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping

from msgspec import Struct

_UNITS = ("", "K", "M", "G", "T", "P", "E")
# 64G, 4.0 GB, 4194304K, 512Mi, 64,000 MB, 64 Gbytes, 4Gn (per node) and 2000Mc (per CPU) of Slurm's ReqMem.
_MEMORY = re.compile(
    r"(\d+(?:[.,]\d+)?|\d{1,3}(?:,\d{3})+)\s*([kmgtpe]?)(i?b?|bytes?|ibytes?)"
    r"\s*(n|c|(?:/|per[ _-]?)(?:node|cpu|core))?",
    re.IGNORECASE,
)
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+")
# 1-02:03:04, 02:03:04, 03:04 and 03:04.567 of Slurm; HH:MM:SS of others.
_CLOCK = re.compile(r"(?:(\d{1,5})-)?(\d{1,6}):(\d{1,2})(?::(\d{1,2}))?(?:\.\d+)?")
# 1-02 of Slurm, and 1:02:03:04 of others.
_DAYS_AND_HOURS = re.compile(r"\d{1,5}-\d{1,2}")
_FOUR_PARTS = re.compile(r"(\d{1,5}):(\d{1,2}:\d{1,2}:\d{1,2})")
# 1h30m, 90 min, 2 days 3 hours, PT1H30M of ISO 8601.
_SPAN = re.compile(
    r"(?=.*\d)P?(?:(\d{1,9}) ?d(?:ays?)?)?[ ,]*T?(?:(\d{1,9}) ?h(?:(?:ou)?rs?)?)?"
    r"[ ,]*(?:(\d{1,9}) ?m(?:in(?:ute)?s?)?)?[ ,]*(?:(\d{1,9})(?:\.\d{1,9})? ?s(?:ec(?:ond)?s?)?)?",
    re.IGNORECASE,
)
_MOST = 1e18


class Memory(Struct, frozen=True):
    """An amount in bytes; `per` is `node` or `CPU` where it is for each of these."""

    bytes: float
    per: str = ""

    def __str__(self) -> str:
        return f"{shown_bytes(self.bytes)}{f' per {self.per}' if self.per else ''}"


def number_of(value: object) -> float | None:
    """A number: as one, as text, or as Slurm's object `{"set", "infinite", "number"}`; infinity is without a limit."""
    if isinstance(value, Mapping):
        if value.get("infinite") is True:
            return math.inf
        return None if value.get("set") is False else number_of(value.get("number"))
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    if isinstance(value, str) and value.strip().upper() in ("UNLIMITED", "INFINITE"):
        return math.inf
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if abs(number) < _MOST else None  # also when it is none


def memory_of(value: object, unit: str) -> Memory | None:
    """An amount of memory; `unit` is that of a bare number (`K`, `M`, `G`, `B`), empty when it is not known."""
    number = number_of(value)
    if number is not None:
        known = unit and 0 < number < _MOST
        return Memory(number * 1024 ** _UNITS.index(unit.removesuffix("B"))) if known else None
    found = _MEMORY.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or not (found[2] or found[3]):
        return None
    per = (found[4] or "").lower()
    digits = found[1].replace(",", "" if _THOUSANDS.fullmatch(found[1]) else ".")
    amount = float(digits) * 1024 ** _UNITS.index(found[2].upper())
    return Memory(amount, "node" if per.endswith(("n", "node")) else "CPU" if per else "")


def seconds_of(value: object, unit: float = 1.0) -> float | None:
    """Seconds: a number of `unit`, or a time such as 1-02:03:04; infinity is without a limit.

    Slurm's objects for limits are minutes.
    """
    number = number_of(value)
    if number is not None:
        seconds = number * (60.0 if isinstance(value, Mapping) else unit)
        return seconds if seconds >= 0 else None
    text = value.strip()[:40] if isinstance(value, str) else ""
    if _DAYS_AND_HOURS.fullmatch(text):
        text = f"{text}:00"
    found = _CLOCK.fullmatch(_FOUR_PARTS.sub(r"\1-\2", text))
    if found is None:
        return _span(text)
    days, first, second, third = (int(part or 0) for part in found.groups())
    if found[1] is None and found[4] is None:
        return 60.0 * first + second
    return 86400.0 * days + 3600.0 * first + 60.0 * second + third


def _span(text: str) -> float | None:
    found = _SPAN.fullmatch(text)
    if found is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return 86400.0 * days + 3600.0 * hours + 60.0 * minutes + seconds


def shown_bytes(amount: float) -> str:
    """`63.3 GB`; a unit is 1024 of the one before, as batch systems have it."""
    step = min(int(math.log(amount, 1024)), len(_UNITS) - 1) if amount >= 1 else 0
    scaled = amount / 1024**step
    if step < len(_UNITS) - 1 and scaled >= 1023.95:
        step, scaled = step + 1, scaled / 1024
    digits = f"{scaled:.0f}" if scaled >= 99.95 or step == 0 else f"{scaled:.1f}".removesuffix(".0")
    return f"{digits} {_UNITS[step]}B"


def shown_seconds(seconds: float) -> str:
    """`1:02:03`, or `3 days 1:02:03`; `unlimited` when it is infinite."""
    if math.isinf(seconds):
        return "unlimited"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    clock = f"{hours}:{minutes:02}:{rest:02}"
    return f"{days} day{'' if days == 1 else 's'} {clock}" if days else clock


def shown_number(number: float) -> str:
    """`100,000` or `0.25`: no exponent, and no more digits than somebody reads."""
    if math.isinf(number):
        return "unlimited"
    if math.isnan(number):
        return ""
    if 0 < abs(number) < 0.0001 or abs(number) >= 1e15:
        return f"{number:.3g}"
    if number == int(number):
        return f"{int(number):,}" if abs(number) >= 10_000 else str(int(number))
    return f"{number:,.4f}".rstrip("0") if abs(number) < 1000 else f"{number:,.1f}"


def shown(value: object) -> str:
    """Any value as a person reads it: nothing for none, JSON's words for yes and no, and never Python's own form."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return {None: "", True: "true", False: "false"}[value]
    if isinstance(value, (list, tuple)):
        return ", ".join(text for one in value[:100] if (text := shown(one)))
    if isinstance(value, Mapping):
        slurms = value.keys() >= {"set", "number"}
        number = number_of(value) if slurms else None
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return ("" if number is None else shown_number(number)) if slurms else text
    if isinstance(value, float) or (isinstance(value, int) and abs(value) >= _MOST):
        return (
            shown_number(float(value))
            if isinstance(value, float) or abs(value) < 1e300
            else "more than 1e300"
        )
    return str(value)
