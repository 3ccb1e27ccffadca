"""Notifications that stand in a job's document (`"notifications": […]`) become subscriptions when the job is new.

They are the job owner's. An admin's key, such as a job service has, may say whose job it is; any other key that may
subscribe does so for its owner's own jobs only: else a publisher could subscribe to somebody's job in their name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec
import structlog
from msgspec.structs import replace

from dispatcher.api.routing import Call, NoQuery
from dispatcher.api.services import Services
from dispatcher.api.subscription_rules import checked_target
from dispatcher.compat.tapis_v2.document import Notification, notification_in
from dispatcher.compat.tapis_v2.notifications import make
from dispatcher.compat.tapis_v2.policy import Policy
from dispatcher.compat.tapis_v2.target_mapping import as_url_fault, target_of
from dispatcher.domain.errors import Conflict, InvalidInput, QuotaExceeded
from dispatcher.domain.events import Event
from dispatcher.domain.keys import ApiKey
from dispatcher.domain.subscriptions import EVERY_OWNER
from dispatcher.store.filters import SubscriptionFilter, Window

log = structlog.get_logger("dispatcher.compat")

MAX_NOTIFICATIONS = 100
"""Notifications that one job's document may have."""

MAX_AT_ONCE = 3000
"""Subscriptions that the events of one request may ask for: each takes time to check, also when none is made."""

OF_A_STRING = ("FINISHED", "FAILED", "STOPPED")
"""The events that are sent to a plain address, once each."""

_FIELD = "notifications"
_SIGN = f'"{_FIELD}"'.encode()

_Alike = tuple[str, bytes, bool]
_Checked = tuple[Notification, bytes]


class EmbeddedNotifications:
    """Makes the subscriptions before the events are stored, so that the first event finds them."""

    def __init__(self) -> None:
        # Two events of a new job may come at the same moment; the second finds what the first one made.
        self._turn = asyncio.Lock()

    async def __call__(self, caller: ApiKey, events: Sequence[Event], services: Services) -> None:
        """Raises InvalidInput, which names the event when there are several, and makes nothing then."""
        marked = [index for index, event in enumerate(events) if _SIGN in event.document]
        found: list[tuple[Event, list[_Checked]]] = []
        room = MAX_AT_ONCE
        for index in marked:
            await asyncio.sleep(0)  # others come first: looking at this one may take milliseconds
            try:
                checked = _checked(events[index], room, services)
            except InvalidInput as error:
                place = f"[{index}].{error.field}" if len(events) > 1 else error.field
                raise InvalidInput(place, error.problem) from None
            room -= len(checked)
            found.append((events[index], checked))
        for event, checked in found:
            if checked and (subscriber := _subscriber(caller, event)) is not None:
                async with self._turn:
                    await _subscribe(subscriber, event, checked, services)


def _checked(event: Event, room: int, services: Services) -> list[_Checked]:
    """The notifications in an event's job document with their targets, at most `room`. Raises InvalidInput."""
    wanted = notifications_of(event)
    if len(wanted) > room:
        raise InvalidInput(f"job.{_FIELD}", f"expected at most {MAX_AT_ONCE} in all events together")
    return [(one, _target(position, one, services)) for position, one in enumerate(wanted)]


def notifications_of(event: Event) -> list[Notification]:
    """The notifications in an event's job document. InvalidInput names the one that is wrong."""
    given = event.job.get(_FIELD)
    if given is None:
        return []
    entries = [given] if isinstance(given, (str, dict)) else given
    if not isinstance(entries, list):
        raise InvalidInput(f"job.{_FIELD}", "expected an array of notifications, or an address")
    if len(entries) > MAX_NOTIFICATIONS:
        raise InvalidInput(f"job.{_FIELD}", f"expected at most {MAX_NOTIFICATIONS}, got {len(entries)}")
    return [one for index, entry in enumerate(entries) for one in _entry(index, entry, event.job_id)]


def _entry(index: int, entry: object, job_id: str) -> list[Notification]:
    if isinstance(entry, str):
        once = Policy()
        return [
            Notification(url=entry.strip(), event=name, associated_uuid=job_id, persistent=False, policy=once)
            for name in OF_A_STRING
        ]
    if not isinstance(entry, dict):
        raise InvalidInput(f"job.{_FIELD}[{index}]", "expected a notification object, or an address")
    try:
        return [notification_in(entry, job_id)]
    except InvalidInput as error:
        raise InvalidInput(_at(index, error), error.problem) from None


def _at(index: int, error: InvalidInput) -> str:
    return f"job.{_FIELD}[{index}].{error.field}".removesuffix(".")


def _target(index: int, wanted: Notification, services: Services) -> bytes:
    """The target as it would be stored, in a form that can be compared."""
    try:
        document, _ = checked_target(target_of(wanted.url, services.kinds), services.kinds)
    except InvalidInput as error:
        raise InvalidInput(_at(index, as_url_fault(error)), error.problem) from None
    return msgspec.json.encode(document, order="sorted")


def _subscriber(caller: ApiKey, event: Event) -> ApiKey | None:
    """In whose name the subscriptions are made; None when the key may make none for this job."""
    owner = None if event.owner == EVERY_OWNER else event.owner
    if caller.admin:
        return caller if owner is None else replace(caller, owner=owner, scopes=("subscribe",))
    if caller.may("subscribe") and owner in (None, caller.owner):
        return caller
    log.info("notifications ignored", job=event.job_id, owner=owner, key=caller.id)
    return None


async def _subscribe(
    subscriber: ApiKey, event: Event, wanted: Sequence[_Checked], services: Services
) -> None:
    if await services.store.jobs.is_known(event.tenant, event.job_id, event.published_by):
        # Its first event made them; what its owner has removed since stays so. What somebody else said of a job of the
        # same id is no such event.
        return
    there = await _there(subscriber, event, services)
    for notification, target in wanted:
        alike = (notification.event, target, notification.persistent)
        if alike not in there:
            there.add(alike)
            try:
                await make(Call(subscriber, services, {}, NoQuery(), None, {}), notification)
            except (Conflict, QuotaExceeded) as error:
                # The event is worth more than who else hears of it: it is accepted without this one.
                log.warning(
                    "notification rejected", job=event.job_id, owner=subscriber.owner, error=str(error)
                )


async def _there(subscriber: ApiKey, event: Event, services: Services) -> set[_Alike]:
    """What was made for this job by an event that was not stored in the end, or is being stored.

    The subscriber's own: somebody else's, who knew the job's id before, tells the subscriber nothing.
    """
    whose = EVERY_OWNER if subscriber.admin else subscriber.owner
    which = SubscriptionFilter(tenant=event.tenant, subscriber=whose, job_id=event.job_id)
    page = await services.store.subscriptions.page(which, Window(500))
    return {
        (",".join(one.events), msgspec.json.encode(one.target, order="sorted"), one.persistent)
        for one in page.items
    }
