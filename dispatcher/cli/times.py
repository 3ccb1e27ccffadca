"""Times as they are given on the command line."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

_AGE = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment(text: str) -> datetime:
    """`90m` ago, or a time. Raises typer.BadParameter."""
    if age := _AGE.fullmatch(text):
        return datetime.now(UTC) - timedelta(**{_UNITS[age[2]]: int(age[1])})
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        expected = "expected an age such as 90m, 12h or 7d, or a time such as 2026-05-04T12:00:00Z"
        raise typer.BadParameter(f"{expected}, got {text!r}") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def duration(text: str) -> float:
    """`90s`, `30m`, `2h` or `1d` in seconds. Raises typer.BadParameter."""
    if age := _AGE.fullmatch(text):
        return timedelta(**{_UNITS[age[2]]: int(age[1])}).total_seconds()
    raise typer.BadParameter(f"expected a time such as 90s, 30m or 2h, got {text!r}")


Since = Annotated[
    datetime | None,
    typer.Option(
        "--since",
        parser=moment,
        metavar="AGE|TIME",
        help="Only those since then: 90m, 12h, 7d or 2026-05-04T12:00Z.",
    ),
]
