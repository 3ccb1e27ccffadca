"""The plain form, `{"event": "FINISHED", "job_id": "…", …}`: as events may come in, so they may go out."""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from dispatcher.domain.events import Event
from dispatcher.domain.subscriptions import Subscription
from dispatcher.targets.formats import Content, Format, Render

_HEADERS = {"Content-Type": "application/json"}
# The data of an event that came in plain form.
_FIELDS = frozenset({"event", "status", "message", "job", "data"})


class _Plain(Struct, kw_only=True):
    event: str
    job_id: str
    id: str
    source: str
    time: datetime
    owner: str | UnsetType
    tenant: str
    message: str | UnsetType
    job: Raw | UnsetType
    data: Raw | UnsetType
    data_base64: Raw | UnsetType


class _Document(Struct):
    data: Raw | UnsetType = UNSET
    data_base64: Raw | UnsetType = UNSET


_document = msgspec.json.Decoder(_Document).decode
_members = msgspec.json.Decoder(dict[str, Raw]).decode
_encode = msgspec.json.Encoder().encode


def prepare(_: Subscription) -> Render:
    """The same for every subscription."""
    return _render


FORMAT = Format(prepare, "the event as it may be published")


def _render(event: Event, _: str, __: int) -> Content:
    document = _document(event.document)
    data, in_base64 = document.data, document.data_base64
    job: Raw | UnsetType = UNSET
    if data is not UNSET and bytes(data).startswith(b"{"):
        members = _members(data)
        if members.keys() - {"data_base64"} == _FIELDS:
            job, data = members["job"], members["data"]
            in_base64 = members.get("data_base64", UNSET)
            if in_base64 is not UNSET:
                data = UNSET
    written = _Plain(
        event=event.event,
        job_id=event.job_id,
        id=event.id,
        source=event.source,
        time=event.time,
        owner=UNSET if event.owner is None else event.owner,
        tenant=event.tenant,
        message=UNSET if event.message is None else event.message,
        job=job,
        data=data,
        data_base64=in_base64,
    )
    return Content(_HEADERS, _encode(written))
