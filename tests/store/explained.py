"""The plans with which PostgreSQL carried statements out, as it did it: how many rows and pages each part read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import msgspec
import pytest

from dispatcher.store.postgres import hot_sql as sql

EXPLAIN = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_buffers": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_triggers": "off",
    "auto_explain.log_format": "json",
    "auto_explain.log_level": "notice",
    "client_min_messages": "notice",
}


class Plan(msgspec.Struct):
    """How a statement was carried out."""

    text: str
    root: dict[str, Any]

    @property
    def removed(self) -> int:
        """Rows that were read and then left out by a condition."""
        return sum(
            int(value * node["Actual Loops"])
            for node in nodes(self.root)
            for name, value in node.items()
            if name.startswith("Rows Removed by")
        )

    @property
    def pages(self) -> int:
        """Pages of tables and indexes that were looked at."""
        return pages(self.root)

    @property
    def whole(self) -> set[str]:
        """Tables that were read from end to end."""
        return {node["Relation Name"] for node in nodes(self.root) if node["Node Type"] == "Seq Scan"}

    def __str__(self) -> str:
        return f"{self.text}\n{outline(self.root)}"


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A node of a plan and all below it."""
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def pages(plan: Mapping[str, Any]) -> int:
    return int(plan.get("Shared Hit Blocks", 0) + plan.get("Shared Read Blocks", 0))


_SHOWN = ("Node Type", "Relation Name", "Index Name", "Index Cond", "Filter", "Join Filter", "Actual Rows")


def outline(plan: dict[str, Any], depth: int = 0) -> str:
    """The plan in lines: what is done with what, rows and pages."""
    removed = [f"{name} {value}" for name, value in plan.items() if name.startswith("Rows Removed")]
    said = [
        *(str(plan[name]) for name in _SHOWN if name in plan),
        f"x {plan.get('Actual Loops', 1)}",
        *removed,
    ]
    line = f"{'  ' * depth}{' | '.join(said)} | {pages(plan)} pages"
    return "\n".join([line, *(outline(part, depth + 1) for part in plan.get("Plans", ()))])


class Plans:
    """Collects the plans of what a database is asked."""

    def __init__(self) -> None:
        self.found: list[Plan] = []

    async def collect(self, url: str, patch: pytest.MonkeyPatch, plan_cache_mode: str) -> None:
        """Begin: for connections to this database that are made from now on."""
        connection = await asyncpg.connect(url)
        name = urlsplit(url).path.lstrip("/")
        for setting, value in {**EXPLAIN, "plan_cache_mode": plan_cache_mode}.items():
            await connection.execute(f"alter database {name} set {setting} = '{value}'")
        await connection.close()
        patch.setitem(sql.SETTINGS, "plan_cache_mode", plan_cache_mode)
        plans = self

        class Listening(asyncpg.Connection):
            def _process_log_message(self, fields: Mapping[str, str], _: object) -> None:
                plans.note(fields["M"])

        patch.setattr(asyncpg, "connect", partial(asyncpg.connect, connection_class=Listening))

    def note(self, message: str) -> None:
        """Keep the plan that a message of the server holds, if it holds one."""
        _, plan, text = message.partition("plan:\n")
        if plan:
            document = msgspec.json.decode(text)
            self.found.append(Plan(document["Query Text"], document["Plan"]))
