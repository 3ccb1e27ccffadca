"""Events over HTTP: publishing them, what came, why it matched whom, and sending one again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus

from msgspec import Raw
from msgspec.structs import asdict

from dispatcher.api.access import check_publisher, event_for, only_owner, speaks_for, subscription_for
from dispatcher.api.match_models import TriedSubscription
from dispatcher.api.matches import tried_subscriptions
from dispatcher.api.problems import Refusal
from dispatcher.api.query_models import EventsQuery
from dispatcher.api.request_models import Replay
from dispatcher.api.response_lists import EventList
from dispatcher.api.response_models import (
    Accepted,
    EventDelivery,
    EventDetail,
    EventView,
    Expanding,
    ListedEvent,
    Replayed,
)
from dispatcher.api.routing import Call, NoQuery
from dispatcher.api.secret_fields import hide_in_document
from dispatcher.api.services import Services
from dispatcher.domain.deliveries import Delivery, OpenDelivery
from dispatcher.domain.errors import Conflict, InvalidInput
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.hops import hops_in
from dispatcher.domain.ids import new_id
from dispatcher.domain.keys import ApiKey
from dispatcher.domain.subscriptions import EVERY_OWNER, Subscription, event_match_keys
from dispatcher.domain.times import parse_time
from dispatcher.intake.decode import Message, decode_in_slices
from dispatcher.intake.grouping import grouped
from dispatcher.intake.job_access import Match, owner_fits
from dispatcher.intake.matcher import Matcher
from dispatcher.store.filters import DeliveryFilter, EventFilter, SubscriptionFilter, Window
from dispatcher.telemetry.metrics import EVENTS

MAX_SHOWN_DELIVERIES = 100
MAX_SHOWN_SUBSCRIPTIONS = 100

_WITHOUT_BODY = frozenset({"reply", "return=minimal"})
"""Preferences (RFC 7240) of those who want none, or only one that is an event."""


async def publish_events(call: Call[NoQuery, bytes]) -> Accepted | None:
    """Take events in.

    Plain events or CloudEvents 1.0, one or an array. They are stored with all the deliveries that they cause
    before the answer; when one of them is refused, none is stored. An event that was there already (same
    tenant, source and id) is a duplicate: it changes nothing, and `ids` has the one that was there.

    A key speaks for its owner only: events that name none are the owner's, and those of others, or of a job that
    belongs to somebody else, are refused (403). An admin's key, or one with the scope `publish:any`, may name any.

    With `Prefer: return=minimal`, or `Prefer: reply` as brokers of Knative send it, the answer has no body.
    """
    events = await _decoded(call)
    await check_publisher(call.caller, events, call.services.store)
    await call.services.quotas.admit(call.caller, events)
    for hook in call.services.publish_hooks:
        await hook(call.caller, events, call.services)
    duplicates = await call.services.intake.submit(events)
    if _wants_no_body(call.headers):
        return None
    ids = [duplicates.get(event.key, event.key) for event in events]
    return Accepted(accepted=len(events) - len(duplicates), duplicates=len(duplicates), ids=ids)


async def list_events(call: Call[EventsQuery, None]) -> EventList:
    """Events, newest first."""
    which = EventFilter(
        tenant=call.caller.tenant,
        visible_to=only_owner(call.caller),
        job_id=call.query.job_id,
        event=call.query.event,
        since=None if call.query.since is None else parse_time("since", call.query.since),
    )
    page = await call.services.store.events.page(which, call.query.window)
    counts = await call.services.store.deliveries.counts_by_event([event.key for event in page.items])
    listed = [
        ListedEvent(**asdict(_view(event)), deliveries=counts.get(event.key, 0)) for event in page.items
    ]
    return EventList(listed, page.next)


async def get_event(call: Call[NoQuery, None]) -> EventDetail:
    """One event: its CloudEvent, the deliveries that it caused, and why; and what kept other subscriptions from it.

    Texts in fields whose names end in `token`, `password` or `secret` are shown as `***`.

    Others than admins see their own subscriptions' deliveries only. The reasons are worked out from the
    subscriptions as they are now.
    """
    event = await event_for(call.caller, call.path["id"], call.services)
    which = DeliveryFilter(tenant=event.tenant, subscriber=only_owner(call.caller), event_key=event.key)
    page = await call.services.store.deliveries.page(which, Window(MAX_SHOWN_DELIVERIES))
    remaining = await call.services.store.expansions.count(event.key, only_owner(call.caller))
    return EventDetail(
        **asdict(_view(event)),
        document=Raw(hide_in_document(event.document)),
        outcome=_outcome(event, len(page.items), page.next is not None, remaining, call.caller),
        expanding=Expanding(remaining) if remaining else None,
        deliveries=[await _explained(event, delivery, call.services) for delivery in page.items],
        subscriptions=await _tried(event, call),
    )


async def replay_event(call: Call[NoQuery, Replay]) -> Replayed:
    """Send an event again.

    New deliveries for every subscription that wants it now, or for the one that is named. Others than admins
    send to their own subscriptions only.
    """
    event = await event_for(call.caller, call.path["id"], call.services)
    matches = await Matcher(call.services.store).match([event])
    if call.body.subscription_id is not None:
        subscription = await subscription_for(call.caller, call.body.subscription_id, call.services)
        matches = [match for match in matches if match[1].id == subscription.id]
        if not matches:
            raise Conflict(_unwanted(event, subscription))
    own = only_owner(call.caller)
    matches = [match for match in matches if own in (None, match[1].subscriber)]
    deliveries = await _send_again(matches, call.services)
    return Replayed([delivery.id for delivery in deliveries])


def _wants_no_body(headers: Mapping[str, str]) -> bool:
    """Whether a body would do harm: a broker of Knative takes one that is no CloudEvent for a failure."""
    preferences = (one.strip().lower() for one in headers.get("Prefer", "").split(","))
    return not _WITHOUT_BODY.isdisjoint(preferences)


async def _decoded(call: Call[NoQuery, bytes]) -> list[Event]:
    message = Message(
        origin="http",
        body=call.body,
        content_type=call.headers.get("Content-Type"),
        headers=call.headers,
        hops=hops_in(call.headers),
    )
    try:
        return await decode_in_slices(
            message,
            default_tenant=call.caller.tenant,
            tenant_fixed=True,
            now=utc_now(),
            publisher=speaks_for(call.caller),
            adapters=call.services.adapters,
        )
    except InvalidInput as error:
        EVENTS.labels("http", "refused").inc()
        if error.field == "content-type":
            raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Type: {error.problem}") from None
        raise


async def _send_again(matches: Sequence[Match], services: Services) -> list[OpenDelivery]:
    """Store new deliveries that are due now, or later where their owner is over the quota.

    None is claimed: whichever process has room takes it, and a lost answer of the database leaves none stuck.
    """
    now = utc_now()
    admitted, later = await services.delivery_quotas.admit(matches)
    deliveries = grouped([*(_due(now, event, subscription) for event, subscription in admitted), *later])
    await services.store.events.add_deliveries(services.engine.lease_id, deliveries)
    services.engine.wake()
    return deliveries


def _due(now: datetime, event: Event, subscription: Subscription) -> OpenDelivery:
    due_at = None if subscription.status == "paused" else now
    return OpenDelivery(new_id("dlv"), event, subscription, due_at=due_at, since=now)


def _view(event: Event) -> EventView:
    return EventView(
        id=event.key,
        event=event.event,
        job_id=event.job_id,
        owner=event.owner,
        tenant=event.tenant,
        source=event.source,
        source_id=event.id,
        type=event.type,
        time=event.time,
        accepted_at=event.accepted_at,
    )


async def _explained(event: Event, delivery: Delivery, services: Services) -> EventDelivery:
    subscription = await services.store.subscriptions.get(event.tenant, delivery.subscription_id)
    return EventDelivery(
        id=delivery.id,
        state=delivery.state,
        subscription_id=delivery.subscription_id,
        subscription_name=None if subscription is None else subscription.name,
        why=_why(event, subscription),
    )


async def _tried(event: Event, call: Call[NoQuery, None]) -> list[TriedSubscription]:
    """What the caller's newest subscriptions make of the event now."""
    which = SubscriptionFilter(tenant=event.tenant, subscriber=only_owner(call.caller))
    page = await call.services.store.subscriptions.page(which, Window(MAX_SHOWN_SUBSCRIPTIONS))
    return await tried_subscriptions(event, page.items, call.services.store)


def _why(event: Event, subscription: Subscription | None) -> list[str]:
    if subscription is None:
        return ["it was removed since"]
    return reasons(event, subscription) or ["it was changed since, and does not want this event any more"]


def reasons(event: Event, subscription: Subscription) -> list[str]:
    """Why a subscription wants an event, in words; empty when it does not (any more)."""
    keys = event_match_keys(event)
    if subscription.match_key not in keys or not subscription.wants(event):
        return []
    found = [_key_reason(event, subscription), f"event {event.event} is in {', '.join(subscription.events)}"]
    if subscription.filters:
        found.append("all filters pass")
    if not owner_fits(event, subscription):
        found.append(f"{subscription.owner} was granted the job")
    if subscription.expires_at is not None and subscription.expires_at <= utc_now():
        found.append("it has expired since")
    return found


def _key_reason(event: Event, subscription: Subscription) -> str:
    if subscription.job_id is not None:
        return f"job is {event.job_id}"
    return "any job" if subscription.owner == EVERY_OWNER else f"owner is {event.owner}"


def _outcome(event: Event, count: int, more: bool, remaining: int, caller: ApiKey) -> str:
    whose = "" if caller.admin else f" of {caller.owner}"
    if count == 0 and remaining == 0:
        return (
            f"no subscription{whose} wanted it: of those for {_selectors(event)}, "
            f"none names {event.event} and has filters that pass"
        )
    to_come = f"; {remaining} are still to be made" if remaining else ""
    return f"deliveries to subscriptions{whose}: {count}{' and more' if more else ''}{to_come}"


def _selectors(event: Event) -> str:
    owner = f", for jobs of {event.owner}" if event.owner else ""
    return f"job {event.job_id}{owner} or for every job"


def _unwanted(event: Event, subscription: Subscription) -> str:
    if subscription.status in ("disabled", "completed"):
        return f"subscription {subscription.id} is {subscription.status}: resume it first"
    return (
        f"subscription {subscription.id} does not want this event: its events are "
        f"{', '.join(subscription.events)}, its job is {subscription.job_id or 'any'}, its owner "
        f"{subscription.owner}, and it has {len(subscription.filters)} filters; the event is {event.event} "
        f"of job {event.job_id} of {event.owner}"
    )
