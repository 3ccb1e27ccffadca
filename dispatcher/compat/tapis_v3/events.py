"""Events in the shape of Tapis v3: publishing them, with the numbers that they have in their series."""

from __future__ import annotations

from uuid import uuid4

import msgspec

from dispatcher.api.access import check_publisher, speaks_for
from dispatcher.compat.envelope import CompatResponse
from dispatcher.compat.tapis_v3 import decoder
from dispatcher.compat.tapis_v3.envelope import V3Request
from dispatcher.compat.tapis_v3.event_model import TapisEvent, check_type
from dispatcher.compat.tapis_v3.request_models import EndSeries, PostEvent
from dispatcher.domain.errors import Forbidden, InvalidInput
from dispatcher.domain.events import Event, check_text, utc_now
from dispatcher.domain.hops import hops_in
from dispatcher.intake.decode import Message, decode

_encode = msgspec.json.Encoder().encode

NO_SERIES = -1
"""What stands in an event that is in no series."""


async def publish_event(request: V3Request) -> CompatResponse:
    """Publish an event."""
    new = request.read(PostEvent)
    check_type("type", new.type)
    service = new.type.partition(".")[0]
    if request.caller.service not in (None, service):
        raise InvalidInput(
            "type", f"expected it to begin with {request.caller.service}., the service that publishes it"
        )
    await publish(request, new, _tenant(request), user=request.caller.key.owner)
    return CompatResponse(message="the event was posted")


async def end_event_series(request: V3Request) -> CompatResponse:
    """Forget the count of a series: its next event is the first one again."""
    ended = request.read(EndSeries)
    tapis = request.repository
    publisher = speaks_for(request.caller.key)
    there = await tapis.end_series(_tenant(request), ended.source, ended.subject, ended.series_id, publisher)
    return CompatResponse(message=f"the series {ended.series_id} was ended", result={"changes": int(there)})


async def publish(request: V3Request, new: PostEvent, tenant: str, *, user: str | None) -> None:
    """Take an event of a user in as all others: through the same decoding, stored before this returns."""
    event = TapisEvent(
        source=new.source,
        type=new.type,
        timestamp=new.timestamp,
        subject=new.subject or None,
        data=new.data,
        series_id=new.series_id or None,
        end_series=new.end_series,
        delete_subscriptions_matching_subject=new.delete_subscriptions_matching_subject,
        tenant=tenant,
        user=user,
        received=msgspec.to_builtins(utc_now()),
        uuid=str(uuid4()),
        series_seq_count=NO_SERIES,
    )
    # What is refused does not count.
    key, publisher = request.caller.key, speaks_for(request.caller.key)
    hops = hops_in(request.headers)
    checked = _decoded(event, tenant, publisher, hops)
    await check_publisher(key, checked, request.services.store)
    await request.services.quotas.admit(key, checked)
    if event.series_id is not None:
        series = (tenant, event.source, event.subject or "", event.series_id)
        event.series_seq_count = await request.repository.count_on(*series, publisher)
    await request.services.intake.submit(_decoded(event, tenant, publisher, hops))


def _decoded(event: TapisEvent, tenant: str, publisher: str | None, hops: int) -> list[Event]:
    message = Message(origin="http", body=_encode(event), content_type="application/json", hops=hops)
    return decode(
        message,
        default_tenant=tenant,
        tenant_fixed=True,
        now=utc_now(),
        publisher=publisher,
        adapters=(decoder,),
    )


def _tenant(request: V3Request) -> str:
    tenant = request.query.get("tenant") or request.caller.key.tenant
    if not request.caller.may_reach(tenant):
        raise Forbidden(
            f"tenant: expected {request.caller.key.tenant!r}; only services may publish for another"
        )
    return check_text("tenant", tenant)
