"""Merging into rows that are there: `Job.merge` and the newest grant, in SQL for both databases."""

from __future__ import annotations

from dispatcher.domain.event_names import TERMINAL


def _terminal(status: str) -> str:
    names = ", ".join(f"'{name}'" for name in sorted(TERMINAL))
    return f"coalesce({status} in ({names}), false)"


def _first(*columns: str) -> str:
    return ",\n    ".join(f"{name} = coalesce(old.{name}, excluded.{name})" for name in columns)


def _if_newer(*columns: str) -> str:
    return ",\n    ".join(
        f"{name} = case when {_NEWER} then excluded.{name} else old.{name} end" for name in columns
    )


def _extreme(sign: str, *columns: str) -> str:
    return ",\n    ".join(
        f"{name} = case when excluded.{name} {sign} old.{name} then excluded.{name} else old.{name} end"
        for name in columns
    )


_NEWER = f"""excluded.status is not null and (
        old.status_at is null or excluded.status_at > old.status_at
        or excluded.status_at = old.status_at
            and ({_terminal("excluded.status")} or not {_terminal("old.status")}))"""

_REST = f"""
    {_first("name", "app_id", "system", "submitted_at", "started_at", "ended_at")},
    {_if_newer("status", "status_at", "message")},
    events = old.events + excluded.events,
    {_extreme("<", "first_event")},
    {_extreme(">", "last_event", "updated_at")}"""

MERGE_JOB = f"""
on conflict (tenant, id) do update set {_first("owner")},{_REST}"""
"""What follows `insert into jobs as old (…) …`: the row `old` was there, `excluded` was accepted after it."""

MERGE_UNCLAIMED_JOB = f"""
on conflict (tenant, id, owner) do update set {_REST}"""
"""What follows `insert into unclaimed_jobs as old (…) …`."""

MERGE_GRANT = """
on conflict (tenant, job_id, owner, username) do update
set granted = excluded.granted, trusted = excluded.trusted, at = excluded.at
where excluded.trusted > old.trusted or excluded.trusted = old.trusted and excluded.at >= old.at"""
"""What follows `insert into grants as old (…) …`: of equal trust the newer one counts."""
