"""Forcing a notification: an event that did not happen goes to its address, and nothing of it is stored."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dispatcher.api.access import only_owner
from dispatcher.api.trials import try_out
from dispatcher.compat.tapis_v2.document import EVERY, read_document
from dispatcher.compat.tapis_v2.envelope import V2Request
from dispatcher.compat.tapis_v2.views import AttemptView, NotificationView, iso
from dispatcher.domain.deliveries import Attempt
from dispatcher.domain.errors import Forbidden, InvalidInput, NotFound
from dispatcher.domain.events import Event, utc_now
from dispatcher.domain.ids import new_id
from dispatcher.intake.decode import Message, decode
from dispatcher.store.filters import EventFilter, Window

FORCED = "FORCED_EVENT"

LATEST = 10
"""Events of a job among which one with its document is looked for."""


async def fire_now(request: V2Request, notice: NotificationView) -> AttemptView:
    """Send it. InvalidInput or Forbidden when the caller may not send what it asks for."""
    wanted = await _wanted(request)
    name = _event_name(request, notice, wanted)
    job_id = _job_id(request, notice, wanted)
    event = await _event(request, name, job_id, _message(request, wanted))
    subscription = await request.services.store.subscriptions.get(
        request.caller.tenant, notice.subscription.id
    )
    if subscription is None:
        raise NotFound(f"No notification found with id {notice.uuid!r}")
    delivery_id, began = new_id("dlv"), utc_now()
    trial = await try_out(subscription, event, delivery_id, request.services)
    attempt = Attempt(
        number=1,
        started_at=began,
        duration=trial.duration,
        request=trial.request,
        status=trial.status,
        error=trial.error,
        answer=trial.body,
    )
    return AttemptView(delivery_id=delivery_id, event=name, job_id=job_id, attempt=attempt)


async def _wanted(request: V2Request) -> Mapping[str, object]:
    body = request.body
    return read_document(body, request.headers.get("Content-Type", "")) if body.strip() else {}


def _event_name(request: V2Request, notice: NotificationView, wanted: Mapping[str, object]) -> str:
    name = wanted.get("event")
    if name is None:
        return FORCED
    if not isinstance(name, str):
        raise InvalidInput("event", "Event must be a string value")
    if name == EVERY:
        raise InvalidInput("event", "Event must not be a wildcard value")
    if name.upper() == FORCED:
        return FORCED
    if not request.caller.admin:
        if notice.event == EVERY:
            raise Forbidden("User does not have access to trigger custom event notifications")
        raise InvalidInput(
            "event",
            f"only the generic {FORCED} is supported for manual invocation by non-privileged users.",
        )
    if name not in notice.subscription.events and notice.event != EVERY:
        raise InvalidInput(
            "event", f"event must match the {notice.event} event of the registered notification."
        )
    return name


def _job_id(request: V2Request, notice: NotificationView, wanted: Mapping[str, object]) -> str:
    given = wanted.get("associatedUuid")
    if request.caller.admin and isinstance(given, str) and given not in ("", EVERY):
        return given
    if notice.associated_uuid == EVERY:
        raise InvalidInput(
            "associatedUuid", "must be provided when the notification references a wildcard associatedUuid"
        )
    return notice.associated_uuid


def _message(request: V2Request, wanted: Mapping[str, object]) -> dict[str, object] | None:
    message = wanted.get("message")
    if message is None:
        return None
    if not request.caller.admin:
        raise Forbidden("User does not have access to send custom event messages")
    if isinstance(message, str):
        try:
            message = msgspec.json.decode(message)
        except (msgspec.DecodeError, RecursionError):
            message = None
    if not isinstance(message, dict):
        raise InvalidInput("message", "Notification message body must be a valid JSON object.")
    return message


async def _event(request: V2Request, name: str, job_id: str, message: dict[str, object] | None) -> Event:
    """The event, with the message or else the job's latest document: through the same decoding as all others."""
    owner = request.caller.owner
    job = message or await _latest_document(request, job_id)
    if job is None:
        job = {
            "id": job_id,
            "event": name,
            "owner": owner,
            "associatedUuid": job_id,
            "created": iso(utc_now()),
        }
    plain = {"event": name, "job_id": job_id, "job": job} | ({} if job.get("owner") else {"owner": owner})
    sent = Message(origin="http", body=msgspec.json.encode(plain))
    [event] = decode(sent, default_tenant=request.caller.tenant, tenant_fixed=True, now=utc_now())
    return event


async def _latest_document(request: V2Request, job_id: str) -> dict[str, object] | None:
    which = EventFilter(tenant=request.caller.tenant, visible_to=only_owner(request.caller), job_id=job_id)
    page = await request.services.store.events.page(which, Window(LATEST))
    return next((dict(event.job) for event in page.items if event.job), None)
