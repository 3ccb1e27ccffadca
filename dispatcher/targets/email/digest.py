"""One message about many events: counts by status, the first failures, a table of jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from msgspec import Struct

from dispatcher.domain.digests import DigestPolicy
from dispatcher.domain.event_names import status_of
from dispatcher.domain.events import Event
from dispatcher.domain.jobs import counted_time
from dispatcher.targets.email.template_context import Tone, build_context, one_line, tone_of

DIGEST = "_digest"
"""The name of the templates."""

FAILURES = 10
"""Failures that are listed with their cause."""

STATUSES = 12
"""Statuses that are counted one by one."""


class Row(Struct, frozen=True):
    """A job and where it stands after these events; `cause` is why it failed."""

    job_id: str
    job_name: str
    status: str
    tone: Tone
    time: str
    cause: str
    link: str


class DigestContext(Struct, frozen=True, kw_only=True):
    """What the templates of digests see.

    `counts` says how many jobs stand where, failures first. `failures` are the first ten in the order of acceptance,
    `rows` the latest jobs; `more_failures` and `more_rows` say how many are not among them. `tone` is bad when one
    failed, good when all have finished. `subscription` is its name, `group` what these events have in common
    (`array_id 4711`); each is empty when there is none.
    """

    subscription: str
    group: str
    events: int
    jobs: int
    tone: Tone
    counts: Sequence[tuple[str, int]]
    failures: Sequence[Row]
    more_failures: int
    rows: Sequence[Row]
    more_rows: int
    system: str
    first_time: str
    last_time: str


def digest_context(events: Sequence[Event], policy: DigestPolicy, subscription: str = "") -> DigestContext:
    """What a digest says of these events, which are at least one and stand as they were accepted."""
    latest = _latest(events)
    failed = [event for event in latest.values() if tone_of(event.event) == "bad"]
    # Of those with the same time the one that was accepted last is the latest.
    shown = sorted(latest.values(), key=lambda event: event.time)[::-1][: policy.max_rows]
    rows = [_row(event) for event in shown]
    systems = {build_context(event).system for event in shown}
    times = [event.time for event in events]
    return DigestContext(
        subscription=one_line(subscription),
        group=_group(events, policy),
        events=len(events),
        jobs=len(latest),
        tone=_tone(latest.values()),
        counts=_counts(latest.values()),
        failures=[_row(event) for event in failed[:FAILURES]],
        more_failures=max(len(failed) - FAILURES, 0),
        rows=rows,
        more_rows=len(latest) - len(rows),
        system=systems.pop() if len(systems) == 1 else "",
        first_time=f"{min(times):%Y-%m-%d %H:%M} UTC",
        last_time=f"{max(times):%Y-%m-%d %H:%M} UTC",
    )


def _group(events: Sequence[Event], policy: DigestPolicy) -> str:
    """What all these events have in common of what they are grouped by."""
    groups = {policy.values(event) for event in events} if policy.group_by else set()
    if len(groups) != 1:
        return ""
    pairs = zip(policy.group_by, groups.pop(), strict=True)
    return one_line(", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in pairs if value))


def _counts(events: Collection[Event]) -> list[tuple[str, int]]:
    """How many jobs stand where, failures first; a site may have any number of statuses, so the last are one."""
    counts = Counter(_status(event) for event in events)
    ordered = sorted(counts.items(), key=lambda item: (tone_of(item[0]) != "bad", -item[1], item[0]))
    others = sum(count for _, count in ordered[STATUSES:])
    return [*ordered[:STATUSES], ("other", others)] if others else ordered


def _tone(events: Collection[Event]) -> Tone:
    tones = {tone_of(event.event) for event in events}
    return "bad" if "bad" in tones else "good" if tones == {"good"} else "neutral"


def _latest(events: Sequence[Event]) -> dict[tuple[str, str], Event]:
    """Each job's event that says where it stands: the latest by its own time, one with a status before any other."""
    found: dict[tuple[str, str], Event] = {}
    for event in events:
        key = (event.tenant, event.job_id)
        if key not in found or _rank(event) >= _rank(found[key]):
            found.pop(key, None)  # so that they stand in the order of acceptance
            found[key] = event
    return found


def _rank(event: Event) -> tuple[bool, float]:
    return status_of(event.event) is not None, counted_time(event).timestamp()


def _status(event: Event) -> str:
    return one_line(status_of(event.event) or event.event)


def _row(event: Event) -> Row:
    facts = build_context(event)
    return Row(
        job_id=facts.job_id,
        job_name=facts.job_name,
        status=_status(event),
        tone=facts.tone,
        time=f"{event.time:%Y-%m-%d %H:%M} UTC",
        cause=facts.cause if facts.tone == "bad" else "",
        link=facts.link,
    )
