"""Matches: which events a subscription would get, and for each that it would not, which condition failed."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from dispatcher.api import subscription_rules as rules
from dispatcher.api.access import event_for, only_owner, speaks_for, subscription_for
from dispatcher.api.match_models import FailedCondition, MatchList, TriedEvent, TriedSubscription
from dispatcher.api.request_models import MatchRequest
from dispatcher.api.routing import Call, NoQuery
from dispatcher.api.secret_fields import hide_in_document
from dispatcher.domain.errors import InvalidInput
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.filter_checks import check_selection
from dispatcher.domain.filter_conditions import Failure
from dispatcher.domain.selections import Selection
from dispatcher.domain.subscriptions import EVERY_OWNER, Subscription
from dispatcher.intake.decode import Message, decode_in_slices
from dispatcher.store.filters import EventFilter, Window
from dispatcher.store.store import Store
from dispatcher.telemetry.time_slices import TimeSlices

MAX_FAILED = 20
"""Conditions that are shown of one event."""

_Call = Call[NoQuery, MatchRequest]


async def try_subscription(call: _Call) -> MatchList:
    """Try which events a subscription matches, before it is made or changed.

    A stored subscription, the fields of a new one, or both, against one event or the latest that the caller may see: of
    the job, or else of the owner, whose events are meant. Nothing is stored or sent. Paused and ended subscriptions are
    tried as if they were active.
    """
    selection = await _selection(call)
    events = await _events(call, selection)
    given = call.body.event is not None
    found: list[TriedEvent] = []
    slices = TimeSlices()
    allowed = await _allowed(events, selection, call.services.store)
    for event in events:
        found.append(_tried(event, _failures(event, selection, allowed), stored=not given))
        if slices.over:
            await slices.others()
    return MatchList(found, sum(one.matches for one in found))


async def tried_subscriptions(
    event: Event, subscriptions: Sequence[Subscription], store: Store
) -> list[TriedSubscription]:
    """For each subscription what keeps it from matching the event now."""
    selections = [Selection.of(one) for one in subscriptions]
    wanted = {permit for one in selections if (permit := _permit(event, one)) is not None}
    granted = await store.jobs.granted(wanted) if wanted else set()
    slices = TimeSlices()
    event = event.with_cached_document()
    found: list[TriedSubscription] = []
    for one, subscription in zip(selections, subscriptions, strict=True):
        problems = _understood(event, one, granted)
        if subscription.status in ("disabled", "completed"):
            problems = [Failure("status", f"it is {subscription.status}"), *problems]
        if subscription.expires_at is not None and subscription.expires_at <= utc_now():
            problems = [Failure("expires_at", "it has expired"), *problems]
        failed = _shown(problems)
        found.append(
            TriedSubscription(id=subscription.id, name=subscription.name, matches=not failed, failed=failed)
        )
        if slices.over:
            await slices.others()
    return found


async def _selection(call: _Call) -> Selection:
    """What is tried, checked like a subscription that is made so. Raises InvalidInput, Forbidden or NotFound."""
    body, caller, store = call.body, call.caller, call.services.store
    if body.subscription_id is None:
        owner = rules.checked_owner(caller, None)
        base = Selection(tenant=caller.tenant, events=("*",), job_id=None, owner=owner, filters=())
    else:
        base = Selection.of(await subscription_for(caller, body.subscription_id, call.services))
    changes: dict[str, object] = {}
    if body.events is not UNSET:
        changes["events"] = rules.checked_events(body.events)
    if body.job_id is not UNSET:
        await rules.check_job(caller, body.job_id, store)
        changes["job_id"] = body.job_id
    if body.owner is not UNSET:
        changes["owner"] = rules.checked_owner(caller, body.owner)
    if body.filters is not UNSET:
        changes["filters"] = await rules.checked_filters(caller, body.filters, store)
    if not changes:
        return base
    changed = replace(base, **changes)
    check_selection(changed)
    return changed


async def _events(call: _Call, selection: Selection) -> list[Event]:
    body = call.body
    if body.event is not None:
        if body.event_id is not None:
            raise InvalidInput("event_id", "expected either event_id or event")
        return [await _given(call, body.event)]
    if body.event_id is not None:
        return [await event_for(call.caller, body.event_id, call.services)]
    seen_by = only_owner(call.caller)
    if seen_by is None and selection.owner != EVERY_OWNER:
        seen_by = selection.owner
    which = EventFilter(tenant=call.caller.tenant, visible_to=seen_by, job_id=selection.job_id)
    return (await call.services.store.events.page(which, Window(body.limit))).items


async def _given(call: _Call, document: dict[str, object]) -> Event:
    """The event that a document is, as it would be published by the caller."""
    try:
        found = await decode_in_slices(
            Message(origin="http", body=msgspec.json.encode(document)),
            default_tenant=call.caller.tenant,
            tenant_fixed=True,
            now=utc_now(),
            publisher=speaks_for(call.caller),
            adapters=call.services.adapters,
        )
    except InvalidInput as error:
        raise InvalidInput(f"event.{error.field}" if error.field else "event", error.problem) from None
    if len(found) != 1:
        raise InvalidInput("event", f"expected one event, got {len(found)}")
    return found[0]


async def _allowed(
    events: Sequence[Event], selection: Selection, store: Store
) -> set[tuple[str, str, str, str]]:
    """The permits that were granted of those that these events need."""
    wanted = {permit for event in events if (permit := _permit(event, selection)) is not None}
    return await store.jobs.granted(wanted) if wanted else set()


def _permit(event: Event, selection: Selection) -> tuple[str, str, str, str] | None:
    """What allows a subscription to a job to see an event of somebody else's; None when there is no need."""
    if selection.job_id is None or event.job_id != selection.job_id or selection.is_owners(event):
        return None
    return None if event.owner is None else (event.tenant, event.job_id, event.owner, selection.owner)


def _failures(event: Event, selection: Selection, granted: set[tuple[str, str, str, str]]) -> list[Failure]:
    found = _without_secrets(selection.failures(event), event, selection)
    if selection.job_id != event.job_id or selection.is_owners(event) or _permit(event, selection) in granted:
        return found
    owner = event.owner or "the job's owner"
    return [Failure("owner", f"{owner} has not granted the job to {selection.owner}"), *found]


def _without_secrets(failures: list[Failure], event: Event, selection: Selection) -> list[Failure]:
    """What fails, in words that show no secret of the event: its document is shown to readers without them too."""
    shown = hide_in_document(event.document) if failures else event.document
    if shown == event.document:
        return failures
    hidden = {one.field: one for one in selection.failures(replace(event, document=shown))}
    fields = dict.fromkeys(one.field for one in failures)
    return [hidden.get(field, Failure(field, "it is a value that is not shown")) for field in fields]


def _understood(event: Event, selection: Selection, granted: set[tuple[str, str, str, str]]) -> list[Failure]:
    """The same of a stored subscription, whose filters may be of another version."""
    try:
        return _failures(event, selection, granted)
    except InvalidInput as error:
        return [Failure(error.field, error.problem)]


def _tried(event: Event, failures: Sequence[Failure], *, stored: bool) -> TriedEvent:
    return TriedEvent(
        id=event.key if stored else None,
        event=event.event,
        job_id=event.job_id,
        owner=event.owner,
        time=event.time,
        matches=not failures,
        failed=_shown(failures),
    )


def _shown(failures: Sequence[Failure]) -> list[FailedCondition]:
    return [FailedCondition(one.field, one.problem) for one in failures[:MAX_FAILED]]
