"""What the API answers about matches: which events a subscription would get, and what keeps the others away."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct


class FailedCondition(Struct, frozen=True):
    """What keeps an event from matching: the field of the subscription, and what is wrong there."""

    field: Annotated[str, Meta(examples=["filters[0].data.exit_code.gt"])]
    problem: Annotated[str, Meta(examples=["exit_code is 0, expected more than 0"])]


class TriedEvent(Struct, frozen=True, kw_only=True):
    """An event, and whether the subscription matches it; if not, the first 20 conditions that failed."""

    id: Annotated[str | None, Meta(description="Null if the event was given and not stored.")]
    event: str
    job_id: str
    owner: str | None
    time: Annotated[datetime, Meta(tz=True)]
    matches: bool
    failed: list[FailedCondition]


class MatchList(Struct, frozen=True):
    """The events that were tried, newest first, and how many of them match."""

    items: list[TriedEvent]
    matched: int


class TriedSubscription(Struct, frozen=True, kw_only=True):
    """A subscription, and whether it matches the event as it is now; if not, the first 20 conditions that failed."""

    id: str
    name: str
    matches: bool
    failed: list[FailedCondition]
