"""The event of Tapis v3, as its notifications service sends it through its exchange, and the CloudEvent it becomes.

Source: tapis-notifications 1.6.2, model.Event. The event stays whole in `data.data` of the CloudEvent.
"""

from __future__ import annotations

import re
from datetime import datetime

import msgspec
from msgspec import UNSET, Raw, Struct

from dispatcher.compat.tapis_v3.event_model import USER_EVENT, TapisEvent, check_type, event_name
from dispatcher.domain.event_names import status_of
from dispatcher.domain.events import Event
from dispatcher.domain.ids import new_id
from dispatcher.intake.decode_context import UNREADABLE, DecodeContext, unreadable
from dispatcher.intake.plain import EventDocument, to_event

# Java leaves the seconds out when they are zero.
_NO_SECONDS = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d)(Z|[+-]\d\d:\d\d)?")


class _JobData(Struct):
    """What the Jobs service writes into the text `data`; other services write what they like."""

    job_uuid: str | None = msgspec.field(name="jobUuid", default=None)
    job_name: str | None = msgspec.field(name="jobName", default=None)
    job_owner: str | None = msgspec.field(name="jobOwner", default=None)
    message: str | None = None


class _Job(Struct, omit_defaults=True):
    id: str
    name: str | None = None
    owner: str | None = None


class _Data(Struct):
    event: str
    status: str | None
    message: str | None
    job: _Job
    data: TapisEvent


_split = msgspec.json.Decoder(dict[str, Raw]).decode
_decode = msgspec.json.Decoder(TapisEvent).decode
_decode_data = msgspec.json.Decoder(_JobData).decode


mark = b'"deleteSubscriptionsMatchingSubject"'
"""Every event of theirs has this field, and hardly anything else does."""


def matches(document: bytes) -> bool:
    """Whether it has the fields that every event of theirs has."""
    try:
        return {"type", "timestamp", "deleteSubscriptionsMatchingSubject"} <= _split(document).keys()
    except UNREADABLE:
        return False  # another form will say what is wrong


def read(document: bytes, context: DecodeContext) -> tuple[Event]:
    """The event: its `subject` is the job. Raises InvalidInput.

    One without a subject is of a job that is called as its series, or else as the event.
    """
    try:
        theirs = _decode(document)
    except UNREADABLE as error:
        raise unreadable(error, context) from None
    check_type(context.at("type"), theirs.type)
    key = new_id("evt")
    theirs.uuid = theirs.uuid or context.stable_id() or key
    theirs.tenant = context.tenant(theirs.tenant or None)
    return (to_event(_written(theirs, context), key, context),)


def _written(theirs: TapisEvent, context: DecodeContext) -> EventDocument[_Data]:
    """The CloudEvent, its data in the form that plain events have."""
    # What a user writes into an event of a job says nothing of whose the job is.
    said = _JobData() if theirs.type.startswith(USER_EVENT) else _said(theirs.data)
    name = event_name(theirs.type)
    subject = context.text("subject", theirs.subject or theirs.series_id or theirs.uuid or "")
    owner = said.job_owner or theirs.user
    job = _Job(id=subject, name=said.job_name, owner=said.job_owner)
    return EventDocument(
        id=context.text("uuid", theirs.uuid or ""),
        source=context.text("source", theirs.source),
        type=theirs.type,
        subject=subject,
        time=_time(theirs.timestamp, context),
        tenant=theirs.tenant or context.default_tenant,
        owner=context.text("owner", owner) if owner else context.publisher or UNSET,
        dispatcherhops=context.hops() or UNSET,
        data=_Data(event=name, status=status_of(name), message=said.message, job=job, data=theirs),
    )


def _said(data: str | None) -> _JobData:
    if not data or not data.startswith("{"):
        return _JobData()
    try:
        return _decode_data(data)
    except UNREADABLE:
        return _JobData()  # it is the other service's own


def _time(text: str, context: DecodeContext) -> datetime:
    short = _NO_SECONDS.fullmatch(text)
    return context.time("timestamp", f"{short[1]}:00{short[2] or ''}" if short else text)
