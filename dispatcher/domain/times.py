"""Times as others write them: RFC 3339 and what comes near to it, and numbers of seconds since 1970."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta, timezone

import msgspec

from dispatcher.domain.errors import InvalidInput

_NUMBER = re.compile(r"\d{9,19}(\.\d{1,9})?")
_ISO = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d|\d{8})[Tt _]\s*(?P<hour>\d\d):?(?P<minute>\d\d)"
    r"(:?(?P<second>\d\d)([.,](?P<fraction>\d+))?)?"
    r"\s*((?P<utc>[Zz]|UTC|GMT)|(?P<sign>[+-])(?P<hours>\d\d)(:?(?P<minutes>\d\d))?)?\s*(\[[^\]]*\])?"
)
_LONGEST = 80
"""Characters that a time may have."""

_FIRST = 1e8
"""Seconds since 1970 that a number stands for at the least, which is a day in 1973: smaller ones are no times."""

# What a number counts, by its size: seconds reach until 1e11 (the year 5138), then come milliseconds, and so on.
_UNITS = ((1e11, 1), (1e14, 1_000), (1e17, 1_000_000), (1e20, 1_000_000_000))


def parse_time(field: str, value: object) -> datetime:
    """A time in UTC; one without an offset is taken as UTC. Raises InvalidInput that names `field`.

    A number counts seconds, milliseconds, microseconds or nanoseconds since 1970, which its size tells.
    """
    moment = _parsed(value)
    if moment is None:
        raise InvalidInput(
            field, f"expected a time such as 2014-10-24T04:48:08-05:00, got {value!r:.100}"
        ) from None
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise InvalidInput(
            field, f"expected a time between the years 1 and 9999 in UTC, got {value!r:.100}"
        ) from None


def from_number(value: float) -> datetime | None:
    """The time of a number since 1970, whose size tells what it counts; None when it is none after 1970."""
    if not math.isfinite(value) or value <= 0:
        return None
    if value < _UNITS[0][0]:
        return datetime.fromtimestamp(value, UTC)
    for limit, unit in _UNITS:
        if value < limit:
            whole, rest = divmod(value, unit)
            return datetime.fromtimestamp(whole, UTC) + timedelta(seconds=rest / unit)
    return None


def _parsed(value: object) -> datetime | None:
    try:
        return msgspec.convert(value, datetime)
    except msgspec.ValidationError:
        pass
    if isinstance(value, str):
        return _from_text(value.strip()) if len(value) <= _LONGEST else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        return from_number(value) if value >= _FIRST else None
    return None


def _from_text(text: str) -> datetime | None:
    if _NUMBER.fullmatch(text):
        return from_number(float(text) if "." in text else int(text))
    found = _ISO.fullmatch(text)
    if found is None:
        return None
    second = int(found["second"] or 0)
    leap = second == 60  # a leap second: the next one
    fraction = int((found["fraction"] or "0")[:6].ljust(6, "0"))
    date = found["date"].replace("-", "")
    try:
        moment = datetime(
            int(date[:4]),
            int(date[4:6]),
            int(date[6:]),
            int(found["hour"]),
            int(found["minute"]),
            59 if leap else second,
            0 if leap else fraction,
            _offset(found),
        )
        return moment + timedelta(seconds=leap)
    except (ValueError, OverflowError):
        return None


def _offset(found: re.Match[str]) -> timezone:
    if found["sign"] is None:
        return UTC
    minutes = int(found["hours"]) * 60 + int(found["minutes"] or 0)
    return timezone(timedelta(minutes=-minutes if found["sign"] == "-" else minutes))
