"""Every place in `dispatcher.store` that asks the database something, and those that no test of plans has to ask.

A place is a statement that stands as a constant, or a call that carries one out.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from sqlalchemy import Engine, event

import dispatcher.store

FOLDER = Path(dispatcher.store.__file__).parent
RUNS = {"execute", "exec_driver_sql", "rows_of", "heavy_page", "_many", "upsert"}
ASKS = re.compile(r"\s*(with|select|insert|update|delete|set local)\b", re.IGNORECASE)

HOT = (
    *("postgres.hot_sql", "postgres.queue_sql", "postgres.expansions", "postgres.breakers"),
    *("sqlite.hot_sql", "sqlite.queue_sql"),
)
"""The modules whose statements are constants."""

RARE = {
    "postgres.accept": "carries out constants of the hot modules",
    "postgres.breakers": "carries out its own constants",
    "postgres.connection": "asks the server what it is",
    "postgres.connector": "sets up a connection",
    "postgres.events": "carries out constants of the hot modules",
    "postgres.expansions": "carries out its own constants",
    "postgres.leases": "carries out constants of the hot modules",
    "postgres.partitions": "changes the schema",
    "postgres.pooler": "asks the server what it is",
    "postgres.queue": "carries out constants of the hot modules",
    "postgres.queue_sql": "carries out its own constants",
    "postgres.retention": "looks at a whole partition or a range of pages by design; its deletes are in retention",
    "postgres.store": "carries out constants of the hot modules",
    "postgres.subscriptions": "carries out constants of the hot modules",
}
"""Modules whose calls are not looked at, and why."""


COLD = {
    "leases.release_all": "when SQLite's file is opened, of processes that died: at most one",
    "digests._release": "of a digest whose leader is gone, which retention does not let happen",
    "expansions.free_all": "when SQLite's file is opened",
    "postgres.breakers._BEGIN": "what the two after it are made of",
    "postgres.hot_sql.LOCK_LIKE_ACCEPT": "asks for locks only",
    "subscriptions._outermost": "when the store is opened",
    "keys._owner_bound": "once when the service starts",
    "retention.sweep": "one of its three: when a delivery has as many attempts as go at once",
    "sqlite.store._drop_statistics": "when SQLite's file is opened",
    "sqlite.session._engine": "begins a transaction",
    "sqlite.session._prepare": "sets up a connection",
}
"""Constants and functions that no test of plans asks, and why."""


class Place(NamedTuple):
    """Lines of a function of a module that carry a statement out."""

    module: str
    function: str
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.module}.{self.function}, line {self.first}"


def places() -> list[Place]:
    """Those of the store, in the order in which they stand."""
    found: list[Place] = []
    for file in sorted(FOLDER.rglob("*.py")):
        module = _module(file)
        if module not in RARE and not module.startswith("migrations."):
            for function in _functions(ast.parse(file.read_text())):
                found += _calls(module, function)
    return found


def _module(file: Path) -> str:
    """The name of a module within the store."""
    return ".".join(file.relative_to(FOLDER).with_suffix("").parts)


def _functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def _calls(module: str, function: ast.FunctionDef) -> Iterator[Place]:
    if function.name in RUNS:
        return
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and _name(node.func) in RUNS:
            yield Place(module, function.name, node.lineno, node.end_lineno or node.lineno)


def _name(called: ast.expr) -> str:
    return getattr(called, "attr", getattr(called, "id", ""))


def constants() -> dict[str, str]:
    """The statements that stand as constants in the hot modules, without those that are parts of others."""
    found: dict[str, str] = {}
    for module in HOT:
        names = vars(sys.modules[f"dispatcher.store.{module}"])
        own = {name: value for name, value in names.items() if isinstance(value, str) and ASKS.match(value)}
        found |= {
            f"{module}.{name}": value
            for name, value in own.items()
            if not any(value in other for other in own.values() if other != value)
        }
    return found


def is_of(constant: str, statement: str) -> bool:
    """Whether a statement is this constant, with any number of rows where the constant takes them."""
    begin, _, end = constant.partition("{rows}")
    return statement.startswith(begin) and statement.endswith(end)


class Places:
    """Notes which places of the store ask something, while it is in use as a context manager."""

    def __init__(self) -> None:
        self._lines: set[tuple[str, int]] = set()
        self.texts: set[str] = set()

    def __enter__(self) -> Places:
        event.listen(Engine, "before_cursor_execute", self._note)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(Engine, "before_cursor_execute", self._note)

    def _note(self, _: object, __: object, text: str, *___: Any) -> None:
        self.texts.add(text)
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            file = Path(frame.f_code.co_filename)
            if file.is_relative_to(FOLDER):
                self._lines.add((_module(file), frame.f_lineno))
            frame = frame.f_back

    def asked(self, place: Place) -> bool:
        return any((place.module, line) in self._lines for line in range(place.first, place.last + 1))
