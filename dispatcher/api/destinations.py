"""Destinations over HTTP: list and inspect them; operators pause, resume and rate-limit them."""

from __future__ import annotations

from typing import Any

from dispatcher.api.access import is_operator, only_owner
from dispatcher.api.query_models import DestinationsQuery
from dispatcher.api.request_models import DestinationChange, PauseDestination
from dispatcher.api.response_models import DestinationList, DestinationView, LaneView
from dispatcher.api.routing import Call, NoQuery
from dispatcher.domain.destinations import Destination
from dispatcher.domain.errors import Forbidden, NotFound
from dispatcher.domain.events import DEFAULT_TENANT, utc_now
from dispatcher.domain.keys import ApiKey
from dispatcher.store.filters import DestinationFilter, Window


async def list_destinations(call: Call[DestinationsQuery, None]) -> DestinationList:
    """Destinations by name, those of your subscriptions; operators see all.

    `breaker` is `open` while nothing goes out because it kept failing, `half_open` while one delivery goes out now and
    then to see. What waits behind it costs no attempts.
    """
    window = Window(call.query.limit, call.query.cursor)
    page = await call.services.store.destinations.page(_reach(call.caller), window)
    return DestinationList(await _views(page.items, call), page.next)


async def get_destination(call: Call[NoQuery, None]) -> DestinationView:
    """One destination. Its key stands in the path percent-encoded: `https:%2F%2Fexample.org:443`."""
    return await _view(call)


async def pause_destination(call: Call[NoQuery, PauseDestination]) -> DestinationView:
    """Pause a destination, for operators: no deliveries are sent to it until it is resumed.

    Every process follows within a second.
    """
    _check_operator(call.caller)
    await call.services.store.destinations.pause(await _key(call), call.body.reason)
    return await _view(call)


async def resume_destination(call: Call[NoQuery, None]) -> DestinationView:
    """Resume a destination and close its breaker, so that its deliveries are attempted at once, for operators."""
    _check_operator(call.caller)
    await call.services.store.destinations.resume(await _key(call))
    return await _view(call)


async def change_destination(call: Call[NoQuery, DestinationChange]) -> DestinationView:
    """Limit how many attempts a second begin for a destination, over all processes, for operators.

    `{"rate_limit": null}` lifts the limit.
    """
    _check_operator(call.caller)
    if call.body.rate_limit is not None:
        call.body.rate_limit.check()
    await call.services.store.destinations.set_rate_limit(await _key(call), call.body.rate_limit)
    return await _view(call)


def _reach(caller: ApiKey) -> DestinationFilter:
    return DestinationFilter(
        tenant=caller.tenant, subscriber=only_owner(caller), everyone=is_operator(caller)
    )


def _check_operator(caller: ApiKey) -> None:
    # A destination is shared by all tenants.
    if not is_operator(caller):
        raise Forbidden(
            f"destinations are shared by all tenants: only admins of {DEFAULT_TENANT} change them"
        )


async def _found(call: Call[NoQuery, Any]) -> Destination:
    key = call.path["key"]
    found = await call.services.store.destinations.get(_reach(call.caller), key)
    if found is None:
        raise NotFound(
            f"there is no destination {key[:255]!r}: expected one as a subscription shows it, such as "
            "https://example.org:443, percent-encoded"
        )
    return found


async def _key(call: Call[NoQuery, Any]) -> str:
    return (await _found(call)).key


async def _view(call: Call[NoQuery, Any]) -> DestinationView:
    [view] = await _views([await _found(call)], call)
    return view


async def _views(found: list[Destination], call: Call[Any, Any]) -> list[DestinationView]:
    waiting = await call.services.store.destinations.count_waiting([one.key for one in found])
    now = utc_now()
    return [
        DestinationView(
            key=one.key,
            breaker=one.breaker(now),
            reason=one.reason,
            opened_at=one.opened_at,
            next_probe_at=one.open_until if one.paused_at is None else None,
            failed_probes=max(0, one.openings - 1),
            paused_at=one.paused_at,
            paused_reason=one.paused_reason,
            rate_limit=one.rate_limit,
            waiting=waiting[one.key],
            lane=_lane(one.key, call),
        )
        for one in found
    ]


def _lane(key: str, call: Call[Any, Any]) -> LaneView | None:
    lane = call.services.engine.lane(key)
    if lane is None:
        return None
    return LaneView(limit=int(lane.limit), running=lane.running, queued=lane.queued)
