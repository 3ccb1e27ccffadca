"""Jobs and their history as Tapis v3 shows them. What no event says is null, or is left to the job's own document."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dispatcher.api.secret_fields import hide_in_document, hide_secrets
from dispatcher.compat.tapis_v3.conditions import Searched
from dispatcher.compat.tapis_v3.event_model import status_as_theirs
from dispatcher.compat.tapis_v3.payload import as_tapis_event
from dispatcher.domain.events import Event
from dispatcher.domain.jobs import Job
from dispatcher.store.mapping import made_at

SUMMARY = (
    *("uuid", "name", "owner", "tenant", "appId", "appVersion", "created", "status", "condition"),
    *("remoteStarted", "ended", "execSystemId", "archiveSystemId", "lastUpdated"),
)
ATTRIBUTES = (*SUMMARY, "lastMessage", "remoteSubmitted")

SEARCHED = Searched(
    {
        "uuid": "text",
        "name": "text",
        "owner": "text",
        "tenant": "text",
        "status": "text",
        "appId": "text",
        "execSystemId": "text",
        "lastMessage": "text",
        "created": "time",
        "ended": "time",
        "lastUpdated": "time",
        "remoteSubmitted": "time",
        "remoteStarted": "time",
    }
)

_NOT_SHOWN = ("id", "notifications", "subscriptions")
# Properties of a document that mean something else in Tapis v3, or are for who subscribed alone.


def attributes(job: Job) -> dict[str, object]:
    """What the events of a job say of it; `condition`, `appVersion` and `archiveSystemId` they never do."""
    known: dict[str, object] = {
        "uuid": job.id,
        "name": job.name,
        "owner": job.owner,
        "tenant": job.tenant,
        "appId": job.app_id,
        "created": made_at(job.first_event),
        "status": status_as_theirs(job.status),
        "remoteSubmitted": job.submitted_at,
        "remoteStarted": job.started_at,
        "ended": job.ended_at,
        "execSystemId": job.system,
        "lastUpdated": job.updated_at,
        "lastMessage": job.message,
    }
    return dict.fromkeys(ATTRIBUTES) | known


def whole(job: Job, document: Mapping[str, object]) -> dict[str, object]:
    """A job with the properties of its document that its events do not contradict."""
    own = hide_secrets({name: value for name, value in document.items() if name not in _NOT_SHOWN})
    known = attributes(job)
    return known | own | {name: value for name, value in known.items() if value is not None}


def step(event: Event) -> dict[str, object]:
    """One line of a job's history."""
    theirs = as_tapis_event(event)
    _, category, detail = theirs.type.split(".", 2) if theirs.type.count(".") > 1 else ("", theirs.type, "")
    return {
        "event": category,
        "eventDetail": detail,
        "created": event.time,
        "description": _without_secrets(theirs.data),
        "transferTaskUuid": None,
    }


def _without_secrets(data: str | None) -> str | None:
    """What an event says; a JSON object in it is shown as other documents are."""
    try:
        return data and hide_in_document(data.encode()).decode()
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return data
