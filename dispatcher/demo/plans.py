"""The demo's subscriptions, each with the receiver that it goes to and the events that it should get."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec import Struct

from dispatcher.demo.story import PlannedEvent
from dispatcher.domain.event_names import is_terminal

RETRY: Mapping[str, object] = {"strategy": "delayed", "delay": 1, "limit": 30, "jitter": 0.2, "max_age": 120}

RETRY_AFTER = 2
"""Seconds: what a busy receiver asks for."""

OWNER = "demo"
"""The one owner who has a separate key; all other subscriptions are made with the admin key."""


class Plan(Struct, frozen=True, kw_only=True):
    """One subscription and its receiver.

    `path` is its URL behind the receiver's host; with `to` it is e-mail to that address. `wants` says which events it
    should get: what the service delivers is compared with that. The receiver's port opens after `opens_after` seconds
    of the story; its first `busy` requests are answered with 503 and `Retry-After`.
    """

    name: str
    path: str
    events: tuple[str, ...]
    wants: Callable[[PlannedEvent], bool]
    filters: tuple[Mapping[str, object], ...] = ()
    body: Mapping[str, object] | None = None
    to: str | None = None
    by_owner: bool = False
    opens_after: float = 0.0
    busy: int = 0

    @property
    def trouble(self) -> str:
        """What its receiver does wrong, in words."""
        if self.opens_after:
            return f"nothing listens on its port for {self.opens_after:g} s"
        if self.busy:
            return f"it answers its first {self.busy} requests with 503, Retry-After: {RETRY_AFTER}"
        return ""

    def request(self, receiver: str) -> dict[str, object]:
        """What `POST /v1/subscriptions` is asked for; `receiver` is scheme, host and port of its URL."""
        webhook = {"kind": "webhook", "url": receiver + self.path, "body": self.body}
        return {
            "name": self.name,
            "events": self.events,
            "filters": self.filters,
            "target": webhook if self.to is None else {"kind": "email", "to": [self.to]},
            "retry": RETRY,
        }


MAIL = Plan(
    name="a person",
    path="",
    to="ann@example.org",
    events=("FAILED",),
    wants=lambda event: event.event == "FAILED",
)
"""The one that sends e-mail."""

PLANS = (
    # The three URLs of the job monitoring guide.
    Plan(
        name="portal",
        path="/?job_id=${JOB_ID}&job_status=${EVENT}",
        events=("*",),
        wants=lambda event: True,
    ),
    Plan(
        name="workflow",
        path="/trigger/job/${JOB_NAME}/${EVENT}",
        events=("*",),
        wants=lambda event: event.owner == OWNER,
        by_owner=True,
    ),
    Plan(
        name="archive",
        path="/webhooks/?nonce=sdfkajerouiwe234289fahlkqr&id=${JOB_ID}&status=${EVENT}"
        "&start=${JOB_START_TIME}&end=${JOB_END_TIME}&url=${JOB_ARCHIVE_URL}",
        events=("FINISHED", "ARCHIVING*"),
        wants=lambda event: event.event in ("FINISHED", "ARCHIVING", "ARCHIVING_FINISHED"),
    ),
    Plan(
        name="on call",
        path="/alerts",
        events=("@terminal",),
        filters=(
            {"not": {"exact": {"event": "FINISHED"}}},
            {"any": [{"exact": {"owner": "demo"}}, {"prefix": {"owner": "rc"}}]},
        ),
        body={"text": "${JOB_NAME} of ${JOB_OWNER} is ${EVENT}: ${JOB_ERROR}"},
        wants=lambda event: (
            event.event in ("FAILED", "KILLED", "STOPPED") and event.owner in ("demo", "rcurie")
        ),
    ),
    Plan(
        name="late",
        path="/started/${JOB_ID}",
        events=("RUNNING",),
        wants=lambda event: event.event == "RUNNING",
        opens_after=8.0,
    ),
    Plan(
        name="busy",
        path="/done/${JOB_ID}",
        events=("@terminal",),
        wants=lambda event: is_terminal(event.event),
        busy=3,
    ),
    Plan(
        name="never",
        path="/alarm/${JOB_ID}",
        events=("ARCHIVING_FAILED",),
        wants=lambda event: event.event == "ARCHIVING_FAILED",
    ),
)
