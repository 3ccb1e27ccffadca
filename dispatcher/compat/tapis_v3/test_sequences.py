"""Test sequences of Tapis v3: a subscription to ourselves, some events for it, and what came of them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from uuid import uuid4

import msgspec
from msgspec import Meta, Raw, Struct

from dispatcher.compat.envelope import CompatResponse
from dispatcher.compat.tapis_v3 import listing
from dispatcher.compat.tapis_v3.create import create
from dispatcher.compat.tapis_v3.envelope import V3Request, read_json
from dispatcher.compat.tapis_v3.event_model import TapisEvent, native_id
from dispatcher.compat.tapis_v3.events import publish
from dispatcher.compat.tapis_v3.repository import TapisRepository, TapisSubscription
from dispatcher.compat.tapis_v3.request_models import DeliveryTarget, PostEvent, PostSubscription
from dispatcher.compat.tapis_v3.subscriptions import by_name, remove
from dispatcher.compat.tapis_v3.views import details_of, view
from dispatcher.domain.errors import InvalidInput, NotFound
from dispatcher.domain.events import utc_now

CALLBACK = "/v3/notifications/test/callback"
SOURCE = "notifications"
TTL = 60
"""Minutes that the subscription of a sequence lives unless the request says otherwise."""

MAX_EVENTS = 100
MAX_NOTIFICATION = 16 * 1024
"""Bytes that a notification may have which the callback gets: all that are kept are shown at once."""

_Text = Annotated[str, Meta(min_length=1)]


class _Notification(Struct, rename="camel"):
    uuid: _Text
    tenant: _Text
    subscription_name: _Text
    delivery_target: DeliveryTarget
    event: TapisEvent
    created: _Text


async def begin(request: V3Request) -> CompatResponse:
    """Subscribe our own callback to a new subject, and publish events for it, at once."""
    count = listing.number(request.query, "numberOfEvents", 1, 1)
    if count > MAX_EVENTS:
        raise InvalidInput("numberOfEvents", f"expected at most {MAX_EVENTS}, got {count}")
    ends = request.query.get("endSeries") is None or listing.flag(request.query, "endSeries")
    # It is hard to guess, because anyone who knows it may call the callback.
    uuid = uuid4()
    name = str(uuid)
    new = PostSubscription(
        type_filter=f"{SOURCE}.test.*",
        subject_filter=name,
        delivery_targets=(DeliveryTarget("WEBHOOK", f"{request.base}{CALLBACK}/{name}"),),
        ttl_minutes=listing.number(request.query, "subscriptionTTL", TTL, -(10**9)),
    )
    named = await create(
        request, request.caller.key.owner, name, new, key=f"sub_{uuid.hex}", start_count=count
    )
    for number in range(1, count + 1):
        event = _event(name, number, ends=ends and number == count)
        await publish(request, event, named.tenant, user=request.caller.key.owner)
    members = await request.repository.members([named])
    return CompatResponse(
        message=f"the test sequence {name} has begun",
        result=view(named, members, request.services.kinds),
        status=HTTPStatus.CREATED,
    )


async def get(request: V3Request) -> CompatResponse:
    """What the callback got."""
    named = await _sequence(request)
    details, received = details_of(named), await request.repository.recorded(named.id)
    return CompatResponse(
        message=f"the test sequence {named.name} was found",
        result={
            "tenant": named.tenant,
            "owner": named.owner,
            "subscriptionName": named.name,
            "startCount": details.start_count,
            "notificationCount": len(received),
            "receivedNotifications": [Raw(one) for one in received],
            "created": named.created_at,
            "updated": details.updated,
        },
    )


async def delete(request: V3Request) -> CompatResponse:
    """Remove the subscription, what the callback got, and the count of the series."""
    named = await _sequence(request)
    for publisher in (None, named.owner):  # a service's count, or the owner's
        await request.repository.end_series(named.tenant, SOURCE, named.name, named.name, publisher)
    return await remove(request, named)


async def record(name: str, body: bytes, repository: TapisRepository) -> CompatResponse:
    """Keep a notification of a test sequence. Anyone who knows the sequence's name may call this."""
    if len(body) > MAX_NOTIFICATION:
        raise InvalidInput("", f"expected at most {MAX_NOTIFICATION} bytes, got {len(body)}")
    notification = read_json(body, _Notification)
    if native_id("evt", notification.uuid) is None or native_id("evt", notification.event.uuid or "") is None:
        raise InvalidInput("uuid", "expected the UUIDs of a notification and of its event")
    key = native_id("sub", name)
    named = None if key is None else await repository.by_id(None, key)
    if named is None:
        raise NotFound(f"there is no test sequence {name[:80]!r}")
    _check(named)
    if not await repository.record(named.id, notification.uuid, msgspec.json.encode(notification)):
        raise InvalidInput("", f"the test sequence {name} has got as many notifications as are kept")
    return CompatResponse(message=f"the notification of {notification.event.type} was recorded")


async def _sequence(request: V3Request) -> TapisSubscription:
    return _check(await by_name(request))


def _check(named: TapisSubscription) -> TapisSubscription:
    if details_of(named).start_count is None:
        raise InvalidInput("name", f"the subscription {named.name} is no test sequence")
    return named


def _event(name: str, number: int, *, ends: bool) -> PostEvent:
    return PostEvent(
        source=SOURCE,
        type=f"{SOURCE}.test.begin" if number == 1 else f"{SOURCE}.test.number{number:03}",
        timestamp=msgspec.to_builtins(utc_now()),
        subject=name,
        series_id=name,
        end_series=ends,
    )
