"""What the command line prints: tables and fields for people, JSON for machines.

Names and messages come from publishers and receivers: nothing in them may command the terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import msgspec
from msgspec import Struct
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDE = 10_000
_STYLES = {
    "delivered": "green",
    "active": "green",
    "exhausted": "red",
    "disabled": "red",
    "cancelled": "yellow",
    "paused": "yellow",
    "FINISHED": "green",
    "FAILED": "red",
}


def console() -> Console:
    """Stdout as rich sees it. What is no terminal gets long lines instead of folded ones, for grep."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE)


def plain(value: object) -> str:
    """A value on one line, without anything that a terminal would obey."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
        value = ", ".join(value)
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def cell(value: object) -> Text:
    """A value as a rich text, in its colour if it has one."""
    text = plain(value)
    return Text(text, style=_STYLES.get(text, ""))


def print_json(value: object) -> None:
    """A document or a model as indented JSON."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def print_items(
    items: Sequence[Struct], columns: Sequence[str], as_json: bool, nothing: str, hint: str | None = None
) -> None:
    """A list: these fields of each item as a table, or the whole items as JSON.

    `nothing` is said of none, and the server's `hint` why.
    """
    if hint and not items:
        say(f"{nothing}\n  {hint}")
    elif not items and not as_json:
        say(nothing)
    if as_json:
        print_json(items)
    elif items:
        print_table(columns, ([getattr(item, name) for name in columns] for item in items))


def print_table(columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """A table whose headings are `columns`."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in columns:
        # An id that is cut or folded cannot be copied.
        table.add_column(name.replace("_", " "), no_wrap=name == "id", overflow="fold")
    for row in rows:
        table.add_row(*(cell(_short_time(value)) for value in row))
    console().print(table)


def print_fields(value: Struct | Mapping[str, object], skip: Iterable[str] = ()) -> None:
    """A model or a document, one field a line."""
    left_out = set(skip)
    document: Mapping[str, object] = msgspec.to_builtins(value)
    shown = {name: value for name, value in document.items() if name not in left_out}
    width = max(map(len, shown), default=0)
    out = console()
    for name, field in shown.items():
        line = Text.assemble((f"{plain(name):<{width}}  ", "dim"), cell(_short_time(field)))
        out.print(line, soft_wrap=True)


def say(text: str) -> None:
    """A line for people on stderr, so that stdout holds results only."""
    sys.stderr.write("\n".join(plain(line) for line in text.split("\n")) + "\n")


def _short_time(value: object) -> object:
    """A time, also as RFC 3339 has it in UTC, to the second; anything else as it is."""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
    if isinstance(value, str) and len(value) >= 20 and value[10:11] == "T" and value.endswith("Z"):
        return f"{value[:10]} {value[11:19]}Z"
    return value
